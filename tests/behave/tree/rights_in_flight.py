"""Descriptors over sockets (SCM_RIGHTS) between processes: on their way while the socket itself goes to another process,
and files of every kind: trusted, scratch, directories, pipes, sockets, pidfds."""
import array
import os
import socket
import tempfile


def send(sock, data, *fds):
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def receive(sock, size=100):
    data, ancillary, flags, _ = sock.recvmsg(size, socket.CMSG_SPACE(4 * 8))
    fds = array.array("i")
    for _, _, more in ancillary:
        fds.frombytes(more[:len(more) - len(more) % 4])
    return data, list(fds)


def child(what, *keep):
    pid = os.fork()
    if pid == 0:
        try:
            what()
            os._exit(0)
        except BaseException as e:
            os.write(2, repr(e).encode())
            os._exit(1)
    return pid


HERE = os.path.abspath(__file__)
TEXT = open(HERE, "rb").read()


def in_flight(kind):
    """In a process of its own, whose sockets are its own until it forks."""
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    r, w = os.pipe()
    trusted = os.open(HERE, os.O_RDONLY)
    os.read(trusted, 10)
    a.send(b"plain")
    send(a, b"pipe", w)
    send(a, b"two", trusted, a.fileno())
    a.send(b"after")
    os.close(w)

    def other():
        data, fds = b.recv(5), None
        got = receive(b)
        os.write(got[1][0], b"from the other")
        os.close(got[1][0])
        data2, (file, same) = receive(b)
        print(b.recv(100), flush=True)
        first = os.read(file, 20) == TEXT[10:30]
        socket.socket(fileno=same).send(b"%s %s %s %d" % (data, got[0], data2, first))

    print(kind.name, os.waitpid(child(other), 0)[1], flush=True)
    print(b.recv(100), os.read(r, 100), os.read(r, 100), os.read(trusted, 20) == TEXT[30:50], flush=True)


for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    print(os.waitpid(child(lambda: in_flight(kind)), 0)[1])

# From a child to its parent, and from one child to another.
folder = tempfile.mkdtemp()
os.chdir(folder)
with open("scratch", "w") as f:
    f.write("scratch content")
up, down = socket.socketpair()


def sender():
    fds = [os.open(HERE, os.O_RDONLY), os.open("scratch", os.O_RDWR), os.open(".", os.O_RDONLY | os.O_DIRECTORY),
           os.open("/dev/null", os.O_WRONLY), os.open("/dev/zero", os.O_RDONLY), os.pidfd_open(os.getppid())]
    os.lseek(fds[0], 3, os.SEEK_SET)
    send(down, b"all", *fds)


def check(fds):
    file, scratch, folder_fd, null, zero, pidfd = fds
    print(os.read(file, 10) == TEXT[3:13], os.fstat(file).st_size == len(TEXT), os.read(scratch, 30), os.listdir(folder_fd),
          os.write(null, b"x"), os.read(zero, 3), flush=True)
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        print("a pidfd", flush=True)
    for fd in fds:
        os.close(fd)


pid = child(sender)
print(os.waitpid(pid, 0)[1])
data, fds = receive(up)
print(data, len(fds), flush=True)
check(fds)
pid = child(sender)
os.waitpid(pid, 0)
print(os.waitpid(child(lambda: check(receive(up)[1])), 0)[1])
os.unlink("scratch")
os.chdir("/")
os.rmdir(folder)
