"""Writing where nobody reads any more: SIGPIPE ends a process, or EPIPE if it is ignored."""
import errno
import os
import signal
import subprocess
import sys


def writer(disposition):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        signal.signal(signal.SIGPIPE, disposition)
        try:
            while True:
                os.write(w, b"x" * 1000)
        except OSError as e:
            os._exit(e.errno)
    os.close(w)
    print(len(os.read(r, 1000)))
    os.close(r)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


print(writer(signal.SIG_DFL) == -signal.SIGPIPE)
print(writer(signal.SIG_IGN) == errno.EPIPE)
print(writer(lambda *a: None) == errno.EPIPE)

# Only the last reader counts.
r, w = os.pipe()
go_r, go_w = os.pipe()
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
pid = os.fork()
if pid == 0:
    os.close(w)
    os.close(go_w)
    os.read(go_r, 1)
    os._exit(0)
os.close(r)
print(os.write(w, b"taken"))
os.close(go_w)
os.waitpid(pid, 0)
try:
    os.write(w, b"x")
except BrokenPipeError as e:
    print(e.strerror)

print(subprocess.run("yes | head -n 3", shell=True, stdout=subprocess.PIPE).stdout)
with subprocess.Popen(["yes", "line"], stdout=subprocess.PIPE) as p:
    print(p.stdout.readline())
    p.stdout.close()
    print(p.wait() == -signal.SIGPIPE)
with subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE) as p:
    p.wait()
    try:
        p.stdin.write(b"x" * 100_000)
        p.stdin.flush()
    except BrokenPipeError as e:
        print(e.strerror)
    try:
        p.stdin.close()
    except BrokenPipeError as e:
        print(e.strerror)
