"""os.posix_spawn: file actions, groups, sessions, masks, dispositions."""
# behave: with descriptors.py
import errno
import os
import signal
import sys
import tempfile

SH = "/bin/sh"
environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def spawn(argv, out=True, **options):
    r, w = os.pipe()
    actions = options.pop("file_actions", [])
    actions = [(os.POSIX_SPAWN_DUP2, w, 1), *actions]
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions, **options)
    os.close(w)
    with os.fdopen(r) as file:
        text = file.read()
    return text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


print(spawn([SH, "-c", "echo $0 $1; exit 4", "zero", "one"]))
with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/out"
    print(spawn([SH, "-c", "echo error >&2; echo to seven >&7"], file_actions=[
        (os.POSIX_SPAWN_OPEN, 2, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640),
        (os.POSIX_SPAWN_DUP2, 2, 7)]))
    with open(path) as file:
        print(file.read(), oct(os.fstat(file.fileno()).st_mode & 0o777))
    print(spawn([SH, "-c", "cat"], file_actions=[(os.POSIX_SPAWN_OPEN, 0, path, os.O_RDONLY, 0)]))
    try:
        spawn([SH, "-c", "true"], file_actions=[(os.POSIX_SPAWN_OPEN, 0, f"{folder}/absent", os.O_RDONLY, 0)])
    except OSError as e:
        print(e.strerror)
print(spawn([sys.executable, "descriptors.py", "0", "1", "9"], file_actions=[
    (os.POSIX_SPAWN_CLOSE, 0), (os.POSIX_SPAWN_DUP2, 1, 9)]))
try:
    spawn([SH, "-c", "true"], file_actions=[(os.POSIX_SPAWN_DUP2, 99, 0)])
except OSError as e:
    print(errno.errorcode[e.errno])

look = ("import os, signal; print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid(), "
        "sorted(s.name for s in signal.pthread_sigmask(0, ())), signal.getsignal(signal.SIGUSR1).name, "
        "signal.getsignal(signal.SIGPIPE).name)")
python = [sys.executable, "-c", look]
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
print(spawn(python))
print(spawn(python, setpgroup=0))
print(spawn(python, setsid=True))
print(spawn(python, setsigmask=[signal.SIGHUP, signal.SIGUSR2], setsigdef=[signal.SIGUSR1, signal.SIGPIPE]))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
print(spawn(python))
pid = os.posix_spawnp("true", ["true"], environment)
print(os.waitpid(pid, 0)[1])
try:
    os.posix_spawnp("no-such-program", ["x"], environment)
except OSError as e:
    print(e.strerror)
