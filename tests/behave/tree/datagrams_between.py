"""Socket pairs that keep the borders of messages, between processes."""
import os
import socket


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


a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
pid = child(lambda: [b.send(b"x" * n) for n in (1, 10, 1000)] and 0)
print([len(a.recv(5000)) for _ in range(3)], ended(pid))
a.close()
b.close()
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
pid = child(lambda: b.send(b"last") and 0, a)
b.close()
print(a.recv(100), a.recv(100), ended(pid))
a.close()
