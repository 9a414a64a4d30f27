"""Terminals across posix_spawn, exec in place, and a process in the middle that starts the others."""
import os, select, signal, sys, termios

def show(*args): print(*args, flush=True)

def rest(fd):
    got = b""
    while True:
        try:
            more = os.read(fd, 1000)
        except OSError:
            return got
        got += more

def spawned(name):
    """sh, leading a session whose terminal it is because it opened that by its name."""
    m, s = os.openpty()
    name = os.ttyname(s)
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo here >/dev/tty; read x; echo got $x; kill -INT 0; echo not reached"],
                         os.environ, setsid=True,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1),
                                       (os.POSIX_SPAWN_DUP2, 0, 2), (os.POSIX_SPAWN_CLOSE, m)])
    os.close(s)
    os.write(m, b"word\n")
    show("spawned", sorted(rest(m).split(b"\r\n")), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os.close(m)

if len(sys.argv) == 1:
    spawned("root")
    pid = os.fork()
    if pid == 0:
        spawned("child")
        os._exit(0)
    os.waitpid(pid, 0)
    # both ends go through exec; a line is on its way
    m, s = os.openpty()
    for fd in (m, s):
        os.set_inheritable(fd, True)
    mode = termios.tcgetattr(s)
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(s, termios.TCSANOW, mode)
    os.write(m, b"before\n")
    os.execv(sys.executable, [sys.executable, __file__, str(m), str(s), os.ttyname(s)])

m, s, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
show("after exec", os.ttyname(s) == name, bool(termios.tcgetattr(s)[3] & termios.ECHO), os.read(s, 100))
pid = os.fork()
if pid == 0:
    os.close(m)
    os.setsid()
    os.open(name, os.O_RDWR)  # the terminal of this session
    os.close(s)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # one that comes before the wait counts too
    os.write(os.open("/dev/tty", os.O_WRONLY), b"child is there\n")
    signal.sigwait({signal.SIGHUP})
    os._exit(17)
select.select([m], [], [])
show(os.read(m, 100))
os.close(m)
show("hung up", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.read(s, 10))
