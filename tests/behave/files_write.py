"""A file written, read back, appended to, cut, renamed, linked and removed, below /tmp."""
import os
import shutil
import stat
import tempfile

with tempfile.TemporaryDirectory() as folder:
    a, b = os.path.join(folder, "a"), os.path.join(folder, "b")
    with open(a, "w") as f:
        print(f.write("one\ntwo\n"), f.tell())
    with open(a, "a") as f:
        f.write("three\n")
    with open(a, "r+") as f:
        f.seek(4)
        f.write("TWO")
        f.seek(0)
        print(f.read().split())
    print(os.stat(a).st_size, stat.filemode(os.stat(a).st_mode))
    os.truncate(a, 6)
    print(open(a).read().encode())
    os.truncate(a, 20)
    print(open(a, "rb").read())
    os.rename(a, b)
    print(os.path.exists(a), os.path.exists(b))
    os.link(b, a)
    print(os.stat(a).st_nlink, os.path.samefile(a, b))
    os.unlink(b)
    print(os.stat(a).st_nlink)
    os.symlink("a", b)
    print(os.readlink(b), os.path.islink(b), open(b).read(3))
    os.chmod(a, 0o640)
    print(oct(os.stat(a).st_mode))
    os.utime(a, ns=(1_000_000_000, 2_000_000_123))
    print(os.stat(a).st_mtime_ns, os.stat(a).st_atime_ns)
    os.makedirs(os.path.join(folder, "x/y/z"))
    print(sorted(os.listdir(folder)))
    try:
        os.rmdir(os.path.join(folder, "x"))
    except OSError as e:
        print(e.strerror)
    try:
        os.open(a, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError as e:
        print(e.strerror)
    try:
        os.mkdir(os.path.join(folder, "x"))
    except FileExistsError as e:
        print(e.strerror)
    shutil.copytree(os.path.join(folder, "x"), os.path.join(folder, "copy"))
    print([sorted(d) for _, d, _ in os.walk(os.path.join(folder, "copy"))])
    shutil.rmtree(os.path.join(folder, "x"))
    # Holes, sparse writes, positions after O_APPEND.
    fd = os.open(os.path.join(folder, "hole"), os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"end", 100_000)
    print(os.fstat(fd).st_size, os.pread(fd, 3, 50_000), os.pread(fd, 9, 99_998))
    print(os.lseek(fd, 0, os.SEEK_END), os.writev(fd, [b"a", b"bc"]), os.fstat(fd).st_size)
    os.posix_fallocate(fd, 0, 200_000)
    print(os.fstat(fd).st_size)
    os.unlink(os.path.join(folder, "hole"))
    os.pwrite(fd, b"still", 0)
    print(os.pread(fd, 5, 0), os.fstat(fd).st_nlink)
    os.close(fd)
print(os.path.exists(folder))
