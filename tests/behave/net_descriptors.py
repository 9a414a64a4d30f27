"""A connection that comes when there is no descriptor left waits: it is neither lost nor reset."""
import errno
import os
import resource
import select
import socket

resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname(), 10)
held = []


def fill():
    try:
        while True:
            held.append(os.dup(0))
    except OSError as e:
        return errno.errorcode[e.errno]


print(fill())
poll = select.poll()
poll.register(listener, select.POLLIN)
for _ in range(3):
    print(poll.poll(10000)[0][1])
    try:
        listener.accept()
    except OSError as e:
        print(errno.errorcode[e.errno])
for make in (socket.socket, select.epoll, socket.socketpair, os.pipe, socket.if_nameindex):
    try:
        make()
    except OSError as e:
        print(errno.errorcode[e.errno])
os.close(held.pop())
server, _ = listener.accept()
print("accepted", fill())
client.sendall(b"hello")
print(server.recv(5, socket.MSG_WAITALL))
server.close()
print(client.recv(5))
listener.setblocking(False)
os.close(held.pop())
try:
    listener.accept()
except OSError as e:
    print(errno.errorcode[e.errno])
print(os.dup(0) in held, fill())
