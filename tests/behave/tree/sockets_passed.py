"""Sockets of the network and standard streams over AF_UNIX sockets (SCM_RIGHTS): from parent to child, back, between
children, while the sender has gone; and what multiprocessing makes of it."""
import array
import errno
import multiprocessing
import os
import select
import socket
import struct
import sys
from multiprocessing import reduction


def send(sock, data, *fds):
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def receive(sock, size=100):
    data, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_SPACE(4 * 16))
    fds = array.array("i")
    for _, _, more in ancillary:
        fds.frombytes(more[:len(more) - len(more) % 4])
    return data, list(fds)


def child(work, *args):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work(*args)
            code = 0
        except BaseException as e:
            os.write(2, repr(e).encode())
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid


def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def connection(family=socket.AF_INET):
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family) as server:
        a = socket.create_connection(server.getsockname()[:2])
        return a, server.accept()[0]


def to_child():
    """The child has it from after the fork; the peer sees the end when both have closed it."""
    up, down = socket.socketpair()

    def work():
        up.close()
        data, (fd,) = receive(down)
        s = socket.socket(fileno=fd)
        print(data, s.family.name, s.type.name, s.getpeername() == tuple(names), s.getsockopt(6, 1), s.gettimeout())
        print(s.recv(100))
        s.sendall(b"from the child")
        down.send(b"done")
        down.recv(1)
    names = []

    r, w = os.pipe()
    pid = child(lambda: (names.extend(eval(os.read(r, 100))), work()))
    a, b = connection()
    a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    os.write(w, repr(b.getsockname()).encode())
    send(up, b"here", a.fileno())
    b.sendall(b"to whoever has it")
    print(b.recv(100), up.recv(100))
    a.close()
    b.setblocking(False)
    try:
        b.recv(1)
    except BlockingIOError:
        print("still open")
    b.setblocking(True)
    up.send(b"x")
    print(b.recv(1), status(pid))
    for x in (b, up, down):
        x.close()
    os.close(r), os.close(w)


def to_parent():
    """A listening socket, a bound datagram socket and a connected one from a child that has ended."""
    up, down = socket.socketpair()

    def work():
        server = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        a, b = connection()
        b.sendall(b"was sent before")
        send(down, b"three", server.fileno(), udp.fileno(), a.fileno())
    print(status(child(work)))
    data, fds = receive(up)
    server, udp, a = (socket.socket(fileno=fd) for fd in fds)
    print(data, server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), udp.type.name, a.recv(100), a.recv(1))
    with socket.create_connection(server.getsockname()) as c:
        s, _ = server.accept()
        s.sendall(b"accepted")
        s.close()
        print(c.recv(100))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
        c.sendto(b"question", udp.getsockname())
        data, peer = udp.recvfrom(100)
        print(data, peer == ("127.0.0.1", c.getsockname()[1]), udp.sendto(b"answer", peer), c.recv(100))
    for x in (server, udp, a, up, down):
        x.close()


def between_children():
    up, down = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    a, b = connection()

    def first():
        x, y = connection()
        x.setblocking(False)
        send(down, b"own", x.fileno(), y.fileno())
        send(down, b"inherited", a.fileno())

    def second():
        data, (x, y) = receive(up)
        x, y = socket.socket(fileno=x), socket.socket(fileno=y)
        print(data, os.get_blocking(x.fileno()), os.get_blocking(y.fileno()))
        poll = select.epoll()
        poll.register(x, select.EPOLLIN)
        print(poll.poll(0))
        y.sendall(b"over it")
        print([e for _, e in poll.poll(10)], x.recv(100))
        y.close()
        print(select.select([x], [], [], 10)[0] == [x], x.recv(1))
        data, (z,) = receive(up)
        z = socket.socket(fileno=z)
        print(data, z.recv(100))
        z.shutdown(socket.SHUT_WR)
    print(status(child(first)))
    b.sendall(b"to the second")
    print(status(child(second)))
    print(b.recv(1))
    for x in (a, b, up, down):
        x.close()


def dropped():
    """What nobody received is closed with the socket that it is in, and when a process is killed."""
    for received in (False, True):
        up, down = socket.socketpair()
        a, b = connection()

        def work():
            b.close()
            send(down, b"x", a.fileno())
            if received:
                receive(up)
                os.kill(os.getpid(), 9)
        pid = child(work)
        a.close()
        print(status(pid))
        up.close(), down.close()
        print(b.recv(1))
        b.close()


def many():
    """Several in one message, some twice, with what is no socket of the network among them."""
    up, down = socket.socketpair()
    r, w = os.pipe()

    def work():
        pairs = [connection() for _ in range(4)]
        for i, (x, _) in enumerate(pairs):
            x.sendall(b"%d" % i)
        send(down, b"many", pairs[0][1].fileno(), w, pairs[1][1].fileno(), pairs[1][1].fileno(), pairs[2][0].fileno(),
             pairs[2][1].fileno(), pairs[3][1].fileno())
    print(status(child(work)))
    data, fds = receive(up)
    os.write(fds.pop(1), b"the pipe")
    s = [socket.socket(fileno=fd) for fd in fds]
    print(data, len(fds), os.read(r, 100), s[0].recv(10), s[2].recv(10), s[1].recv(10), s[4].recv(10), s[5].recv(10))
    for x in (*s, up, down):
        x.close()
    os.close(r), os.close(w)


def ipv6():
    if not socket.has_dualstack_ipv6():
        return
    up, down = socket.socketpair()
    a, b = connection(socket.AF_INET6)

    def work():
        s = socket.socket(fileno=receive(down)[1][0])
        s.sendall(s.family.name.encode())
    pid = child(work)
    send(up, b"x", a.fileno())
    print(b.recv(100), status(pid))
    for x in (a, b, up, down):
        x.close()


def refused(f, *args):
    try:
        return f(*args)
    except OSError as e:
        return type(e).__name__


def nonblocking():
    """O_NONBLOCK belongs to the open file: what one process sets, the others have."""
    up, down = socket.socketpair()
    server = socket.create_server(("127.0.0.1", 0))
    a, b = connection()
    c, d = connection()

    def work():
        other = socket.socket(fileno=receive(down)[1][0])
        for s in (server, a, other):
            os.set_blocking(s.fileno(), False)
        down.send(b"set")
        down.recv(1)
        print([os.get_blocking(s.fileno()) for s in (server, a, other)])
        sys.stdout.flush()
        down.send(b"blocks")
        print(a.recv(10), other.recv(10), server.accept()[0].recv(10))
        server.setblocking(False)
    pid = child(work)
    send(up, b"x", c.fileno())
    print(up.recv(10), [os.get_blocking(s.fileno()) for s in (server, a, c)])
    # The objects of this process know nothing of it.
    print([s.gettimeout() for s in (server, a, c)], refused(server.accept), refused(a.recv, 1), refused(c.recv, 1),
          refused(os.read, a.fileno(), 1))
    while isinstance(n := refused(c.send, bytes(1 << 16)), int):
        pass
    print(n)
    os.set_blocking(a.fileno(), True)
    os.set_blocking(c.fileno(), True)
    os.set_blocking(server.fileno(), True)
    up.send(b"x")
    print(up.recv(10))
    b.sendall(b"late")
    d.sendall(b"later")
    with socket.create_connection(server.getsockname()) as e:
        e.sendall(b"latest")
        print(status(pid), os.get_blocking(server.fileno()), refused(server.accept))
    # A connection under way.
    with socket.socket() as s:
        s.setblocking(False)
        pid = child(lambda: None)
        print(status(pid), s.connect_ex(server.getsockname()) in (0, errno.EINPROGRESS))
        select.select([], [s], [], 10)
        print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getpeername() == server.getsockname())
    for x in (a, b, c, d, up, down, server):
        x.close()


def timeouts():
    """SO_RCVTIMEO and SO_SNDTIMEO belong to the socket."""
    up, down = socket.socketpair()
    a, b = connection()
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 7, 0))

    def both(s):
        return [struct.unpack("ll", s.getsockopt(socket.SOL_SOCKET, name, 16))
                for name in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)]

    def work():
        print(both(a))
        a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 3, 0))
        down.send(b"set")
        down.recv(1)
        print(refused(a.recv, 1))
    pid = child(work)
    print(up.recv(10), both(a))
    a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 40000))
    print(refused(a.recv, 1))
    up.send(b"x")
    print(status(pid))
    a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
    b.sendall(b"no limit any more")
    print(a.recv(100), both(a))
    for x in (a, b, up, down):
        x.close()


def streams():
    """Standard output, to a child that has none, and back."""
    up, down = socket.socketpair()

    def work():
        null = os.open("/dev/null", os.O_WRONLY)
        os.dup2(null, 1)
        data, (fd,) = receive(down)
        os.write(fd, b"over the parent's output: %s\n" % data)
        send(down, b"back", fd)
        down.recv(1)
    pid = child(work)
    send(up, b"out", 1)
    data, (fd,) = receive(up)
    os.write(fd, b"and %s\n" % data)
    up.send(b"x")
    print(status(pid))
    for x in (up, down):
        x.close()
    os.close(fd)


def linger():
    """Closed by a reset, which another process had asked for."""
    up, down = socket.socketpair()
    a, b = connection()

    def work():
        a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        send(down, b"x", a.fileno())
    pid = child(work)
    a.close()
    print(status(pid))
    s = socket.socket(fileno=receive(up)[1][0])
    print(struct.unpack("ii", s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)))
    s.close()
    try:
        b.recv(1)
    except ConnectionResetError:
        print("reset")
    for x in (b, up, down):
        x.close()


def handed(queue, sock):
    sock.sendall(b"given as an argument")
    queue.get().sendall(b"out of a queue")


def through_multiprocessing():
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        a, b = connection()
        c, d = connection()
        queue = context.Queue()
        process = context.Process(target=handed, args=(queue, a))
        process.start()
        print(b.recv(100))
        queue.put(c)
        print(d.recv(100))
        process.join()
        print(method, process.exitcode)
        queue.close()
        queue.join_thread()
        for x in (a, b, c, d):
            x.close()
    one, two = multiprocessing.Pipe()
    a, b = connection()
    pid = child(lambda: socket.socket(fileno=reduction.recv_handle(two)).sendall(b"send_handle"))
    reduction.send_handle(one, a.fileno(), pid)
    print(b.recv(100), status(pid))


if __name__ == "__main__":
    for f in (to_child, to_parent, between_children, dropped, many, ipv6, nonblocking, timeouts, streams, linger, through_multiprocessing):
        print("--", f.__name__)
        f()
        sys.stdout.flush()
