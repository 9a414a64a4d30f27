"""AF_UNIX datagram sockets with names, between processes: names, answers, full queues, descriptors, credentials."""
import array
import errno
import os
import select
import socket
import struct
import tempfile

os.chdir(tempfile.mkdtemp())


def child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


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


server = datagrams("server")


# A client of another process: by name, connected, autobound, answered.
def asks():
    s = datagrams("client")
    s.sendto(b"question", "server")
    data, who = s.recvfrom(100)
    assert (data, who) == (b"answer to client", "server"), (data, who)
    s.connect("server")
    assert s.getpeername() == "server" and s.getsockname() == "client"
    s.send(b"")
    assert s.recvfrom(10) == (b"", "server")
    auto = datagrams("")
    auto.sendto(b"auto", "server")
    assert auto.recv(10) == b"back"
    assert fails(auto.sendto, b"x", "missing") == "ENOENT" and fails(auto.sendto, b"x", b"\0no") == "ECONNREFUSED"
    assert fails(datagrams, "client") == "EADDRINUSE"
    return 7


pid = child(asks)
data, who = server.recvfrom(100)
print(data, who, server.sendto(b"answer to " + who.encode(), who))
data, who = server.recvfrom(100)
print(data, who, server.sendto(b"", who))
data, who = server.recvfrom(100)
print(data, len(who), who[:1], server.sendto(b"back", who), ended(pid))
print(fails(server.sendto, b"x", "client"))  # its name is there, but nobody has it


# The server is another process: epoll there, a truncated packet, MSG_TRUNC, PEEK.
def serves():
    s = datagrams(b"\0served")
    server.sendto(b"ready", "server")
    ep = select.epoll()
    ep.register(s, select.EPOLLIN)
    assert ep.poll(20) == [(s.fileno(), select.EPOLLIN)]
    data, _, flags, who = s.recvmsg(4)
    assert (data, flags, who) == (b"0123", socket.MSG_TRUNC, "server")
    assert s.recv(3, socket.MSG_PEEK) == b"abc"
    buf = bytearray(2)
    assert s.recv_into(buf, 2, socket.MSG_TRUNC) == 5 and buf == b"ab"
    assert ep.poll(0) == []
    s.sendto(b"done", "server")


pid = child(serves)
print(server.recv(10), server.sendto(b"0123456789", b"\0served"), server.sendto(b"abcde", b"\0served"))
print(server.recv(10), ended(pid), fails(server.sendto, b"x", b"\0served"))


# A queue that is full: the sender waits in its process, poll says so; it goes on when there is room.
def floods():
    s = datagrams()
    s.connect("server")
    s.setblocking(False)
    n = 0
    try:
        while True:
            s.send(b"x")
            n += 1
    except BlockingIOError:
        pass
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    assert poll.poll(0) == []
    go.sendto(b"%d" % n, b"\0go")
    assert poll.poll(20000) == [(s.fileno(), select.POLLOUT)]
    s.setblocking(True)
    for _ in range(50):
        s.send(b"y")
    s.sendto(b"end", "server")


go = datagrams(b"\0go")
pid = child(floods)
n = int(go.recv(10))
got = [server.recv(9)]
while got[-1] != b"end":
    got.append(server.recv(9))
print(n >= 1, got.count(b"x") == n, got.count(b"y"), ended(pid))

# A blocked sender whose receiver goes.
gone = datagrams("gone")
count = 0
filler = datagrams()
filler.setblocking(False)
try:
    while True:
        filler.sendto(b"f", "gone")
        count += 1
except BlockingIOError:
    pass


def waits():
    s = datagrams()
    go.sendto(b"going", b"\0go")
    return {"ECONNREFUSED": 3, "fine": 4}.get(fails(s.sendto, b"z", "gone"), 5)


pid = child(waits)
print(go.recv(10))
for _ in range(count):
    gone.recv(1)
gone.settimeout(20)
print(gone.recv(1), ended(pid))
gone.close()


# Descriptors and credentials: who sent is the child.
def passes():
    s = datagrams()
    r, w = os.pipe()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd])) for fd in (r, w)]
    s.sendmsg([b"fds"], rights, 0, "server")
    wrong = struct.pack("3i", os.getppid(), os.getuid(), os.getgid())
    assert os.getuid() == 0 or fails(
        s.sendmsg, [b"x"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, wrong)], 0, "server") == "EPERM"


server.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
pid = child(passes)
data, anc, flags, who = server.recvmsg(100, 1000)
creds = [struct.unpack("3i", d) for _, t, d in anc if t == socket.SCM_CREDENTIALS]
fds = [fd for _, t, d in anc if t == socket.SCM_RIGHTS for fd in array.array("i", d)]
print(data, flags, len(fds), creds == [(pid, os.getuid(), os.getgid())], ended(pid))
print(os.write(fds[1], b"through"), os.read(fds[0], 10))


# A pair that a child has made and hands on with what is in it, then gives a name to.
def pairs():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.send(b"one")
    a.send(b"")
    a.send(b"three")
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)

    def inner():
        assert [b.recv(9) for _ in range(3)] == [b"one", b"", b"three"]
        assert a.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 10000
        b.send(b"reply")
        return 2

    pid = child(inner)
    assert a.recv(10) == b"reply" and ended(pid) == 2
    a.bind("pair")
    server.sendto(b"to the pair", "server")
    c, d = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    c.bind("single")
    c.close()
    assert (fails(d.send, b"x"), fails(d.send, b"x")) == ("ECONNREFUSED", "ENOTCONN")
    return 5


pid = child(pairs)
print(server.recv(20), ended(pid))

# SEQPACKET connections across processes: empty packets, who the peer is, its end.
listener = datagrams("packets", socket.SOCK_SEQPACKET)
listener.listen()


def connects():
    s = datagrams(None, socket.SOCK_SEQPACKET)
    s.connect("packets")
    pid, _, _ = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    assert pid == os.getppid()
    s.send(b"")
    s.send(b"x" * 30000)
    assert s.recv(10) == b"bye" and s.recv(10) == b""
    return fails(s.send, b"x") == "EPIPE"


pid = child(connects)
conn, who = listener.accept()
peer, _, _ = struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
print(repr(who), peer == pid, conn.recv(10), len(conn.recv(100000)), conn.send(b"bye"))
conn.close()
print(ended(pid))
