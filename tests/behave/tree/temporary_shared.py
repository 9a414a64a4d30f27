"""/tmp is one file system for the tree: who writes and who reads are different processes."""
import os
import shutil
import stat
import subprocess
import sys
import tempfile


def in_child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return pid


def ended(*pids):
    return [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]


def put(path, content, mode="w"):
    with open(path, mode) as file:
        file.write(content)


def text(path):
    with open(path) as file:
        return file.read()


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    # Written by the child, read by the parent; and the reverse.
    print(ended(in_child(lambda: put("by-child", "child's"))), text("by-child"))
    put("by-parent", "parent's")
    print(ended(in_child(lambda: text("by-parent") != "parent's")))
    sys.stdout.flush()
    subprocess.run("cat by-parent by-child; echo; echo shell > by-shell", shell=True)
    sys.stdout.flush()
    print(text("by-shell"), sorted(os.listdir()))
    print(subprocess.run(["ls", "-1"], stdout=subprocess.PIPE).stdout)
    done = subprocess.run(["sort", "-o", "sorted", "unsorted"], stderr=subprocess.PIPE)
    print(done.returncode, b"unsorted" in done.stderr)
    put("unsorted", "c\nb\na\n")
    subprocess.run(["sort", "-o", "sorted", "unsorted"], check=True)
    print(text("sorted").split())

    # Names, folders, links, modes, times.
    ended(in_child(lambda: os.makedirs("a/b/c")))
    put("a/b/c/deep", "1")
    ended(in_child(lambda: os.rename("a/b/c/deep", "a/b/c/moved")))
    print(os.path.exists("a/b/c/deep"), text("a/b/c/moved"))
    ended(in_child(lambda: os.symlink("a/b", "link")))
    print(os.readlink("link"), text("link/c/moved"))
    ended(in_child(lambda: os.link("a/b/c/moved", "hard")))
    info = os.stat("hard")
    print(info.st_nlink, info.st_ino == os.stat("a/b/c/moved").st_ino)
    ended(in_child(lambda: os.chmod("hard", 0o640)))
    print(stat.filemode(os.stat("a/b/c/moved").st_mode))
    ended(in_child(lambda: os.utime("hard", (1000, 2000))))
    print(os.stat("hard").st_mtime)
    ended(in_child(lambda: os.truncate("hard", 5)))
    print(repr(text("a/b/c/moved")))
    print(ended(in_child(lambda: os.rmdir("a/b"))), sorted(os.listdir("a/b")))
    ended(in_child(lambda: shutil.rmtree("a/b")))
    print(sorted(os.listdir()), os.stat("hard").st_nlink)

    # Open in the parent while the child renames, removes, replaces.
    with open("by-child", "r+") as file:
        ended(in_child(lambda: os.unlink("by-child")))
        print(os.path.exists("by-child"), file.read(), os.fstat(file.fileno()).st_nlink)
    put("current", "old")
    with open("current") as file:
        put("next", "new")
        ended(in_child(lambda: os.replace("next", "current")))
        print(file.read(), text("current"))
    # Both have it open by themselves.
    fd = os.open("both", os.O_RDWR | os.O_CREAT, 0o600)
    print(ended(in_child(lambda: (lambda other: os.pwrite(other, b"xyz", 100))(os.open("both", os.O_WRONLY)) - 3)))
    print(os.fstat(fd).st_size, os.pread(fd, 10, 98), oct(os.fstat(fd).st_mode))
    os.close(fd)
    # Of several who create, one does.
    def create():
        try:
            os.close(os.open("one", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return 17
    print(sorted(ended(*(in_child(create) for _ in range(5)))))

    # Many write at once: to their own files, and to one with O_APPEND.
    def writer(i):
        put(f"own-{i}", f"{i}\n" * 2000)
        fd = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for n in range(50):
            os.write(fd, f"{i} {n}\n".encode())
    print(ended(*(in_child(lambda i=i: writer(i)) for i in range(8))))
    print(all(text(f"own-{i}") == f"{i}\n" * 2000 for i in range(8)))
    lines = [tuple(map(int, line.split())) for line in text("log").splitlines()]
    print(len(lines), all([n for i, n in lines if i == who] == list(range(50)) for who in range(8)))

    # Something larger.
    data = os.urandom(3 << 20)
    put("large", data, "wb")
    done = subprocess.run(["cmp", "large", "-"], input=data)
    print(done.returncode, subprocess.run(["wc", "-c", "large"], stdout=subprocess.PIPE).stdout)
    subprocess.run(["cp", "large", "copy"], check=True)
    with open("copy", "rb") as file:
        print(file.read() == data)
    os.chdir("/")
print(os.path.exists(folder))
name = subprocess.run(["mktemp"], stdout=subprocess.PIPE).stdout.decode().strip()
print(os.stat(name).st_size, oct(os.stat(name).st_mode))
subprocess.run(["rm", name], check=True)
print(os.path.exists(name))
