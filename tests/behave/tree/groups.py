"""Process groups, sessions, signals to groups."""
import os
import signal


def attempt(what, *args):
    try:
        return what(*args)
    except OSError as e:
        return e.strerror


def child(prepare=lambda: None):
    """A child that waits for signals once it has prepared."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        prepare()
        os.write(w, b"x")
        while True:
            signal.pause()
    os.read(r, 1)
    os.close(r)
    os.close(w)
    return pid


def end(pid):
    return signal.Signals(os.WTERMSIG(os.waitpid(pid, 0)[1])).name


me, group, session = os.getpid(), os.getpgrp(), os.getsid(0)
print(os.getpgid(0) == group, os.getpgid(me) == group, os.getsid(me) == session)

a = child()
print("inherited:", os.getpgid(a) == group, os.getsid(a) == session)
print("by the parent:", os.setpgid(a, 0), os.getpgid(a) == a)
b = child(lambda: os.setpgid(0, a))
print("joined:", os.getpgid(b) == a, os.getsid(b) == session)
c = child(os.setsid)
print("a session:", os.getsid(c) == c, os.getpgid(c) == c)
print("across sessions:", attempt(os.setpgid, c, group), attempt(os.setpgid, a, c))
print("no such:", attempt(os.setpgid, 4190000, 0), attempt(os.getpgid, 4190000), attempt(os.getsid, 4190000),
      attempt(os.killpg, 4190000, 0), attempt(os.kill, 4190000, 0))

print("look:", os.killpg(a, 0), os.kill(a, 0))
os.killpg(a, signal.SIGUSR1)
print("the group:", end(a), end(b), attempt(os.killpg, a, 0))
print("not the session:", os.waitpid(c, os.WNOHANG))
os.kill(-c, signal.SIGUSR2)
print("by minus:", end(c))

# kill(0) reaches the whole group, the sender too: in a group of its own.
r, w = os.pipe()
lead = os.fork()
if lead == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, lambda *a: None)
    first, second = child(lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL)), child()
    os.kill(0, signal.SIGTERM)
    os.write(w, end(first).encode() + b"\n")
    os.kill(second, 0)
    os.kill(0, signal.SIGHUP)
    os._exit(0)
os.close(w)
print("kill 0:", os.fdopen(r).read().strip(), end(lead))

pid = os.fork()
if pid == 0:
    os.setsid()
    code = 0
    try:
        os.setsid()
    except PermissionError:
        code |= 1
    try:
        os.setpgid(0, 0)
    except PermissionError:
        code |= 2
    os._exit(code)
print("leaders:", os.waitpid(pid, 0)[1] >> 8)
# A child that has exec'ed is out of reach of setpgid.
r, w = os.pipe()
in_r, in_w = os.pipe()
pid = os.fork()
if pid == 0:
    os.dup2(in_r, 0)
    os.dup2(w, 1)
    os.execv("/bin/sh", ["sh", "-c", "echo up; read line"])
os.close(w)
os.read(r, 3)
print("after exec:", attempt(os.setpgid, pid, pid))
os.kill(pid, signal.SIGKILL)
print(end(pid))
