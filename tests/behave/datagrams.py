"""AF_UNIX datagram sockets with names, in one process."""
# behave: options --threads 4
import array
import errno
import os
import select
import socket
import struct
import tempfile
import threading

os.chdir(tempfile.mkdtemp())


def datagrams(name=None, kind=socket.SOCK_DGRAM):
    s = socket.socket(socket.AF_UNIX, kind)
    if name is not None:
        s.bind(name)
    return s


def fails(call, *args):
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "fine"


def ready(s, timeout=0):
    poll = select.poll()
    poll.register(s, select.POLLIN | select.POLLOUT)
    return sorted(e for _, e in poll.poll(timeout))


# Names: paths, abstract ones, none.
server, client, nobody = datagrams("server"), datagrams("client"), datagrams()
print(server.getsockname(), nobody.getsockname(), ready(server))
print(client.sendto(b"hello", "server"), server.recvfrom(100))
print(nobody.sendto(b"", "server"), server.recvfrom(100))
print(fails(nobody.sendto, b"x", "missing"), fails(datagrams, "server"), fails(server.bind, "again"))
print(fails(nobody.send, b"x"), fails(nobody.getpeername), fails(server.listen), fails(server.accept))
abstract = datagrams(b"\0abstract\0name")
print(client.sendto(b"1", b"\0abstract\0name"), abstract.recvfrom(10), abstract.getsockname())
print(fails(client.sendto, b"1", b"\0abstract"))
stream = datagrams("stream", socket.SOCK_STREAM)
stream.listen()
same = datagrams(b"\0abstract\0name", socket.SOCK_STREAM)
print(fails(client.sendto, b"1", "stream"), fails(client.connect, "stream"), fails(same.connect, "server"))
open("plain", "w").close()
print(fails(client.sendto, b"1", "plain"), fails(client.connect, "plain"))

# Autobind: five hexadecimal digits; sockets that pass credentials get a name as they send.
auto = datagrams("")
name = auto.getsockname()
print(len(name), name[0], set(name[1:]) <= set(b"0123456789abcdef"), fails(auto.bind, ""), auto.getsockname() == name)
passing = datagrams()
passing.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
passing.sendto(b"x", "server")
print(server.recvfrom(1)[1] == passing.getsockname(), len(passing.getsockname()))

# Connected: the peer's name; only the peer may send back.
client.connect("server")
print(client.getpeername(), client.send(b"to the peer"), server.recv(100))
print(client.sendto(b"elsewhere", b"\0abstract\0name"), abstract.recv(100))
print(fails(nobody.sendto, b"x", "client"), fails(nobody.connect, "client"), server.sendto(b"y", "client"), client.recv(5))

# Cut, peeked, in pieces.
client.send(b"0123456789")
print(server.recvmsg(4, 0, socket.MSG_PEEK), server.recv(3, socket.MSG_PEEK | socket.MSG_TRUNC) == b"012")
data, anc, flags, who = server.recvmsg(4)
print(data, anc, flags == socket.MSG_TRUNC, who)
client.sendmsg([b"ab", b"", b"cde"])
pieces = [bytearray(2), bytearray(9)]
print(server.recvmsg_into(pieces), pieces)
client.sendmsg([b"by name"], [], 0, b"\0abstract\0name")
print(abstract.recvfrom(100))
buffer = bytearray(3)
client.send(b"12345")
print(server.recv_into(buffer, 0, socket.MSG_TRUNC), buffer)

# Credentials and descriptors.
server.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
r, w = os.pipe()
rights = lambda *fds: (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
client.sendmsg([b"with"], [rights(r), rights(w)])


def described(anc):
    out = []
    for level, kind, data in anc:
        if kind == socket.SCM_CREDENTIALS:
            out.append(struct.unpack("3i", data) == (os.getpid(), os.getuid(), os.getgid()))
        else:
            fds = array.array("i", data)
            out.append(len(fds))
            for fd in fds:
                os.close(fd)
    return out


data, anc, flags, _ = server.recvmsg(100, 1000, socket.MSG_PEEK)
print(data, described(anc), flags)
data, anc, flags, _ = server.recvmsg(100, 1000)
print(data, described(anc), flags)
own = struct.pack("3i", os.getpid(), os.getuid(), os.getgid())
client.sendmsg([b"own"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, own)])
data, anc, flags, _ = server.recvmsg(100, 100)
print(data, described(anc), flags)
client.sendmsg([b"cut"], [rights(r)])
data, anc, flags, _ = server.recvmsg(100)
print(data, anc, flags == socket.MSG_CTRUNC)
os.close(r)
os.close(w)

# A full queue: EAGAIN, not ready to write, and ready again once one is taken; a blocked sender goes on.
client.setblocking(False)
count = 0
try:
    while True:
        client.send(b"x")
        count += 1
except BlockingIOError:
    print("full", 1 <= count < 1000, ready(client))
ep = select.epoll()
ep.register(client, select.EPOLLOUT | select.EPOLLET)
print(ep.poll(0))
client.setblocking(True)
told = []
sender = threading.Thread(target=lambda: told.append(client.send(b"last")))
sender.start()
got = [server.recv(10)]
while got[-1] != b"last":
    got.append(server.recv(10))
sender.join()
print(len(got) == count + 1, told, ep.poll(10) == [(client.fileno(), select.EPOLLOUT)], ready(client))
ep.close()

# The receiver is gone: refused once, then there is no peer. A socket unlinked is still reached by who is connected.
other = datagrams("other")
second = datagrams()
second.connect("other")
os.unlink("other")
print(second.send(b"still"), other.recv(9), fails(nobody.sendto, b"x", "other"))
other.close()
print(fails(second.send, b"x"), fails(second.send, b"x"), fails(client.sendto, b"x", "other"))

# connect() to nobody, and elsewhere; what was queued goes.
a, b = datagrams("a"), datagrams("b")
a.connect("b")
b.connect("a")
a.send(b"lost")
c = datagrams("c")
b.connect("c")
print(ready(b), fails(a.send, b"x"), fails(a.send, b"x"), a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.connect(a.fileno(), struct.pack("H14x", 0), 16), fails(a.send, b"x"), fails(a.getpeername))

# Shut.
a.connect("c")
c.shutdown(socket.SHUT_RD)
print(fails(a.send, b"x"), ready(c), c.recv(5))
a.shutdown(socket.SHUT_WR)
print(fails(a.send, b"x"), ready(a))

# Pairs: both ends, then one.
x, y = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
x.setblocking(False)
n = 0
try:
    while True:
        x.send(b"m")
        n += 1
except BlockingIOError:
    print(100 < n < 1000)
x.setblocking(True)
for _ in range(n):
    y.recv(1)
x.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10000)
print(x.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), fails(x.send, bytes(20000)), x.send(bytes(19000)), len(y.recv(30000)))
y.close()
print(fails(x.send, b"x"), fails(x.send, b"x"), ready(x))
print(fails(x.bind, "x"), x.getsockname(), nobody.sendto(b"in", "x"), x.recv(9))

# SEQPACKET: with connections.
listener = datagrams("packets", socket.SOCK_SEQPACKET)
listener.listen()
to = datagrams(None, socket.SOCK_SEQPACKET)
print(fails(to.send, b"x"), fails(to.recv, 1), fails(to.sendto, b"x", "packets"), ready(to))
to.connect("packets")
conn, who = listener.accept()
to.send(b"one")
to.send(b"")
to.send(b"three")
print(repr(who), conn.recv(2), conn.recv(9), conn.recvmsg(9)[:3], ready(conn))
print(conn.getsockname(), to.getpeername(), fails(client.sendto, b"x", "packets"))
conn.send(b"left")
conn.close()
print(ready(to), to.recv(9), to.recv(9), fails(to.send, b"x"))
pid, uid, gid = struct.unpack("3i", to.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
print(pid == os.getpid(), uid == os.getuid(), gid == os.getgid())
