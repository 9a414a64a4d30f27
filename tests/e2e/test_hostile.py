"""A host that lies in OCALLs: whole Python runs with return values, sizes and structures replaced at
random (host/hostile.h). Each run ends cleanly: the program sees errors as a host could have caused them,
or the library OS refuses or gives up and says why. It never faults itself, the program never gets a
fault that its own code did not make, and nothing outside the block is written (guard pages around it
would kill the host process)."""

import os
import re

import pytest
import processes

SEEDS = int(os.environ.get("HOSTILE_SEEDS", "4"))

PROGRAM = """
import json, os, resource, select, signal, socket, sys, tempfile, threading, time
out = sys.argv[1]
def attempt(what):
    try:
        return what()
    except (OSError, ValueError, MemoryError, EOFError, UnicodeError) as e:
        return repr(e)
def files():
    with open(os.path.join(out, "a.txt"), "w") as f:
        f.write("x" * 5000)
        f.flush()
        os.fsync(f.fileno())
        f.seek(100)
        f.truncate(4000)
    with open(os.path.join(out, "a.txt")) as f:
        return len(f.read())
def names():
    for i in range(5):
        os.mkdir(os.path.join(out, f"d{i}"))
    os.rename(os.path.join(out, "d0"), os.path.join(out, "e0"))
    os.symlink("e0", os.path.join(out, "l"))
    return os.listdir(out), os.readlink(os.path.join(out, "l")), os.stat(out).st_mtime
def clean():
    for name in os.listdir(out):
        path = os.path.join(out, name)
        (os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink)(path)
def threads():
    lock, done = threading.Lock(), []
    def work(n):
        time.sleep(0.001)
        with lock:
            done.append(n)
    all = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for t in all:
        t.start()
    for t in all:
        t.join()
    return sorted(done)
def scratch():
    with tempfile.TemporaryFile() as f:
        f.write(b"y" * 100000)
        f.seek(0)
        return len(f.read())
def waits():
    r, w = os.pipe()
    os.write(w, b"1")
    return select.select([r, 0], [1], [], 0.01)[1], os.isatty(0), os.get_terminal_size()
def timers():
    came = []
    signal.signal(signal.SIGALRM, lambda *a: came.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    end = time.monotonic() + 0.01
    while time.monotonic() < end:
        sum(range(1000))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return len(came) > 0
def streams():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as a, select.epoll() as epoll:
        server.settimeout(0.05)
        a.settimeout(0.05)
        a.connect(server.getsockname())
        b, peer = server.accept()
        with b:
            b.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            epoll.register(b, select.EPOLLIN | select.EPOLLET)
            epoll.register(a, select.EPOLLIN | select.EPOLLONESHOT)
            a.sendmsg([b"x" * 3, b"y" * 5000])
            found = len(epoll.poll(0.05))
            b.settimeout(0.05)
            got = len(b.recv(10000)), b.recvmsg_into([bytearray(2), bytearray(2)], 0, socket.MSG_DONTWAIT)
            return found, got, peer, a.getpeername(), b.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)[:8]
def datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
        b.bind(("127.0.0.1", 0))
        b.settimeout(0.05)
        b.setsockopt(socket.IPPROTO_IP, 8, 1)
        b.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        for i in range(3):
            a.sendto(b"z" * 100, b.getsockname())
        return b.recvmsg(50, 200), b.recvfrom(200), b.recv_into(bytearray(9), 9, socket.MSG_TRUNC)
def interfaces():
    return socket.if_nameindex(), socket.if_nametoindex("lo"), socket.getaddrinfo("127.0.0.1", 80, flags=socket.AI_ADDRCONFIG)
def asks():
    os.kill(os.getpid(), 0)
    return len(os.urandom(64)), os.times().user >= 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
for round in range(3):
    for what in (files, names, clean, threads, scratch, waits, timers, streams, datagrams, interfaces, asks):
        print(json.dumps(attempt(what), default=str), flush=True)
    attempt(clean)
"""

# 1 and 120: Python's own, after an error that the host made. 128 + n: a signal that the host said came.
ENDS = {0, 1, 3, 4, 120, 134} | {128 + n for n in (1, 2, 10, 12, 14, 15)}
# Vector 6 is the library OS's own `ud2`: a thread that the host entered where none was started.
FAULTS = re.compile(r"library OS fault: vector (?!6 )|exception stage|\w+\.c:\d+|Segmentation|stack smashing")


@pytest.fixture(scope="module")
def bundle(sgxpy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "out").mkdir()
    (folder / "program.py").write_text(PROGRAM)
    home = {**os.environ, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    for arguments in (
            ["trace", "-o", "p.trace", "--", "/usr/bin/python3.11", "program.py", str(folder / "out")],
            ["manifest", "p.trace", "--allow", str(folder / "out"), "-o", "p.json"],
            ["sign", "p.json", "--key", str(sgxpy.key), "-o", "p.sgx"]):
        done = sgxpy(*arguments, cwd=folder, env=home)
        assert done.returncode == 0, done.stderr
    return folder


def run(sgxpy, folder, *options, timeout=10):
    for path in sorted((folder / "out").rglob("*"), reverse=True):
        path.unlink() if path.is_symlink() or path.is_file() else path.rmdir()
    try:
        return sgxpy("run", "--device", "soft", "--quiet", *options, "p.sgx", cwd=folder, timeout=timeout)
    except processes.NoEnd:
        return None  # a host may keep a program from going on: availability is not promised


def test_honest(sgxpy, bundle):
    done = run(sgxpy, bundle, timeout=processes.LIMIT)
    assert done is not None
    assert done.returncode == 0, done.stderr
    assert "[0, 1, 2]" in done.stdout


@pytest.mark.parametrize("how", ["rate=40", "rate=12,spare", "rate=3,spare", "rate=300,spare,scribble",
                                 "rate=200,after=300"])
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_lies(sgxpy, bundle, seed, how):
    done = run(sgxpy, bundle, "--insecure_hostile_host", f"{seed},{how}")
    if done is None:
        return
    assert done.returncode in ENDS, (done.returncode, done.stderr)
    assert not FAULTS.search(done.stderr), done.stderr
