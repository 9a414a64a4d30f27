"""Reading a file in every way that Python has: the bytes and positions are the same."""
import hashlib
import io
import mmap
import os

NAME = "files_read.py"


def main():
    size = os.stat(NAME).st_size
    with open(NAME, "rb") as f:
        whole = f.read()
        print(len(whole) == size, hashlib.sha256(whole).hexdigest())
        print(f.read(10), f.tell() == size)
        f.seek(-20, io.SEEK_END)
        print(f.read())
        f.seek(5)
        buffer = bytearray(16)
        print(f.readinto(buffer), bytes(buffer))
        print(f.seekable(), f.readable(), f.writable())
        try:
            f.seek(-1)
        except (OSError, ValueError) as e:
            print(type(e).__name__)
    with open(NAME, encoding="utf-8") as f:
        print(sum(1 for _ in f), "lines")
    fd = os.open(NAME, os.O_RDONLY)
    print(os.pread(fd, 8, 3) == whole[3:11], os.lseek(fd, 0, os.SEEK_CUR))
    print(os.pread(fd, 100, size), os.pread(fd, 100, size + 5000))
    print(os.read(fd, 1 << 20) == whole, os.read(fd, 1))
    print(os.lseek(fd, 1 << 40, os.SEEK_SET), os.read(fd, 1))
    buffers = [bytearray(4), bytearray(0), bytearray(9)]
    os.lseek(fd, 0, os.SEEK_SET)
    print(os.readv(fd, buffers), [bytes(b) for b in buffers])
    print(os.preadv(fd, buffers[:1], 40), bytes(buffers[0]))
    try:
        os.write(fd, b"x")
    except OSError as e:
        print("write", e.strerror)
    try:
        os.ftruncate(fd, 0)
    except OSError as e:
        print("ftruncate", e.strerror)
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
        print(m[:] == whole, m.find(b"mmap"), len(m) == size)
    with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as m:
        m[0:3] = b"xyz"
        print(m[0:3], os.pread(fd, 3, 0))
    os.close(fd)
    try:
        os.read(fd, 1)
    except OSError as e:
        print("closed", e.strerror)


main()
