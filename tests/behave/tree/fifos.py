"""FIFOs: opens that wait for the other end, ends of file, many writers, poll, between threads and between processes."""
import errno
import fcntl
import os
import select
import signal
import stat
import subprocess
import tempfile
import threading

folder = tempfile.mkdtemp()
path = os.path.join(folder, "fifo")
os.mkfifo(path, 0o640)
st = os.stat(path)
print("made:", stat.S_ISFIFO(st.st_mode), oct(st.st_mode & 0o777), st.st_size)


def refused(what, *args):
    try:
        return what(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def events(fd, timeout=0):
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT)
    names = {select.POLLIN: "in", select.POLLOUT: "out", select.POLLHUP: "hup", select.POLLERR: "err"}
    return sorted(name for bit, name in names.items() for _, e in poll.poll(timeout) if e & bit)


def all_of(fd):
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    return data


print("made twice:", refused(os.mkfifo, path))
print("nobody reads:", refused(os.open, path, os.O_WRONLY | os.O_NONBLOCK))
r = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
print("a reader alone:", refused(os.read, r, 1), events(r), refused(os.lseek, r, 0, os.SEEK_CUR))
w = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
print("both:", refused(os.read, r, 1), events(r), events(w))
print("through:", os.write(w, b"hello"), events(r), os.read(r, 100), stat.S_ISFIFO(os.fstat(w).st_mode))
print("wrong way:", refused(os.read, w, 1), refused(os.write, r, b"x"))
os.write(w, b"rest")
os.close(w)
print("writer gone:", events(r), os.read(r, 2), os.read(r, 100), os.read(r, 100), events(r))
w = os.open(path, os.O_WRONLY)
print("another:", refused(os.read, r, 1), events(r))
os.close(r)
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
print("reader gone:", events(w), refused(os.write, w, b"x"))
os.close(w)

both = os.open(path, os.O_RDWR)
print("both at once:", events(both), os.write(both, b"loop"), events(both), os.read(both, 10))
print("size:", fcntl.fcntl(both, 1032), fcntl.fcntl(both, 1031, 8192), fcntl.fcntl(both, 1032))
other = os.open(path, os.O_WRONLY)
os.write(other, b"left behind")
os.close(other)
os.close(both)
r = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
print("it went with the last one:", os.read(r, 100), fcntl.fcntl(r, 1032))
os.close(r)

# Threads of one process.
got = []
t = threading.Thread(target=lambda: got.append(open(path).read()))
t.start()
with open(path, "w") as f:
    f.write("from a thread")
t.join()
print(got)

# A child writes, we read; and the reverse, more than a pipe holds.
pid = os.fork()
if pid == 0:
    with open(path, "wb") as f:
        f.write(b"0123456789" * 50000)
    os._exit(0)
fd = os.open(path, os.O_RDONLY)
data = all_of(fd)
os.close(fd)
print("from a child:", len(data), data == b"0123456789" * 50000, os.waitpid(pid, 0)[1])
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    fd = os.open(path, os.O_RDONLY)
    print(events(fd, -1)[0], file=open(w, "w", closefd=False), flush=True)
    os.write(w, str(len(all_of(fd))).encode())
    os._exit(0)
os.close(w)
with open(path, "wb") as f:
    f.write(b"x" * 200001)
print("to a child:", all_of(r), os.waitpid(pid, 0)[1])
os.close(r)

# Three children write lines, atomically; two read what they can.
gate_r, gate_w = os.pipe()
back_r, back_w = os.pipe()
hold = os.open(path, os.O_RDWR)
writers = []
for n in range(3):
    if (pid := os.fork()) == 0:
        os.close(gate_w)
        os.close(hold)
        os.read(gate_r, 1)
        fd = os.open(path, os.O_WRONLY)
        for k in range(200):
            os.write(fd, b"%d:%03d;" % (n, k) * 10)
        os._exit(0)
    writers.append(pid)
readers = []
for n in range(2):
    if (pid := os.fork()) == 0:
        os.close(gate_w)
        os.close(hold)
        fd = os.open(path, os.O_RDONLY)
        os.write(back_w, b"x")
        total, whole = 0, True
        while piece := os.read(fd, 60):
            total += len(piece)
            whole = whole and piece == piece[:6] * 10
        os.write(back_w, b"%d %d\n" % (total, whole))
        os._exit(0)
    readers.append(pid)
os.close(back_w)
os.read(back_r, 1), os.read(back_r, 1)
os.close(gate_w)
print("writers:", [os.waitpid(p, 0)[1] for p in writers])
os.close(hold)
print("readers:", [os.waitpid(p, 0)[1] for p in readers])
lines = [l.split() for l in all_of(back_r).split(b"\n") if l]
print("all of it:", sum(int(n) for n, _ in lines), all(whole == b"1" for _, whole in lines))

# A signal ends an open that waits; a killed one leaves no end behind.
def leave(*_):
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    raise ZeroDivisionError


signal.signal(signal.SIGALRM, leave)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # again and again: one may come before the open
        os.open(path, os.O_RDONLY)
    except ZeroDivisionError:
        os.write(w, b"interrupted")
    os._exit(0)
print(os.read(r, 20), os.waitpid(pid, 0)[1])
print("no end left:", refused(os.open, path, os.O_WRONLY | os.O_NONBLOCK))

# Programs, and a name that goes while it is open.
p = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
with open(path, "w") as f:
    os.unlink(path)
    f.write("to cat\n")
print(p.communicate()[0], p.returncode, os.listdir(folder))
os.rmdir(folder)
