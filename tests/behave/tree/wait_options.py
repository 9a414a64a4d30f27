"""wait, waitpid, wait4, waitid and their options: statuses, WNOHANG, WNOWAIT, zombies, no child."""
import os
import select
import signal


def child(ends):
    """A child that runs ends() once the returned descriptor is closed."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(w)
        os.read(r, 1)
        ends()
        os._exit(99)
    os.close(r)
    return pid, w


def zombie(ends):
    """A child that has ended and is not waited for: the end of its pipe says so."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        ends()
        os._exit(99)
    os.close(w)
    os.read(r, 1)
    os.close(r)
    return pid


def told(status):
    if os.WIFEXITED(status):
        return f"exited {os.WEXITSTATUS(status)}"
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"status {status:#x}"


def attempt(what, *args):
    try:
        return what(*args)
    except OSError as e:
        return e.strerror


print("no child:", attempt(os.wait), attempt(os.waitpid, -1, os.WNOHANG), attempt(os.waitpid, os.getpid(), 0))

for code in (0, 1, 42, 127, 255, 256, 257, -1):
    pid = os.fork()
    if pid == 0:
        os._exit(code)
    got, status = os.waitpid(pid, 0)
    print("exit", code, got == pid, told(status), hex(status))

for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGHUP):
    pid, gate = child(lambda: None)
    os.kill(pid, number)
    got, status = os.waitpid(pid, 0)
    print("signal", got == pid, told(status), os.waitstatus_to_exitcode(status) == -number)
    os.close(gate)

pid, gate = child(lambda: os._exit(3))
print("running:", os.waitpid(pid, os.WNOHANG), os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG))
os.close(gate)
got, status, usage = os.wait4(pid, 0)
print("wait4:", got == pid, told(status), usage.ru_utime >= 0, usage.ru_stime >= 0)
print("gone:", attempt(os.waitpid, pid, 0), attempt(os.kill, pid, 0))

# WNOWAIT leaves it to be waited for; a zombie still takes signals.
pid = zombie(lambda: os._exit(7))
for _ in range(2):
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    print("WNOWAIT:", info.si_pid == pid, info.si_code == os.CLD_EXITED, info.si_status,
          signal.Signals(info.si_signo).name, info.si_uid == os.getuid())
print("zombie:", attempt(os.kill, pid, 0), attempt(os.kill, pid, signal.SIGKILL))
info = os.waitid(os.P_ALL, 0, os.WEXITED)
print("waitid:", info.si_pid == pid, info.si_status, attempt(os.waitid, os.P_ALL, 0, os.WEXITED))

pid = zombie(lambda: os.kill(os.getpid(), signal.SIGTERM))
info = os.waitid(os.P_PID, pid, os.WEXITED)
print("killed:", info.si_code == os.CLD_KILLED, signal.Signals(info.si_status).name)

# By group, and any of several.
pids = [zombie(lambda i=i: os._exit(i)) for i in range(3)]
print("another group:", attempt(os.waitpid, -pids[0], os.WNOHANG))
first = os.waitpid(0, 0)
print("own group:", first[0] in pids, first[1] >> 8 == pids.index(first[0]))
rest = dict(attempt(os.waitpid, -os.getpgrp(), 0) for _ in range(2))
print("all:", sorted(rest | dict([first])) == sorted(pids), attempt(os.wait))

pid, gate = child(lambda: os._exit(5))
info = os.waitid(os.P_PGID, os.getpgrp(), os.WEXITED | os.WNOHANG)
print("group, running:", info)
os.close(gate)
info = os.waitid(os.P_PGID, os.getpgrp(), os.WEXITED)
print("group, ended:", info.si_pid == pid, info.si_status)

print("invalid:", attempt(os.waitid, os.P_ALL, 0, 0), attempt(os.waitpid, -1, 1 << 20))

# Of twenty that end in whatever order, each is reaped once.
children = [child(lambda i=i: os._exit(i)) for i in range(20)]
for _, gate in reversed(children):
    os.close(gate)
reaped = [os.wait() for _ in children]
print("twenty:", sorted(p for p, _ in reaped) == sorted(p for p, _ in children),
      sorted(s >> 8 for _, s in reaped) == list(range(20)))
print(select.select([], [], [], 0), attempt(os.wait))
