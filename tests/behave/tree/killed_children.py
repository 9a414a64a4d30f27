"""Children killed by signals, aborted, out of memory access, by a limit; and the status that each gives."""
import os
import resource
import signal
import subprocess
import sys

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def code(text):
    return subprocess.run([sys.executable, "-c", text], stderr=subprocess.DEVNULL).returncode


for name in ("SIGKILL", "SIGTERM", "SIGSEGV", "SIGUSR1", "SIGALRM", "SIGFPE"):
    print(name, code(f"import os, signal; os.kill(os.getpid(), signal.{name})"))
print("abort", code("import os; os.abort()"))
print("segv", code("import ctypes; ctypes.string_at(1)"))
print("alarm", code("import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(9)"))
print("exception", code("raise ValueError"), code("import sys; sys.exit('text')"), code("raise SystemExit(300)"))
print("ignored", code("import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), 15)"))
print("thread", code("import threading, os; t = threading.Thread(target=os._exit, args=(5,)); t.start(); t.join()"))

# While it runs, from outside.
for number in (signal.SIGKILL, signal.SIGINT, signal.SIGQUIT):
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
                           "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE) as p:
        p.stdout.read(1)
        p.send_signal(number)
        print(p.wait())
pid = os.fork()
if pid == 0:
    while True:
        pass
os.kill(pid, signal.SIGKILL)
print(os.waitpid(pid, 0)[1])
# A killed child's own children go on, and its pipe ends with the last of them.
r, w = os.pipe()
with subprocess.Popen(["sh", "-c", "sh -c 'echo up; cat <&$0' $0 & wait", str(r)], pass_fds=[r],
                      stdout=subprocess.PIPE) as p:
    os.close(r)
    print(p.stdout.readline())
    p.kill()
    print(p.wait())
    os.write(w, b"the grandchild goes on")
    os.close(w)
    print(p.stdout.read())
