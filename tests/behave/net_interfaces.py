"""Interfaces: names, numbers, scopes, addresses, as natively."""
import ctypes, fcntl, os, socket, struct

names = socket.if_nameindex()
print(names)
for number, name in names:
    assert socket.if_nametoindex(name) == number and socket.if_indextoname(number) == name
for call, arg in ((socket.if_nametoindex, "nosuch0"), (socket.if_indextoname, 0x7fffffff)):
    try:
        call(arg)
    except OSError as e:
        print(call.__name__, e.errno)
print(socket.getaddrinfo("fe80::1%lo", 80, type=socket.SOCK_STREAM))
print(socket.getnameinfo(("fe80::1", 80, 0, socket.if_nametoindex("lo")), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV))
for family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
    try:
        print(socket.getaddrinfo("127.0.0.1" if family != socket.AF_INET6 else "::1", 80, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG))
    except OSError as e:
        print(family, e)

def ifreq(s, request, name, value=b""):
    try:
        return fcntl.ioctl(s, request, struct.pack("16s24s", name, value)).hex()
    except OSError as e:
        return e.errno

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for request in (0x8910, 0x8913, 0x8915, 0x8917, 0x8919, 0x891b, 0x891d, 0x8921, 0x8927, 0x8933, 0x8942):
        for name in (b"lo", b"nosuch0", b"lo:1"):
            print(hex(request), name, ifreq(s, request, name, struct.pack("i", 1)))
    room = ctypes.create_string_buffer(4096)
    conf = fcntl.ioctl(s, 0x8912, struct.pack("iiQ", 4096, 0, ctypes.addressof(room)))
    size = struct.unpack("iiQ", conf)[0]
    print(size, room.raw[:size].hex())
    print(struct.unpack("iiQ", fcntl.ioctl(s, 0x8912, struct.pack("iiQ", 0, 0, 0)))[0])

libc = ctypes.CDLL(None, use_errno=True)

class ifaddrs(ctypes.Structure):
    pass
ifaddrs._fields_ = [("next", ctypes.POINTER(ifaddrs)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
                    ("addr", ctypes.c_void_p), ("mask", ctypes.c_void_p), ("dst", ctypes.c_void_p), ("data", ctypes.c_void_p)]
first = ctypes.POINTER(ifaddrs)()
assert libc.getifaddrs(ctypes.byref(first)) == 0, os.strerror(ctypes.get_errno())
def sa(p):
    if not p: return None
    family = struct.unpack("H", ctypes.string_at(p, 2))[0]
    return ctypes.string_at(p, {2: 16, 10: 28, 17: 20}[family]).hex()
p = first
while p:
    print(p.contents.name, hex(p.contents.flags), sa(p.contents.addr), sa(p.contents.mask), sa(p.contents.dst))
    p = p.contents.next
libc.freeifaddrs(first)

# What a netlink socket says itself.
def ask(type, flags, body=b"\0" * 16, seq=7):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.bind((0, 0))
        assert s.getsockname()[0]
        s.send(struct.pack("IHHII", 16 + len(body), type, flags, seq, 0) + body)
        got = []
        while True:
            n = s.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
            data, anc, mflags, sender = s.recvmsg(65536)
            assert len(data) == n and sender == (0, 0), (n, len(data), sender)
            while data:
                size, kind, fl, sq, pid = struct.unpack("IHHII", data[:16])
                assert sq == seq and (kind == 3 or pid in (s.getsockname()[0], 0)), (sq, pid)
                got.append((kind, fl & 2, struct.unpack("i", data[16:20])[0] if kind in (2, 3) else size > 16))
                data = data[(size + 3) & ~3:]
                if kind in (2, 3) or not fl & 2:
                    return sorted(set(got))
print(ask(18, 0x301), ask(22, 0x301, b"\2" + b"\0" * 7), ask(18, 1, struct.pack("BxHiII", 0, 0, 1, 0, 0)))
print(ask(18, 1, struct.pack("BxHiII", 0, 0, 0x7ffffff0, 0, 0)), ask(18, 1, b"\0"))
print(ask(18, 1, struct.pack("BxHiII", 0, 0, 0, 0, 0) + struct.pack("HH8s", 7, 3, b"lo\0")))
with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0) as s:
    s.setblocking(False)
    for call in (lambda: s.recv(100), lambda: s.listen(1), lambda: s.shutdown(2)):
        try:
            call()
        except OSError as e:
            print(e.errno)
    print(s.getsockname(), s.type, s.family, s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE), s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
try:
    socket.socket(socket.AF_NETLINK, socket.SOCK_STREAM, 0)
except OSError as e:
    print(e.errno)
