"""Pipes, non-blocking, select, poll, epoll, eventfd; end of file, broken pipe, full pipe."""
# behave: options --threads 6
import errno
import fcntl
import os
import select
import signal
import threading
import time

r, w = os.pipe()
print(os.write(w, b"hello"), os.read(r, 3), os.read(r, 100))
print(select.select([r], [w], [], 0) == ([], [w], []))
os.write(w, b"x")
print(select.select([r], [], [], 1) == ([r], [], []))
os.set_blocking(r, False)
os.read(r, 1)
try:
    os.read(r, 1)
except BlockingIOError as e:
    print(e.errno == errno.EAGAIN)
os.set_blocking(w, False)
size = 0
try:
    while True:
        size += os.write(w, b"y" * 4096)
except BlockingIOError:
    print("full at", size, fcntl.fcntl(w, fcntl.F_GETPIPE_SZ))
poll = select.poll()
poll.register(r, select.POLLIN)
poll.register(w, select.POLLOUT)
print([(fd == r, bits) for fd, bits in poll.poll(0)])
got = 0
try:
    while True:
        got += len(os.read(r, 10000))
except BlockingIOError:
    print(got == size)
os.close(w)
print(os.read(r, 1), [bits for _, bits in [x for x in poll.poll(0) if x[0] == r]])
os.close(r)

r, w = os.pipe()
os.close(r)
try:
    os.write(w, b"x")
except BrokenPipeError as e:
    print(e.strerror)
signal.signal(signal.SIGPIPE, lambda *a: print("SIGPIPE"))
try:
    os.write(w, b"x")
except BrokenPipeError:
    pass
os.close(w)

# A writer in another thread wakes a blocked reader, and the other way round.
r, w = os.pipe()
threading.Thread(target=lambda: (time.sleep(0.02), os.write(w, b"late"))).start()
print(os.read(r, 10))
data = os.urandom(1 << 20)


def pour():
    view = memoryview(data)
    while view:
        view = view[os.write(w, view):]
    os.close(w)


t = threading.Thread(target=pour)
t.start()
received = b""
while block := os.read(r, 50_000):
    received += block
t.join()
print(received == data)
os.close(r)

ep = select.epoll()
pairs = [os.pipe() for _ in range(20)]
for i, (a, b) in enumerate(pairs):
    ep.register(a, select.EPOLLIN | (select.EPOLLET if i % 2 else 0))
print(ep.poll(0))
for i in (3, 4, 9):
    os.write(pairs[i][1], b"!")
numbers = {a: i for i, (a, _) in enumerate(pairs)}
print(sorted((numbers[fd], bits) for fd, bits in ep.poll(60)))
print(sorted((numbers[fd], bits) for fd, bits in ep.poll(0)), "edge-triggered ones told once")
os.close(pairs[4][1])
print(sorted((numbers[fd], bits) for fd, bits in ep.poll(0)))
ep.unregister(pairs[4][0])
ep.modify(pairs[9][0], select.EPOLLIN | select.EPOLLONESHOT)
print(sorted((numbers[fd], bits) for fd, bits in ep.poll(0)), ep.poll(0))
try:
    ep.register(pairs[3][0])
except FileExistsError as e:
    print(e.strerror)
threading.Thread(target=lambda: (time.sleep(0.02), os.write(pairs[11][1], b"!"))).start()
print([(numbers[fd], bits) for fd, bits in ep.poll(60)])
start = time.monotonic()
print(ep.poll(0.03), time.monotonic() - start >= 0.029)
ep.close()

e = os.eventfd(3, os.EFD_NONBLOCK)
os.eventfd_write(e, 4)
print(os.eventfd_read(e), select.select([e], [e], [], 0) == ([], [e], []))
try:
    os.eventfd_read(e)
except BlockingIOError:
    print("empty")
s = os.eventfd(2, os.EFD_SEMAPHORE)
print(os.eventfd_read(s), os.eventfd_read(s))
