"""Socket pairs inside one process."""
# behave: options --threads 4
import select
import socket
import threading

a, b = socket.socketpair()
a.sendall(b"hello")
print(b.recv(100), select.select([b], [a], [], 0) == ([], [a], []))
b.setblocking(False)
try:
    b.recv(1)
except BlockingIOError:
    print("nothing there")
b.setblocking(True)
b.settimeout(0.02)
try:
    b.recv(1)
except TimeoutError:
    print("timeout")
b.settimeout(None)
threading.Timer(0.02, a.sendall, [b"late"]).start()
print(b.recv(100))
a.shutdown(socket.SHUT_WR)
print(b.recv(1), b.send(b"other way"), a.recv(100))
b.close()
print(a.recv(1))
try:
    a.send(b"x")
except (BrokenPipeError, ConnectionResetError) as e:
    print(type(e).__name__)
c, d = socket.socketpair()
print(c.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM, c.family == socket.AF_UNIX)
