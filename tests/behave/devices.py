"""/dev/null, zero, full, urandom; os.urandom and getrandom."""
import os
import stat

print(open("/dev/null", "rb").read(), open("/dev/null", "wb").write(b"x" * 1000))
print(open("/dev/zero", "rb").read(8))
fd = os.open("/dev/full", os.O_WRONLY)
try:
    os.write(fd, b"x")
except OSError as e:
    print(e.strerror)
os.close(fd)
a, b = open("/dev/urandom", "rb").read(32), open("/dev/random", "rb").read(32)
print(len(a), a != b, a != bytes(32))
print(len(os.urandom(5000)), os.urandom(16) != os.urandom(16), len(os.getrandom(300)))
for path in ("/dev/null", "/dev/zero", "/dev/urandom"):
    s = os.stat(path)
    print(path, stat.S_ISCHR(s.st_mode), os.major(s.st_rdev), os.minor(s.st_rdev), oct(stat.S_IMODE(s.st_mode)))
print(os.path.exists("/dev/stdout"), os.path.exists("/dev/fd/1"))
