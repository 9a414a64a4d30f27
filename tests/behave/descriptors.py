"""Descriptors: dup, dup2, dup3, shared offsets, flags, close-on-exec, close_range, the lowest free number."""
import errno
import fcntl
import os

a = os.open("descriptors.py", os.O_RDONLY)
b = os.dup(a)
print(b == a + 1, os.read(a, 4), os.read(b, 4), os.lseek(a, 0, os.SEEK_CUR))
c = os.open("descriptors.py", os.O_RDONLY)
print(os.read(c, 4), c == b + 1)
print(os.dup2(a, 50), os.read(50, 3), os.get_inheritable(50), os.get_inheritable(a))
print(os.dup2(a, 50, inheritable=False), os.get_inheritable(50))
print(fcntl.fcntl(a, fcntl.F_DUPFD, 60), fcntl.fcntl(a, fcntl.F_DUPFD_CLOEXEC, 60))
print(fcntl.fcntl(61, fcntl.F_GETFD), fcntl.fcntl(60, fcntl.F_GETFD))
print(fcntl.fcntl(a, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY)
os.close(a)
print(os.open("/dev/null", os.O_RDONLY) == a, os.read(b, 2))
os.closerange(b, 100)
for fd in (b, 50, 61, -1, 10**6):
    try:
        os.fstat(fd)
    except OSError as e:
        print(fd == b or fd, errno.errorcode[e.errno])
try:
    os.dup2(0, 10**9)
except OSError as e:
    print(errno.errorcode[e.errno])
r, w = os.pipe()
for fd, whence in ((r, os.SEEK_SET),):
    try:
        os.lseek(fd, 0, whence)
    except OSError as e:
        print(e.strerror)
print(os.fstat(r).st_mode >> 12, os.isatty(r))
null = os.open("/dev/null", os.O_RDWR)
print(fcntl.fcntl(null, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR)
fcntl.fcntl(null, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
print(fcntl.fcntl(null, fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_APPEND) == os.O_NONBLOCK | os.O_APPEND)
