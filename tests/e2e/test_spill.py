"""Scratch files larger than the enclave's memory: sealed in one file at the host, which has no name, shows nothing of
them and cannot be changed unnoticed."""

import contextlib
import os
import pathlib
import signal

import pytest
from processes import LIMIT, Background

PYTHON = "/usr/bin/python3"
MIB = 1 << 20
SIZE = 200  # MiB of scratch with 64 MiB of heap
MARKER = b"MARKER OF THE SECRET"

# What it does is the host's word, so that the traced run is a short one.
PROGRAM = """
import mmap, os, random, sys, tempfile
MIB = 1 << 20
MARKER = b"MARKER OF THE SECRET"
def block(version, i):  # 4 KiB
    return (b"%08d%08d" % (version, i) + MARKER).ljust(64, b"-") * 64
file = tempfile.TemporaryFile(buffering=0)
fd = file.fileno()
size = version = 0
def check(i):
    assert os.pread(fd, 4096, i * 4096) == block(versions[i], i), i
def write(mib):
    global version, versions
    version += 1
    versions = [version] * (mib * 256)
    for i in range(mib):
        data = b"".join(block(version, b) for b in range(i * 256, i * 256 + 256))
        assert os.pwrite(fd, data, i * MIB) == MIB
def read():
    for i in range(len(versions)):
        check(i)
def at_random(count):
    some = random.Random(1)
    for step in range(count):
        i = some.randrange(len(versions))
        check(i)
        if step % 2:
            versions[i] = 1000 + step
            assert os.pwrite(fd, block(versions[i], i), i * 4096) == 4096
def mapped():
    with mmap.mmap(fd, MIB, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=MIB) as m:
        for i in range(0, 256, 7):
            assert m[i * 4096:i * 4096 + 4096] == block(versions[256 + i], 256 + i)
            versions[256 + i] += 1
            m[i * 4096:i * 4096 + 4096] = block(versions[256 + i], 256 + i)
def shorter():
    pages = len(versions) // 2 + 3
    os.ftruncate(fd, pages * 4096)
    os.ftruncate(fd, pages * 4096 + MIB)
    del versions[pages:]
    assert os.pread(fd, MIB, pages * 4096) == bytes(MIB)
def forked():  # the child asks the parent's enclave for all of it
    pid = os.fork()
    for i in range(0, len(versions), 97):
        if not pid:
            check(i)
        versions[i] += 5000
        if not pid:
            assert os.pwrite(fd, block(versions[i], i), i * 4096) == 4096
    if not pid:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
for line in sys.stdin:
    what, *words = line.split()
    try:
        globals()[what](*map(int, words))
        print(what, "ok", flush=True)
    except OSError as e:
        print(what, "error", e.errno, flush=True)
"""


class Bundle:
    def __init__(self, folder, sgxpy):
        self.folder, self.sgxpy = folder, sgxpy
        self.spill = folder / "spill"
        self.spill.mkdir()
        (folder / "program.py").write_text(PROGRAM)
        short = "write 4\nread\nat_random 20\nmapped\nforked\nread\nshorter\n"
        for arguments in (["trace", "-o", "p.trace", "--", PYTHON, "program.py"],
                          ["manifest", "--heap", "64M", "p.trace", "-o", "p.json"],
                          ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
            done = sgxpy(*arguments, cwd=folder, input=short)
            assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def running(self, *command):
        with Background(command or [self.sgxpy.path, "run", "--device", "soft", "--quiet", "p.sgx"], self.folder,
                        merged=False, env={**os.environ, "TMPDIR": str(self.spill)}) as process:
            yield process


@pytest.fixture(scope="module")
def bundle(sgxpy, tmp_path_factory):
    return Bundle(tmp_path_factory.mktemp("spill").resolve(), sgxpy)


def do(process, line):
    process.write(line + "\n")
    return process.line(limit=LIMIT).strip()


def host_file(process, folder):
    """The file without a name that the host process has open in folder."""
    found = []
    for fd in pathlib.Path(f"/proc/{process.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            if os.readlink(fd).startswith(f"{folder}/"):
                found.append(fd)
    assert len(found) == 1, found
    return found[0]


def holds(path, what):
    with open(path, "rb") as file:
        tail = b""
        while piece := file.read(MIB):
            if what in tail + piece:
                return True
            tail = piece[-len(what):]
    return False


def test_larger_than_memory(bundle):
    with bundle.running() as process:
        assert do(process, f"write {SIZE}") == "write ok"
        path = host_file(process, bundle.spill)
        st = path.stat()
        assert st.st_nlink == 0 and st.st_mode & 0o777 == 0o600
        assert st.st_size > (SIZE - 64) * MIB
        assert not list(bundle.spill.iterdir())
        assert not holds(path, MARKER) and not holds(path, b"-" * 32)
        for line in ("read", "at_random 5000", "mapped", "forked", "read"):
            assert do(process, line) == line.split()[0] + " ok"
        assert not holds(path, MARKER)
        full = path.stat().st_blocks
        assert do(process, "shorter") == "shorter ok"
        assert path.stat().st_blocks < full * 0.7  # what is cut off makes room at the host
        assert do(process, "read") == "read ok"
        process.signal(signal.SIGKILL)
        process.wait()
        assert not list(bundle.spill.iterdir())


def test_natively_it_would_show(bundle):
    """The search finds what it looks for."""
    with bundle.running(PYTHON, "program.py") as process:
        assert do(process, "write 16") == "write ok"
        assert holds(host_file(process, bundle.spill), MARKER)


def test_the_host_flips_bits(bundle):
    with bundle.running() as process:
        assert do(process, f"write {SIZE}") == "write ok"
        with open(host_file(process, bundle.spill), "r+b") as file:
            for at in range(1000, os.fstat(file.fileno()).st_size, 65536):
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1]))
        assert do(process, "read") == "read error 5"
        assert do(process, "read") == "read error 5"
        process.close_input()
        process.wait()
        assert process.error_output.count("was changed or is an older version") == 1, process.error_output


def test_the_host_serves_an_older_version(bundle):
    with bundle.running() as process:
        assert do(process, f"write {SIZE}") == "write ok"
        path = host_file(process, bundle.spill)
        older = path.read_bytes()
        assert do(process, f"write {SIZE}") == "write ok"
        newer = path.read_bytes()
        assert newer[:65536] != older[:65536]
        with open(path, "r+b") as file:
            file.write(older)
        assert do(process, "read") == "read error 5"
        with open(path, "r+b") as file:
            file.write(newer)
        assert do(process, "read") == "read ok"
