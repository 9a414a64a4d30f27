"""pty.fork, pty.spawn, programs at the other end, ctrl-C, hangup."""
import errno, fcntl, os, pty, select, signal, struct, sys, termios, time, tty

def show(name, value): print(name, value, flush=True)

def until(fd, what):
    got = b""
    while what not in got:
        got += os.read(fd, 1000)
    return got

def rest(fd):
    got = b""
    while True:
        try:
            more = os.read(fd, 1000)
        except OSError as e:
            return got, errno.errorcode[e.errno]
        if not more:
            return got, "end"
        got += more

# a child in Python
pid, fd = pty.fork()
if pid == 0:
    assert os.getsid(0) == os.getpid() == os.getpgrp() == os.tcgetpgrp(0)
    with open("/dev/tty", "w") as t:
        t.write("by name\n")
    print("child", os.isatty(0), os.ttyname(0) == os.ttyname(1), input("? "))
    os._exit(3)
show("fork", until(fd, b"? "))
os.write(fd, b"answer\n")
show("rest", rest(fd))
show("status", os.waitpid(pid, 0)[1] >> 8)
os.close(fd)

# sh
pid, fd = pty.fork()
if pid == 0:
    os.environ["PS1"] = ""
    os.execv("/bin/sh", ["sh", "-c", "echo start; cat; echo no more; exit 5"])
show("sh", until(fd, b"start\r\n"))
os.write(fd, b"to cat\n")
show("cat", until(fd, b"to cat\r\nto cat\r\n"))
os.write(fd, b"\x04")
show("rest", rest(fd))
show("status", os.waitpid(pid, 0)[1] >> 8)
os.close(fd)

# ctrl-C
pid, fd = pty.fork()
if pid == 0:
    os.execv("/bin/cat", ["cat"])
os.write(fd, b"x\n")
until(fd, b"x\r\nx\r\n")
os.write(fd, b"\x03")
show("interrupted", rest(fd))
show("status", os.waitpid(pid, 0)[1])
os.close(fd)

# window size and SIGWINCH
pid, fd = pty.fork()
if pid == 0:
    changed = False
    def handler(n, f):
        global changed
        changed = True
    signal.signal(signal.SIGWINCH, handler)
    print("ready", flush=True)
    while not changed:
        time.sleep(0.01)
    print(os.get_terminal_size(0), flush=True)
    os._exit(0)
until(fd, b"ready\r\n")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", 40, 132, 0, 0))
show("winch", rest(fd))
os.waitpid(pid, 0)
os.close(fd)

# hangup
pid, fd = pty.fork()
if pid == 0:
    print("here", flush=True)
    while True:
        signal.pause()
until(fd, b"here\r\n")
os.close(fd)
show("hung up", os.waitpid(pid, 0)[1])

# the child opens it by its name
m, s = os.openpty()
name = os.ttyname(s)
pid = os.fork()
if pid == 0:
    os.close(m); os.close(s)
    os.setsid()
    t = os.open(name, os.O_RDWR)
    os.write(t, b"%d %d\n" % (os.tcgetpgrp(t) == os.getpid(), os.get_inheritable(t)))
    tty.setraw(t)
    os.write(t, b"raw\n")
    assert os.read(t, 1) == b"g"
    os._exit(0)
show("by name", until(m, b"raw\n"))
os.write(m, b"g")
show("status", os.waitpid(pid, 0)[1])
os.close(s)
show("rest", rest(m))
os.close(m)
