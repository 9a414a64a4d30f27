"""One open file description in several processes: offsets, O_APPEND, status flags, dup and reopened."""
# behave: with data.txt
import fcntl
import os
import subprocess
import sys
import tempfile


def in_child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    print("child", os.waitpid(pid, 0)[1])


def position(fd):
    return os.lseek(fd, 0, os.SEEK_CUR)


# A file that is only read.
fd = os.open("data.txt", os.O_RDONLY)
other = os.open("data.txt", os.O_RDONLY)
print(os.read(fd, 6))
in_child(lambda: os.read(fd, 4))
print(position(fd), os.read(fd, 5), position(other))
in_child(lambda: os.lseek(fd, 3, os.SEEK_SET))
print(position(fd), os.pread(fd, 5, 0), position(fd))
in_child(lambda: os.pread(fd, 7, 2))
print(position(fd))
twin = os.dup(fd)
in_child(lambda: os.read(twin, 2))
print(position(fd), position(twin))
in_child(lambda: os.close(fd))
print(os.read(fd, 4))
# An exec'ed program has it too: head takes whole blocks, a shell's read takes bytes.
os.lseek(fd, 0, os.SEEK_SET)
print(subprocess.run(["sh", "-c", "read a; read b; echo $b $a"], stdin=fd, stdout=subprocess.PIPE).stdout)
print(position(fd), os.read(fd, 8))
print(subprocess.run(["cat"], stdin=fd, stdout=subprocess.PIPE).stdout[-6:], position(fd) == os.fstat(fd).st_size)

# A temporary file that both write.
with tempfile.TemporaryFile(buffering=0) as file:
    fd = file.fileno()
    os.write(fd, b"parent ")
    in_child(lambda: os.write(fd, b"child "))
    os.write(fd, b"parent again ")
    subprocess.run(["sh", "-c", "echo program; echo more"], stdout=fd)
    os.write(fd, b"end")
    print(position(fd), os.pread(fd, 100, 0))
    in_child(lambda: os.ftruncate(fd, 6))
    print(os.fstat(fd).st_size, os.lseek(fd, 0, os.SEEK_END))
    print(subprocess.run([sys.executable, "-c", "import os; print(os.lseek(0, 0, 1), os.lseek(0, 2, 0))"],
                         stdin=fd, stdout=subprocess.PIPE).stdout, position(fd))

# O_APPEND: each write goes to the end, whosever offset.
with tempfile.NamedTemporaryFile() as file:
    first = os.open(file.name, os.O_WRONLY | os.O_APPEND)
    second = os.open(file.name, os.O_WRONLY | os.O_APPEND)
    os.write(first, b"1")
    in_child(lambda: [os.write(second, b"2"), os.write(first, b"3")])
    os.write(first, b"4")
    os.write(second, b"7")
    print(file.read(), position(first), position(second))
    # Status flags belong to the description, close-on-exec to the descriptor.
    print(bool(fcntl.fcntl(first, fcntl.F_GETFL) & os.O_APPEND))
    in_child(lambda: fcntl.fcntl(first, fcntl.F_SETFL, 0))
    print(bool(fcntl.fcntl(first, fcntl.F_GETFL) & os.O_APPEND),
          bool(fcntl.fcntl(second, fcntl.F_GETFL) & os.O_APPEND))
    in_child(lambda: os.set_inheritable(first, True))
    print(os.get_inheritable(first))

# An output of the program, which several append to.
with open("out.txt", "wb", buffering=0) as out:
    out.write(b"one\n")
    in_child(lambda: out.write(b"two\n"))
    subprocess.run(["echo", "three"], stdout=out)
    subprocess.run("echo four >> out.txt", shell=True)
    out.seek(0, os.SEEK_END)
    out.write(b"five\n")
print(open("out.txt").read())
