"""SIGCHLD: its siginfo, a handler that reaps, ignored, SA_NOCLDWAIT by SIG_IGN, in a blocked mask."""
import os
import signal
import time

CODES = {os.CLD_EXITED: "exited", os.CLD_KILLED: "killed", os.CLD_DUMPED: "dumped"}


def run(ends):
    pid = os.fork()
    if pid == 0:
        ends()
        os._exit(98)
    return pid


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
for ends in (lambda: os._exit(0), lambda: os._exit(77), lambda: os.kill(os.getpid(), signal.SIGKILL),
             lambda: os.kill(os.getpid(), signal.SIGTERM)):
    pid = run(ends)
    info = signal.sigwaitinfo({signal.SIGCHLD})
    print(info.si_signo == signal.SIGCHLD, info.si_pid == pid, info.si_uid == os.getuid(),
          CODES[info.si_code], info.si_status)
    print(os.waitpid(pid, os.WNOHANG)[0] == pid)
print(signal.sigtimedwait({signal.SIGCHLD}, 0))

# A handler that reaps: signals merge, so it loops.
reaped, numbers = [], set()


def reap(number, frame):
    numbers.add(number)
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        reaped.append((pid, status >> 8))


signal.signal(signal.SIGCHLD, reap)
pids = {run(lambda i=i: os._exit(i)): i for i in range(10)}
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
while len(reaped) < 10:
    time.sleep(0.005)
print(dict(reaped) == pids, numbers == {signal.SIGCHLD})

# It interrupts a wait in select and in a read, which go on (PEP 475).
r, w = os.pipe()
reaped.clear()
writer = run(lambda: (os.write(w, b"data"), os._exit(4)))
quick = run(lambda: os._exit(6))
print(os.read(r, 10))
while len(reaped) < 2:
    time.sleep(0.005)
print(sorted(s for _, s in reaped))

# Ignored: children leave no zombie; wait returns only when the last is gone, with ECHILD.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
gone = [run(lambda: os._exit(9)) for _ in range(3)]
try:
    print(os.wait())
except ChildProcessError as e:
    print("ignored:", e.strerror)
for pid in gone:
    try:
        os.kill(pid, 0)
        print("still there")
    except ProcessLookupError as e:
        print(e.strerror)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
pid = run(lambda: os._exit(11))
print("default:", os.waitpid(pid, 0) == (pid, 11 << 8))

# The wake-up descriptor, as asyncio uses it.
r, w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
signal.signal(signal.SIGCHLD, lambda *a: None)
signal.set_wakeup_fd(w)
pid = run(lambda: os._exit(0))
os.waitpid(pid, 0)
while True:
    try:
        print(os.read(r, 10) == bytes([signal.SIGCHLD]))
        break
    except BlockingIOError:
        time.sleep(0.005)
