"""UDP over loopback: addresses, ancillary data, truncation, several messages, errors, IPv6."""
import ctypes
import errno
import os
import select
import socket
import struct
import sys


def error(call, *args):
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode.get(e.errno, e)


def pair(family=socket.AF_INET, any_address=False):
    host = ("::" if any_address else "::1") if family == socket.AF_INET6 else "0.0.0.0" if any_address else "127.0.0.1"
    a, b = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    for s in (a, b):
        s.bind((host, 0))
        s.settimeout(60)
    return a, b


def plain():
    for family in (socket.AF_INET, socket.AF_INET6):
        a, b = pair(family)
        for n in (0, 1, 7, 8, 9, 1472, 9000, 65000):
            a.sendto(b"x" * n, b.getsockname())
            data, address = b.recvfrom(70000)
            print(n, len(data), address == a.getsockname(), end=" ")
        print()
        print(error(a.sendto, b"x" * 70000, b.getsockname()), error(a.send, b"x"), error(a.sendto, b"x", ("127.0.0.1", 0))
              if family == socket.AF_INET else "")
        a.connect(b.getsockname())
        print(a.send(b"connected"), b.recv(100), a.getpeername() == b.getsockname())
        a.close(), b.close()


def truncated():
    a, b = pair()
    to = b.getsockname()
    a.sendto(b"0123456789", to)
    print(b.recv(4))
    a.sendto(b"0123456789", to)
    print(b.recv(20, socket.MSG_PEEK))
    buf = bytearray(4)
    print(b.recv_into(buf, 4, socket.MSG_TRUNC), buf)
    a.sendto(b"0123456789", to)
    print([x if not isinstance(x, tuple) else "address" for x in b.recvmsg(4)])
    a.sendto(b"0123456789", to)
    parts = [bytearray(3), bytearray(0), bytearray(5)]
    n, _, flags, _ = b.recvmsg_into(parts)
    print(n, flags == socket.MSG_TRUNC, parts)
    print(a.sendmsg([b"ab", b"", b"cdefghijk"], [], 0, to), b.recv(100))
    print(os.writev(a.fileno(), [b"x"]) if error(a.connect, to) is None else "", b.recv(10))
    print(os.writev(a.fileno(), [b"one ", b"datagram"]), os.readv(b.fileno(), parts), parts)
    b.settimeout(None)
    print(error(b.recv, 1, socket.MSG_DONTWAIT))
    a.close(), b.close()


def ancillary():
    a, b = pair(any_address=True)
    IP_PKTINFO, IP_RECVTTL, IP_TTL, IP_RECVTOS, IP_TOS = 8, 12, 2, 13, 1
    b.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    b.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    b.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    b.setsockopt(socket.SOL_SOCKET, 29, 1)
    to = ("127.0.0.1", b.getsockname()[1])
    a.sendmsg([b"x"], [(socket.IPPROTO_IP, IP_TTL, struct.pack("i", 33)), (socket.IPPROTO_IP, IP_TOS, b"\x10")], 0, to)
    data, found, flags, _ = b.recvmsg(10, 1000)
    print(data, flags)
    for level, kind, value in sorted(found):
        if (level, kind) == (socket.SOL_SOCKET, 29):
            print("timestamp", len(value), struct.unpack("ll", value)[0] > 1600000000)
        elif kind == IP_PKTINFO:
            print("pktinfo", len(value), socket.inet_ntoa(value[8:12]))
        else:
            print(level, kind, value)
    a.sendto(b"y", to)
    data, found, flags, _ = b.recvmsg(10, socket.CMSG_SPACE(16) + 8)
    print(data, len(found), flags == socket.MSG_CTRUNC)
    a.sendto(b"z", to)
    data, found, flags, _ = b.recvmsg(10)
    print(data, found, flags == socket.MSG_CTRUNC)
    print(error(a.sendmsg, [b"x"], [(socket.IPPROTO_IP, 4444, b"abcd")], 0, to))
    print(error(a.sendmsg, [b"x"], [(socket.IPPROTO_IP, IP_TTL, b"abc")], 0, to))
    a.close(), b.close()
    a, b = pair(socket.AF_INET6)
    b.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    b.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    b.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    a.sendmsg([b"x"], [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("i", 7)),
                       (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("i", 4))], 0, b.getsockname())
    data, found, flags, _ = b.recvmsg(10, 1000)
    print(data, flags, sorted((level, kind, value[:16] if len(value) == 20 else value) for level, kind, value in found))
    a.close(), b.close()


class Iov(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_size", ctypes.c_uint32), ("iov", ctypes.POINTER(Iov)),
                ("iov_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("pad", ctypes.c_int), ("size", ctypes.c_uint32)]


def several():
    libc = ctypes.CDLL(None, use_errno=True)
    a, b = pair()
    a.connect(b.getsockname())
    texts = [ctypes.create_string_buffer(t, 16) for t in (b"first", b"second", b"third")]
    iovs = [Iov(ctypes.addressof(t), 6) for t in texts]
    messages = (Message * 4)(*[Message(iov=ctypes.pointer(i), iov_count=1) for i in iovs])
    print(libc.sendmmsg(a.fileno(), messages, 3, 0), [m.size for m in messages])
    got = [ctypes.create_string_buffer(16) for _ in range(4)]
    iovs = [Iov(ctypes.addressof(t), 16) for t in got]
    messages = (Message * 4)(*[Message(iov=ctypes.pointer(i), iov_count=1) for i in iovs])
    print(libc.recvmmsg(b.fileno(), messages, 4, socket.MSG_DONTWAIT, None), [m.size for m in messages],
          [t.value for t in got])
    print(libc.recvmmsg(b.fileno(), messages, 4, socket.MSG_DONTWAIT, None), errno.errorcode[ctypes.get_errno()])
    a.close(), b.close()


def refused():
    a, b = pair()
    to = b.getsockname()
    b.close()
    a.connect(to)
    a.send(b"x")
    select.select([a], [], [], 60)
    print(error(a.recv, 10))
    a.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    a.send(b"x")
    p = select.poll()
    p.register(a, 0)
    print([e & select.POLLERR for _, e in p.poll(60000)])
    data, found, flags, _ = a.recvmsg(10, 1000, socket.MSG_ERRQUEUE)
    print(data, flags == socket.MSG_ERRQUEUE, [(level, kind, struct.unpack("I", value[:4])[0]) for level, kind, value in found])
    a.close()


def broadcast():
    a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    print(error(a.sendto, b"x", ("255.255.255.255", 9)))
    b, _ = pair(any_address=True)
    try:
        b.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                     socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1"))
        a.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        a.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        print(a.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL))
        a.sendto(b"to many", ("224.0.0.251", b.getsockname()[1]))
        print(b.recv(100))
    except OSError as e:
        print(e)
    a.close(), b.close()


for f in (plain, truncated, ancillary, several, refused, broadcast):
    print("--", f.__name__)
    f()
    sys.stdout.flush()
