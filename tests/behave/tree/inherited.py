"""What exec leaves: limits, descriptors above the soft limit, siginfo of signals that wait, /proc/self/status."""
import os
import resource
import signal
import subprocess
import sys

LOOK = """
import os, resource, signal
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_FSIZE),
      resource.getrlimit(resource.RLIMIT_CPU))
print(os.read(150, 10))
try:
    os.dup2(0, 160)
except OSError as e:
    print(e.strerror)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
bit = lambda name, number: int(status[name], 16) >> number - 1 & 1
print(bit("SigBlk", signal.SIGUSR1), bit("SigIgn", signal.SIGUSR2), bit("SigCgt", signal.SIGINT),
      bit("ShdPnd", signal.SIGUSR1), bit("SigIgn", signal.SIGPIPE))
info = signal.sigwaitinfo({signal.SIGUSR1})
print(info.si_pid == os.getppid(), info.si_code, info.si_uid == os.getuid())
print(signal.sigtimedwait({signal.SIGUSR1}, 0))
"""

r, w = os.pipe()
os.write(w, b"through")
os.dup2(r, 150, inheritable=True)
out_r, out_w = os.pipe()
go_r, go_w = os.pipe()
ready_r, ready_w = os.pipe()
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 31))
    resource.setrlimit(resource.RLIMIT_CPU, (1000, resource.RLIM_INFINITY))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.write(ready_w, b"x")
    os.read(go_r, 1)
    os.dup2(out_w, 1)
    os.execv(sys.executable, [sys.executable, "-c", LOOK])
os.read(ready_r, 1)
os.kill(pid, signal.SIGUSR1)
os.write(go_w, b"x")
os.close(out_w)
with os.fdopen(out_r) as out:
    print(out.read(), os.waitpid(pid, 0)[1])

# A stopped child of many threads, by way of a shell's job and of Python itself.
code = ("import os, signal, threading, time\n"
        "for i in range(3): threading.Thread(target=time.sleep, args=(0.2,)).start()\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\nprint('goes on', flush=True)")
with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as p:
    status = os.waitpid(p.pid, os.WUNTRACED)[1]
    print(os.WIFSTOPPED(status), os.WSTOPSIG(status) == signal.SIGSTOP)
    p.send_signal(signal.SIGCONT)
    print(os.WIFCONTINUED(os.waitpid(p.pid, os.WCONTINUED)[1]), p.stdout.read(), p.wait())
with subprocess.Popen(["sh", "-c", "kill -STOP $$; echo on"], stdout=subprocess.PIPE) as p:
    print(os.WIFSTOPPED(os.waitpid(p.pid, os.WUNTRACED)[1]))
    p.kill()
    print(p.wait(), p.stdout.read())
