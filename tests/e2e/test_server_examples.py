"""The servers of examples/server, each traced by real requests and then run in the enclave, under load."""

import json
import pathlib
import shutil
import signal
import socket
import ssl
import threading
import time

import pytest
from conftest import ROOT
from processes import WAIT, Background, eventually, free_port, run
from servers import PYTHON, Example, ab, need, need_module, wrk

SOURCE = ROOT / "examples/server"
GUNICORN = r"Listening at: http://127\.0\.0\.1:(\d+)"


def copy(folder, *names):
    for name in names:
        shutil.copy(SOURCE / name, folder)


def together(count, work):
    """work(i) in threads; the first failure is raised."""
    failed = []

    def work_on(i):
        try:
            work(i)
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=work_on, args=(i,), daemon=True) for i in range(count)]
    for t in threads:
        t.start()
    end = time.monotonic() + 2 * WAIT
    for t in threads:
        t.join(max(0, end - time.monotonic()))
    if failed:
        raise failed[0]
    assert not any(t.is_alive() for t in threads), "some do not end"


# ---- Flask under gunicorn ------------------------------------------------------------------------

def flask(sgxpy, folder, *options):
    need("gunicorn")
    need_module("flask")
    copy(folder, "flask_app.py")
    return Example(sgxpy, folder, ["gunicorn", "-b", "127.0.0.1:0", *options, "flask_app:app"], GUNICORN)


def drive_flask(server):
    assert server.get("/") == (200, b"hello from the enclave\n")
    status, body = server.get("/square/12")
    assert status == 200 and json.loads(body)["square"] == 144
    assert server.get("/upper", "POST", b"text") == (200, b"TEXT")
    assert server.get("/upper", "POST", b"")[0] == 400
    assert server.get("/nothing")[0] == 404


def workers(server, count):
    """Pids that answered, until there are count different ones."""
    seen = set()
    eventually(lambda: seen.add(json.loads(server.get("/square/3")[1])["worker"]) or len(seen) >= count,
               f"{count} workers")
    return seen


@pytest.mark.parametrize("mode", [[], ["--poison"]], ids=["plain", "poison"])
def test_gunicorn_two_workers(sgxpy, tmp_path, mode):
    def drive(server):
        workers(server, 2)
        drive_flask(server)

    with flask(sgxpy, tmp_path, "-w", "2").build(drive).enclave(*mode) as server:
        assert len(workers(server, 2)) == 2
        drive_flask(server)
        if not mode:
            wrk(server.port)
            ab(server.port)
        drive_flask(server)
        assert server.stop(signal.SIGTERM) == 0, server.output
        assert "Shutting down: Master" in server.output


def test_gunicorn_threads(sgxpy, tmp_path):
    with flask(sgxpy, tmp_path, "-w", "1", "--threads", "4").build(drive_flask).enclave() as server:
        together(8, lambda i: drive_flask(server))
        wrk(server.port)
        ab(server.port)
        assert server.stop(signal.SIGTERM) == 0, server.output


# ---- aiohttp -------------------------------------------------------------------------------------

def drive_aiohttp(server):
    assert server.get("/") == (200, b"hello from the enclave\n")
    assert server.get("/slow") == (200, b"slow\n")
    assert server.get("/upper", "POST", b"x" * 300_000) == (200, b"X" * 300_000)
    assert server.get("/nothing")[0] == 404
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as s:
        s.sendall(b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        f = s.makefile("rb")
        assert b" 101 " in f.readline()
        while (line := f.readline()) != b"\r\n":
            assert line, "it closed the connection"
        s.sendall(b"\x81\x83\0\0\0\0abc")  # RFC 6455: text, masked with zeros
        assert f.read(5) == b"\x81\x03cba"
        s.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        assert f.read(4) == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("mode", [[], ["--poison"]], ids=["plain", "poison"])
def test_aiohttp(sgxpy, tmp_path, mode):
    need_module("aiohttp")
    copy(tmp_path, "aiohttp_app.py")
    example = Example(sgxpy, tmp_path, [PYTHON, "aiohttp_app.py", str(free_port())], r"http://127\.0\.0\.1:(\d+)")
    with example.build(drive_aiohttp).enclave(*mode) as server:
        drive_aiohttp(server)
        start = time.monotonic()
        together(20, lambda i: server.get("/slow"))
        assert time.monotonic() - start < 20 * 0.05 + 5
        if not mode:
            wrk(server.port)
            ab(server.port)
        assert server.stop(signal.SIGTERM) == 0, server.output


# ---- TLS -----------------------------------------------------------------------------------------

def test_tls(sgxpy, tmp_path):
    need("openssl")
    copy(tmp_path, "tls_server.py")
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem",
         "-out", "cert.pem"], cwd=tmp_path, check=True)

    def get(server, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=tmp_path / "cert.pem")  # of its own: several threads are here
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", server.port), WAIT) as s, \
                context.wrap_socket(s, server_hostname="localhost") as t:
            t.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return t.makefile("rb").read()

    def drive(server):
        for version, name in ((ssl.TLSVersion.TLSv1_3, b"TLSv1.3"), (ssl.TLSVersion.TLSv1_2, b"TLSv1.2")):
            assert get(server, version).endswith(b"hello over " + name + b"\n")

    with Example(sgxpy, tmp_path, [PYTHON, "tls_server.py", "0"]).build(drive).enclave() as server:
        drive(server)
        with socket.create_connection(("127.0.0.1", server.port), WAIT) as silent:
            with socket.create_connection(("127.0.0.1", server.port), WAIT) as rubbish:
                rubbish.sendall(b"\x16\x03\x01" + b"\xff" * 2000)
                together(10, lambda i: drive(server) if i == 0 else get(server))
            silent.settimeout(0)
        assert server.stop(signal.SIGINT) == 0, server.output


# ---- SQLite --------------------------------------------------------------------------------------

@pytest.mark.parametrize("where", ["scratch", "allowed"])
def test_sqlite(sgxpy, tmp_path, where):
    copy(tmp_path, "notes.py")
    database = f"/tmp/sgxpy-notes-{tmp_path.name}.db" if where == "scratch" else str(tmp_path / "data/notes.db")
    (tmp_path / "data").mkdir()
    example = Example(sgxpy, tmp_path, [PYTHON, "notes.py", database, "0"])

    def drive(server, count=3):
        together(count, lambda i: server.get("/", "POST", f"note {i}".encode()))
        return server.get("/")[1].decode().splitlines()

    try:
        example.trace(drive)
    finally:
        for name in (database, database + "-journal"):
            pathlib.Path(name).unlink(missing_ok=True)
    example.sign(*(["--allow", "data/"] if where == "allowed" else []))
    expected = [f"note {i}" for i in range(20)]
    with example.enclave() as server:
        try:
            got = drive(server, 20)
        except OSError as e:
            pytest.fail(f"{e!r}:\n{server.output}")
        assert sorted(got) == sorted(expected)
        # Acknowledged is written, also when the host kills all of it in the next moment.
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with example.enclave() as server:
        kept = server.get("/")[1].decode().splitlines()
        assert sorted(kept) == (sorted(expected) if where == "allowed" else [])
        assert server.stop(signal.SIGINT) == 0, server.output
    if where == "allowed":
        integrity = run([PYTHON, "-c", "import sqlite3, sys; print(sqlite3.connect(sys.argv[1])"
                         ".execute('PRAGMA integrity_check').fetchall())", database], text=True)
        assert integrity.stdout == "[('ok',)]\n"
    else:
        assert not pathlib.Path(database).exists()


# ---- Redis ---------------------------------------------------------------------------------------

class RedisServer:
    """A real one, on a port that was free; redis-tools has the program under another name and starts no service."""

    def __init__(self, folder):
        need("redis-check-rdb")
        for _ in range(5):
            self.port = free_port()
            self.process = Background(["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "",
                                       "--appendonly", "no", "--dir", folder], folder,
                                      executable=shutil.which("redis-check-rdb"))
            try:
                self.process.line("Ready to accept connections")
                return
            except pytest.fail.Exception:  # another one was faster
                self.__exit__()
        pytest.fail(f"Redis does not start:\n{self.process.output}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.__exit__()


def test_redis(sgxpy, tmp_path):
    copy(tmp_path, "counter.py")
    with RedisServer(tmp_path) as redis:
        example = Example(sgxpy, tmp_path, [PYTHON, "counter.py", str(redis.port), "0"])
        example.build(lambda server: [server.get("/") for _ in range(3)])
        with example.enclave() as server:
            assert server.get("/") == (200, b"4\n")
            seen = []
            together(30, lambda i: seen.append(int(server.get("/")[1])))
            assert sorted(seen) == list(range(5, 35))
            assert server.stop(signal.SIGINT) == 0, server.output
