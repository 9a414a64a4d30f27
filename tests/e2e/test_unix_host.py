"""AF_UNIX sockets of the host: what the trace connected to is an allowed path, others are refused and named; a server of
the program's own in an allowed folder is one that this machine can connect to."""

import contextlib
import os
import socket
import subprocess
import tempfile
import threading

import pytest
from processes import WAIT, kill_all, start

PYTHON = "/usr/bin/python3.11"

CLIENT = """
import asyncio, errno, os, select, socket, struct, sys
folder, refused = sys.argv[1:3]

def fails(call, *args):
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "fine"

s = socket.socket(socket.AF_UNIX)
ready = select.epoll()
ready.register(s, select.EPOLLIN)  # before it is known to be the host's
s.connect(folder + "/stream")
print(s.getpeername() == folder + "/stream", repr(s.getsockname()))
s.sendall(b"hello")
print(ready.poll(30) == [(s.fileno(), select.EPOLLIN)], s.recv(100))
print(fails(s.connect, folder + "/stream"), fails(s.listen), s.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN))
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
print(d.sendto(b"by name", folder + "/datagrams"), fails(d.sendto, b"x", folder + "/missing"))
d.connect(folder + "/datagrams")
print(d.send(b""), d.send(b"connected"), fails(d.send, bytes(1 << 20)))

async def streams():
    reader, writer = await asyncio.open_unix_connection(folder + "/stream")
    writer.write(b"asyncio")
    print(await reader.read(100))
    writer.close()

asyncio.run(streams())
pid = os.fork()
if pid == 0:
    s.sendall(b"child")
    print(s.recv(100), flush=True)
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
if os.path.exists(refused):
    print(fails(socket.socket(socket.AF_UNIX).connect, refused))
"""

SERVER = """
import os, socket, sys
os.umask(0o027)
path = sys.argv[1]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
print(oct(os.stat(path).st_mode), s.getsockname() == path, flush=True)
for _ in range(2):
    connection, who = s.accept()
    while data := connection.recv(100):
        connection.sendall(data.upper())
os.unlink(path)
"""


def echo(listener):
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=echo_one, args=(connection,), daemon=True).start()


def echo_one(connection):
    with contextlib.suppress(OSError), connection:
        while data := connection.recv(1000):
            connection.sendall(b"got " + data)


@pytest.fixture
def folder():
    """Names of sockets are short, and /tmp would be the enclave's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield name


@pytest.fixture
def servers(folder):
    stream, datagrams = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with stream, datagrams:
        stream.bind(folder + "/stream")
        stream.listen()
        datagrams.bind(folder + "/datagrams")
        threading.Thread(target=echo, args=(stream,), daemon=True).start()
        yield datagrams
        stream.shutdown(socket.SHUT_RDWR)


def received(datagrams):
    datagrams.settimeout(WAIT)
    return [datagrams.recv(100) for _ in range(3)]


def test_traced(sgxpy, folder, servers, tmp_path):
    program = tmp_path / "client.py"
    program.write_text(CLIENT)
    run = sgxpy("run", "--", PYTHON, program, folder, folder + "/other", cwd=tmp_path)
    native, inside = received(servers), received(servers)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert "\n".join(lines) in run.stderr and len(lines) > 8  # where the native run's output is
    assert native == inside == [b"by name", b"", b"connected"]
    assert f"unprotected: '{folder}/stream' is left to the host" in run.stderr
    # One that no trace had: the kept manifest does not know it.
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(folder + "/other")
        other.listen()
        run = sgxpy("run", "--", PYTHON, program, folder, folder + "/other", cwd=tmp_path)
        received(servers)
        assert run.returncode == 0, run.stderr
        assert run.stdout.splitlines()[-1] == "3", run.stdout


def test_named(sgxpy, folder, tmp_path):
    """The same refusal where the manifest names the socket, as one that was only looked at."""
    program = tmp_path / "looks.py"
    program.write_text("import os, socket, sys\nprint(oct(os.stat(sys.argv[1]).st_mode))\n"
                       "if len(open('/proc/self/cmdline').read().split('\\0')) and os.environ.get('X'):\n"
                       "    socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(folder + "/named")
        listener.listen()
        command = ("run", "--env", "X", "--", PYTHON, program, folder + "/named")
        assert sgxpy(*command, cwd=tmp_path).returncode == 0
        run = sgxpy(*command, cwd=tmp_path, env={**os.environ, "X": "1"})
    assert run.returncode == 1 and "ConnectionRefusedError" in run.stderr, run.stderr
    assert f"'--allow {folder}/named' lets it" in run.stderr, run.stderr


def test_server(sgxpy, build, folder, tmp_path):
    program, path = tmp_path / "server.py", folder + "/ours"
    program.write_text(SERVER)
    run = start([build / "sgxpy", "run", "--allow", folder + "/", "--", PYTHON, program, path], cwd=tmp_path,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = threading.Timer(2 * WAIT, kill_all, (run,))  # then reads end
    limit.start()
    try:
        for output in (run.stderr, run.stdout):  # natively, in the enclave
            bound = "0o140750 True\n"
            assert any(line == bound for line in iter(output.readline, ""))
            for text in (b"one", b"two"):
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(WAIT)
                    s.connect(path)
                    s.sendall(text)
                    assert s.recv(100) == text.upper()
        assert run.wait(WAIT) == 0
        assert not os.path.exists(path)
    finally:
        limit.cancel()
        kill_all(run)
        run.stdout.close()
        run.stderr.close()
