"""TCP over loopback in one process: threads, timeouts, signals, options, names, vectors, closing."""
import array
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import termios
import threading


def pair(family=socket.AF_INET):
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family) as s:
        client = socket.create_connection(s.getsockname()[:2])
        server, peer = s.accept()
    return client, server, peer


def error(call, *args):
    try:
        return call(*args)
    except OSError as e:
        return type(e).__name__ if isinstance(e, TimeoutError) else errno.errorcode.get(e.errno, e)


def names():
    for family in (socket.AF_INET, socket.AF_INET6):
        a, b, peer = pair(family)
        print(family.name, a.getsockname() == peer, b.getpeername() == peer, a.getpeername() == b.getsockname())
        a.close(), b.close()
    s = socket.socket()
    print(s.getsockname(), error(s.getpeername), error(s.accept), error(s.recv, 1), error(s.send, b"x"))
    print(error(s.bind, ("203.0.113.1", 0)), error(s.connect, ("127.0.0.1", 1)))
    s.close()
    print(error(socket.socket, socket.AF_INET, 7), error(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 17))
    print(socket.socket(socket.AF_INET6).getsockname())


def much():
    """More than any buffer, both ways at once, in pieces of all sizes."""
    a, b, _ = pair()
    data = bytes(range(256)) * 40000
    got = []

    def take(s, to):
        chunks = []
        while chunk := s.recv(70001):
            chunks.append(chunk)
        to.append(b"".join(chunks))
    threads = [threading.Thread(target=take, args=(s, got)) for s in (a, b)]
    senders = [threading.Thread(target=lambda s=s: (s.sendall(data), s.shutdown(socket.SHUT_WR))) for s in (a, b)]
    for t in threads + senders:
        t.start()
    for t in threads + senders:
        t.join()
    print([len(g) for g in got], all(g == data for g in got))
    a.close(), b.close()


def vectors():
    a, b, _ = pair()
    parts = [b"a" * n for n in (1, 7, 8, 9, 0, 15, 4096, 3)]
    print(a.sendmsg(parts), len(b.recv(4139, socket.MSG_WAITALL | socket.MSG_PEEK)))
    buffers = [bytearray(n) for n in (3, 5, 8, 1, 4000)]
    n, _, flags, address = b.recvmsg_into(buffers)
    print(n, flags, address, [bytes(x) == b"a" * len(x) for x in buffers])
    print(len(b.recv(10000)))
    print(os.writev(a.fileno(), parts))
    into = [bytearray(1), bytearray(4137)]
    print(os.readv(b.fileno(), into))
    print(error(a.sendmsg, [b"x"] * 2000))
    a.sendall(b"abcdef")
    print(b.recv(3, socket.MSG_PEEK), b.recv(2), b.recv(10))
    print(error(b.recv, 1, socket.MSG_DONTWAIT))
    a.send(b"urgent", socket.MSG_OOB)
    select.select([], [], [b], 10)
    print(b.recv(1, socket.MSG_OOB), b.recv(10))
    a.close(), b.close()


def timeouts():
    a, b, _ = pair()
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 40000))
    print(struct.unpack("ll", b.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)))
    print(error(b.recv, 1))
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
    print(error(b.setsockopt, socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 2000000)))
    b.settimeout(0.02)
    print(error(b.recv, 1))
    b.setblocking(False)
    print(error(b.recv, 1), error(b.accept))
    a.settimeout(0.05)
    print(error(lambda: [a.send(b"x" * 1000000) for _ in range(1000)]))
    a.close(), b.close()
    with socket.create_server(("127.0.0.1", 0)) as s:
        s.settimeout(0.02)
        print(error(s.accept))


def signals():
    a, b, _ = pair()
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1) or a.send(b"after"))
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    print(b.recv(100), seen)

    class Out(Exception):
        pass

    def leave(*_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        raise Out

    def interrupted(call):
        signal.signal(signal.SIGALRM, leave)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)  # again and again: one may come before the call
            call()
        except Out:
            return "left"
    for call in (lambda: b.recv(1), lambda: select.select([b], [], []), lambda: select.epoll().poll()):
        print(interrupted(call))
    with socket.create_server(("127.0.0.1", 0)) as s:
        print("accept", interrupted(s.accept))
    signal.signal(signal.SIGPIPE, lambda *_: print("SIGPIPE"))
    b.close()
    for _ in range(100):
        if error(a.send, b"x") == "EPIPE":
            break
    print(error(a.send, b"x", socket.MSG_NOSIGNAL), error(os.write, a.fileno(), b"x"))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    a.close()


def options():
    a, b, _ = pair()
    for level, name, value in (
            (socket.SOL_SOCKET, "SO_REUSEADDR", 1), (socket.SOL_SOCKET, "SO_REUSEPORT", 1),
            (socket.SOL_SOCKET, "SO_KEEPALIVE", 1), (socket.SOL_SOCKET, "SO_BROADCAST", 1),
            (socket.SOL_SOCKET, "SO_RCVLOWAT", 2), (socket.SOL_SOCKET, "SO_OOBINLINE", 1),
            (socket.IPPROTO_TCP, "TCP_NODELAY", 1), (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 33),
            (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5), (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
            (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 1234), (socket.IPPROTO_TCP, "TCP_QUICKACK", 0),
            (socket.IPPROTO_IP, "IP_TOS", 16), (socket.IPPROTO_IP, "IP_TTL", 55)):
        number = getattr(socket, name)
        before = a.getsockopt(level, number)
        print(name, before, error(a.setsockopt, level, number, value), a.getsockopt(level, number))
    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7))
    print(struct.unpack("ii", a.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)))
    print(a.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 3), a.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE, 100))
    for name in ("SO_TYPE", "SO_DOMAIN", "SO_PROTOCOL", "SO_ERROR", "SO_ACCEPTCONN"):
        print(name, a.getsockopt(socket.SOL_SOCKET, getattr(socket, name)))
    print(len(a.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 92)))
    print(error(a.getsockopt, socket.SOL_SOCKET, 9999), error(a.setsockopt, 4242, 1, 1))
    print(error(a.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, b"abc"))
    a.sendall(b"x" * 2000)
    a.shutdown(socket.SHUT_WR)
    b.recv(2000, socket.MSG_PEEK | socket.MSG_WAITALL)
    buf = array.array("i", [0])
    fcntl.ioctl(b.fileno(), termios.FIONREAD, buf)
    print(buf[0])
    print(fcntl.fcntl(b, fcntl.F_GETFL) & os.O_NONBLOCK)
    fcntl.ioctl(b.fileno(), termios.FIONBIO, array.array("i", [1]))
    print(fcntl.fcntl(b, fcntl.F_GETFL) & os.O_NONBLOCK > 0)
    print(error(os.lseek, b.fileno(), 0, 0), error(os.pread, b.fileno(), 1, 0), os.fstat(b.fileno()).st_mode >> 12)
    # With linger and no time for it, the peer is reset.
    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c, d, _ = pair()
    d.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    d.close()
    print(error(c.recv, 1))
    a.close(), b.close(), c.close()


def connecting():
    s = socket.create_server(("127.0.0.1", 0))
    c = socket.socket()
    c.setblocking(False)
    r = c.connect_ex(s.getsockname())
    print(r in (0, errno.EINPROGRESS))
    print(select.select([], [c], [], 10)[1] == [c], c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    print(errno.errorcode.get(c.connect_ex(s.getsockname()), "none"))
    port = s.getsockname()[1]
    s.close()
    d = socket.socket()
    d.setblocking(False)
    r = d.connect_ex(("127.0.0.1", port))
    if r == errno.EINPROGRESS:
        select.select([], [d], [], 10)
        r = d.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    print(errno.errorcode[r])
    c.close(), d.close()


def copies():
    a, b, _ = pair()
    c = a.dup()
    a.close()
    c.sendall(b"by a copy")
    print(b.recv(100))
    c.close()
    print(b.recv(100))
    b.close()


def sendfile():
    a, b, _ = pair()
    with tempfile.TemporaryFile() as f:
        f.write(b"0123456789" * 30000)
        f.flush()
        f.seek(5)
        t = threading.Thread(target=lambda: (print(a.sendfile(f, 3, 250000)), a.close()))
        t.start()
        data = b""
        while chunk := b.recv(100000):
            data += chunk
        t.join()
        print(len(data), data[:12], f.tell())
    b.close()
    with open(__file__, "rb") as f:
        a, b, _ = pair()
        print(os.sendfile(a.fileno(), f.fileno(), 0, 20), b.recv(100))
        a.close(), b.close()


for f in (names, much, vectors, timeouts, signals, options, connecting, copies, sendfile):
    print("--", f.__name__)
    f()
    sys.stdout.flush()
