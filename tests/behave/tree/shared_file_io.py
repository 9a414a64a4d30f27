"""read and write of a file that several processes have mapped: each sees the stores of the others, in both
directions, in the same order as with one page for all."""

import mmap
import os
import subprocess
import sys
import tempfile

PAGES = 20
SIZE = PAGES * mmap.PAGESIZE

# Stores through its mapping when told, says what it sees there, and what read says.
CHILD = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
view = mmap.mmap(fd, 0)
me = sys.argv[2].encode()
for line in sys.stdin:
    what, at, *text = line.split()
    at = int(at)
    if what == "store":
        view[at:at + len(text[0])] = text[0].encode()
        print("stored", flush=True)
    elif what == "load":
        print(view[at:at + 8], flush=True)
    elif what == "read":
        print(os.pread(fd, 8, at), flush=True)
    elif what == "sum":
        print(sum(os.pread(fd, len(view), 0)), flush=True)
    elif what == "fill":
        for page in range(0, len(view), mmap.PAGESIZE):
            view[page + at] = me[0]
        print("filled", flush=True)
    elif what == "write":
        os.pwrite(fd, text[0].encode(), at)
        print("written", flush=True)
"""


class Other:
    def __init__(self, path, name):
        self.process = subprocess.Popen([sys.executable, "-c", CHILD, path, name], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        return self.process.wait()


def without_a_mapping(path):
    a, b = Other(path, "a"), Other(path, "b")
    with open(path, "r+b", buffering=0) as file:
        print(a("store", 0, "from-a-0"), b("store", 8, "from-b-8"))
        print("read here:", os.pread(file.fileno(), 16, 0))
        os.pwrite(file.fileno(), b"written!", 4)
        print("write here:", a("load", 0), b("load", 8))
        print(a("fill", 100), "then read by b:", b("sum", 0), "and here:", sum(file.read()))
        print(b("fill", 101), "then read by a:", a("sum", 0))
        print(a("store", 5000, "5000"), b("write", 5002, "zz"), a("load", 5000), b("read", 5000))
        for n in range(50):  # one page, back and forth
            a("store", 8192, f"{n:08}")
            seen = os.pread(file.fileno(), 8, 8192)
            os.pwrite(file.fileno(), seen[::-1], 8192)
            if b("load", 8192) != str(f"{n:08}"[::-1].encode()):
                print("lost at", n)
        print("fifty times")
    print("ended", a.end(), b.end())


def with_a_mapping(path):
    a = Other(path, "c")
    with open(path, "r+b", buffering=0) as file:
        view = mmap.mmap(file.fileno(), 0)
        view[0:8] = b"by-root!"
        print("a reads", a("read", 0), "loads", a("load", 0))
        print(a("write", 2, "AA"), view[0:8], os.pread(file.fileno(), 8, 0))
        pid = os.fork()
        if pid == 0:
            view[40:48] = b"by-child"
            print("child reads", os.pread(file.fileno(), 8, 0), os.pread(file.fileno(), 8, 40), flush=True)
            os.pwrite(file.fileno(), b"CC", 44)
            print("child loads", view[40:48], flush=True)
            os._exit(0)
        print(os.waitpid(pid, 0)[1], view[40:48], os.pread(file.fileno(), 8, 40), a("load", 40))
        with open(path, "ab", buffering=0) as end:
            end.write(b"appended")
        print(os.path.getsize(path) - SIZE, a("store", 8, "late"), file.read(16))
        view.close()
    print("ended", a.end())


with tempfile.TemporaryDirectory() as folder:
    name = os.path.join(folder, "shared")
    with open(name, "wb") as f:
        f.truncate(SIZE)
    without_a_mapping(name)
    with_a_mapping(name)
