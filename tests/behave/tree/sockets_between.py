"""Stream socket pairs between processes: shutdown, end, a program's standard streams, and SCM_RIGHTS."""
import array
import os
import select
import socket
import subprocess
import sys
import tempfile


def child(work, *closing):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for s in closing:
                s.close()
            code = work() or 0
        finally:
            os._exit(code)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def echo(s):
    while data := s.recv(1000):
        s.sendall(data.upper())


a, b = socket.socketpair()
pid = child(lambda: echo(b), a)
b.close()
a.sendall(b"hello")
print(a.recv(100))
a.sendall(b"x" * 50_000)
print(len(a.recv(50_000, socket.MSG_WAITALL)))
a.shutdown(socket.SHUT_WR)
print(a.recv(10), ended(pid))
a.close()

# The other end is gone.
a, b = socket.socketpair()
pid = child(lambda: 3, a)
b.close()
print(ended(pid), a.recv(1))
try:
    a.send(b"x")
except BrokenPipeError as e:
    print(e.strerror)
a.close()

# A socket is a program's standard input and output.
a, b = socket.socketpair()
p = subprocess.Popen([sys.executable, "-c", "print(input()[::-1])"], stdin=b, stdout=b)
b.close()
a.sendall(b"desrever\n")
print(a.makefile().read(), p.wait())
a.close()

# Descriptors by SCM_RIGHTS: a pipe, a file with its offset, a socket.
a, b = socket.socketpair()
file = tempfile.TemporaryFile()
file.write(b"0123456789")
file.flush()
file.seek(3)


def sends():
    r, w = os.pipe()
    socket.send_fds(b, [b"take"], [r, file.fileno()])
    os.close(r)
    os.write(w, b"through the passed pipe")
    os.close(w)
    b.recv(1)


pid = child(sends, a)
b.close()
message, fds, flags, _ = socket.recv_fds(a, 100, 5)
print(message, len(fds), flags, [os.get_inheritable(f) for f in fds])
print(os.read(fds[0], 100), os.read(fds[0], 100))
print(os.read(fds[1], 4), os.lseek(file.fileno(), 0, os.SEEK_CUR))
a.send(b"x")
print(ended(pid))
for fd in fds:
    os.close(fd)
a.close()

# Received without room for them: cut, and told.
a, b = socket.socketpair()
r, w = os.pipe()
pid = child(lambda: socket.send_fds(b, [b"m"], [r, w, r]) and 0, a)
ended(pid)
message, ancillary, flags, _ = a.recvmsg(10, socket.CMSG_LEN(array.array("i", [0]).itemsize))
print(message, bool(flags & socket.MSG_CTRUNC), len(ancillary))
received = array.array("i", ancillary[0][2])
os.close(w)
os.close(r)
os.close(received[0])
# A descriptor on its way keeps its file open.
r, w = os.pipe()
socket.send_fds(b, [b"w"], [w])
os.close(w)
print(select.select([r], [], [], 0))
_, (passed,), _, _ = socket.recv_fds(a, 1, 1)
pid = child(lambda: os.write(passed, b"late") and 0)
os.close(passed)
print(os.read(r, 10), os.read(r, 10), ended(pid))
a.close()
b.close()
