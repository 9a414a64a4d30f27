"""Signals between processes: handlers, pending while blocked, siginfo of the sender, sigqueue, stop at exec."""
import ctypes
import os
import signal
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
ready_r, ready_w = os.pipe()
out_r, out_w = os.pipe()


def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as e:
            os.write(2, repr(e).encode())
        finally:
            os._exit(0)
    return pid


def handlers():
    seen = []
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda n, f: seen.append(signal.Signals(n).name))
    os.write(ready_w, b"x")
    while "SIGINT" not in seen:  # not pause(): one that comes right before it would be seen only after it
        time.sleep(0.01)
    os.write(out_w, (" ".join(seen) + "\n").encode())


def send_each(pid, *numbers):
    for number in numbers:
        os.kill(pid, number)


pid = child(handlers)
os.read(ready_r, 1)
send_each(pid, signal.SIGINT)
os.waitpid(pid, 0)
print(os.read(out_r, 100))


def blocked():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM})
    os.write(ready_w, b"x")
    first = signal.sigwaitinfo({signal.SIGUSR2})
    answer = [first.si_signo, first.si_pid == os.getppid(), first.si_uid == os.getuid(), first.si_code]
    answer.append(sorted(s.name for s in signal.sigpending()))
    os.write(out_w, (repr(answer) + "\n").encode())


pid = child(blocked)
os.read(ready_r, 1)
send_each(pid, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR1, signal.SIGUSR2)
os.waitpid(pid, 0)
print(os.read(out_r, 200))


class Value(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("pointer", ctypes.c_void_p)]


def queued():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN + 1})
    os.write(ready_w, b"x")
    answer = []
    for _ in range(3):
        info = signal.sigwaitinfo({signal.SIGRTMIN + 1})
        answer.append((info.si_pid == os.getppid(), info.si_code))
    os.write(out_w, (repr(answer) + "\n").encode())


pid = child(queued)
os.read(ready_r, 1)
print([libc.sigqueue(pid, signal.SIGRTMIN + 1, Value(number=i)) for i in range(3)])
os.waitpid(pid, 0)
print(os.read(out_r, 200))


# To the parent, and ping-pong.
got = []
signal.signal(signal.SIGUSR1, lambda n, f: got.append(n))


def answer_back():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    for _ in range(20):
        os.kill(os.getppid(), signal.SIGUSR1)
        signal.sigwait({signal.SIGUSR2})


pid = child(answer_back)
for i in range(20):
    while len(got) <= i:
        time.sleep(0.001)
    os.kill(pid, signal.SIGUSR2)
print(os.waitpid(pid, 0)[1], len(got))

# Python's own way with SIGINT: KeyboardInterrupt in a child, which a shell sees as killed by it.
done = subprocess.run([sys.executable, "-c", "import os, signal, time\n"
                       "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)"], stderr=subprocess.DEVNULL)
print(done.returncode)
done = subprocess.run(["sh", "-c", "kill -TERM $$; echo not reached"], stdout=subprocess.PIPE)
print(done)
done = subprocess.run(["sh", "-c", "trap 'echo trapped; exit 4' USR1; kill -USR1 $$; echo not reached"],
                      stdout=subprocess.PIPE)
print(done)
# A process that is killed while it waits for its own child.
with subprocess.Popen(["sh", "-c", "echo on; read line; true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
    print(p.stdout.readline())
    p.terminate()
    print(p.wait())
with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as p:
    p.stdin.write(b"it runs\n")
    print(p.stdout.readline())
    p.kill()
    print(p.wait(), p.stdout.read(), p.poll())
    p.send_signal(signal.SIGTERM)
