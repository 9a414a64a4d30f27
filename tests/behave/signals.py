"""Handlers, masks, timers, pending signals, wake-up descriptors, for one process."""
import os
import signal
import time

log = []


def note(number, frame):
    log.append(signal.Signals(number).name)


for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGHUP):
    signal.signal(number, note)
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR2)
print(log)

log.clear()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGUSR1)
print(log, sorted(s.name for s in signal.sigpending()))
print(signal.sigwait({signal.SIGUSR1}).name, log)
os.kill(os.getpid(), signal.SIGUSR2)
info = signal.sigtimedwait({signal.SIGUSR2}, 1)
print(signal.Signals(info.si_signo).name, info.si_pid == os.getpid(), info.si_uid == os.getuid())
print(signal.sigtimedwait({signal.SIGUSR2}, 0.01))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGUSR2})
print(log)

start = time.monotonic()
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)  # again and again: one may come before the pause
signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
print(log[:1], time.monotonic() - start > 0.01)
log.clear()
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while len(log) < 3:
    time.sleep(0.05)
signal.setitimer(signal.ITIMER_REAL, 0)
print(log[:3], signal.getitimer(signal.ITIMER_REAL))
print(signal.alarm(100), signal.alarm(0))

# A handler runs during a sleep, which then goes on (PEP 475).
log.clear()
signal.setitimer(signal.ITIMER_REAL, 0.02)
start = time.monotonic()
time.sleep(0.1)
print(log, time.monotonic() - start >= 0.1)

r, w = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(w)
signal.raise_signal(signal.SIGHUP)
print(os.read(r, 10))
signal.set_wakeup_fd(-1)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN)


def to_exception(number, frame):
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    raise TimeoutError


signal.signal(signal.SIGALRM, to_exception)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    os.read(os.pipe()[0], 1)
except TimeoutError:
    print("read was interrupted")
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
try:
    signal.signal(signal.SIGKILL, note)
except OSError as e:
    print(e.strerror)
