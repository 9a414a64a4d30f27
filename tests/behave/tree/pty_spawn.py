"""pty.spawn, subprocess with a terminal, a shell's jobs, input() with a terminal, termios from another process."""
import os, pty, select, signal, subprocess, sys, termios, tty

def show(*args): print(*args, flush=True)

def until(fd, what):
    got = b""
    while what not in got:
        got += os.read(fd, 1000)
    return got

def spawn(*command):
    show("spawn", os.waitstatus_to_exitcode(pty.spawn(command)))

spawn("/bin/sh", "-c", "echo one; test -t 0 && test -t 1 && test -t 2 && echo all three; exit 6")

class Reader:
    """All that a master gives."""
    def __init__(self, fd):
        self.fd = fd
    def rest(self):
        got = b""
        while True:
            try:
                more = os.read(self.fd, 4096)
            except OSError:
                return got
            got += more

# subprocess: the terminal as standard streams, in a session of its own
m, s = os.openpty()
p = subprocess.Popen([sys.executable, "-c", "import os, sys; print(os.isatty(0), sys.stdout.line_buffering, input('> '))"],
                     stdin=s, stdout=s, stderr=s, start_new_session=True, close_fds=True)
os.close(s)
show(until(m, b"> "))
os.write(m, b"typed\n")
show(Reader(m).rest(), p.wait())
os.close(m)

# a child sets the mode, the parent sees it
m, s = os.openpty()
pid = os.fork()
if pid == 0:
    mode = termios.tcgetattr(s)
    mode[3] &= ~(termios.ECHO | termios.ICANON)
    mode[6][termios.VMIN] = 3
    termios.tcsetattr(s, termios.TCSAFLUSH, mode)
    os._exit(0)
os.waitpid(pid, 0)
mode = termios.tcgetattr(s)
show("mode", bool(mode[3] & termios.ECHO), bool(mode[3] & termios.ICANON), mode[6][termios.VMIN])
# three processes: one types, one reads, this one watches
reader = os.fork()
if reader == 0:
    got = os.read(s, 100)
    os.write(s, b"got " + got)
    os._exit(0)
typist = os.fork()
if typist == 0:
    for c in b"xyz":
        os.write(m, bytes([c]))
    os._exit(0)
show(until(m, b"xyz"), os.waitpid(reader, 0)[1], os.waitpid(typist, 0)[1])
os.close(s)
os.close(m)

# a shell with job control
pid, fd = pty.fork()
if pid == 0:
    os.environ["PS1"] = "$ "
    os.environ.pop("ENV", None)
    os.execv("/bin/sh", ["sh", "-i"])
until(fd, b"$ ")
os.write(fd, b"stty -echo; PS1=%\n")
until(fd, b"\r\n%")

def ask(command):
    os.write(fd, command.encode() + b"\n")
    return until(fd, b"%")

# cat has the terminal once it gives back what is typed
for key in (b"\x03", b"\x1c", b"\x1a", b"\x04"):
    os.write(fd, b"cat\nmarker\n")
    until(fd, b"marker\r\n")
    os.write(fd, key)
    until(fd, b"%")
    show(key, ask("echo $?"))
ask("kill -9 %1")
os.write(fd, b"exit 9\nexit 9\n")
Reader(fd).rest()
show("shell", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.close(fd)
