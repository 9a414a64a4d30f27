"""Clients that hang, reset or send rubbish hurt nobody else; a server ends when it is asked to; a limit is a limit."""

import contextlib
import signal
import socket
import struct
import threading

import pytest
from processes import WAIT, eventually
from servers import PYTHON, Example

# Threads; /slow answers when a file that the test makes is there; /big sends 64 MB.
SERVER = """
import http.server, os, signal, sys, threading, time

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # server_close waits for those at work

class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 600
    def do_GET(self):
        if self.path == "/slow":
            print("slow", flush=True)
            while not os.path.exists("go/now"):
                time.sleep(0.02)
        body = bytes(64 << 20) if self.path == "/big" else b"fine\\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass

server = Server(("127.0.0.1", 0), Handler)
signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=server.shutdown).start())
print("port", server.server_address[1], flush=True)
server.serve_forever()
server.server_close()
print("closed", flush=True)
"""


@pytest.fixture
def example(sgxpy, tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "go").mkdir()
    return Example(sgxpy, tmp_path, [PYTHON, "server.py"])


def drive(server):
    assert server.get("/") == (200, b"fine\n")
    assert len(server.get("/big")[1]) == 64 << 20
    assert server.get("/", "BREW")[0] == 501


LIBRARY = ("--package", "libpython3.11-minimal", "--package", "libpython3.11-stdlib")


def connect(server, data=b""):
    s = socket.create_connection(("127.0.0.1", server.port), WAIT)
    s.sendall(data)
    return s


def reset(s):
    """RST instead of FIN."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


RUBBISH = [b"\0" * 5000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300 + b"\r\n", b"GET " + b"/" * 70000, b"\r\n" * 100,
           b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01\xff\xff", b"x"]


@pytest.mark.parametrize("mode", [[], ["--poison"]], ids=["plain", "poison"])
def test_bad_clients_hurt_nobody_else(example, mode):
    with example.build(drive, "--allow", "go/", *LIBRARY).enclave(*mode) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            for data in (b"", b"GET ", b"GET / HTTP/1.1\r\nHost:"):  # these hang
                stack.callback(connect(server, data).close)
            big = connect(server, b"GET /big HTTP/1.0\r\n\r\n")  # reads nothing of it
            stack.callback(big.close)
            reset(connect(server))
            reset(connect(server, b"GET / HTTP/1.0\r\n\r\n"))
            late = connect(server, b"GET /big HTTP/1.0\r\n\r\n")
            assert late.recv(1000)
            reset(late)
            half = connect(server, b"GET / HTTP/1.0\r\n\r\n")
            half.shutdown(socket.SHUT_WR)
            assert half.makefile("rb").read().endswith(b"fine\n")
            for data in RUBBISH:
                rubbish = connect(server)
                with contextlib.suppress(OSError):  # it may have closed before it had all of it
                    rubbish.sendall(data)
                    rubbish.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while rubbish.recv(10_000):
                        pass
                rubbish.close()
            for _ in range(10):
                assert server.get("/") == (200, b"fine\n")
        assert len(server.get("/big")[1]) == 64 << 20


def test_sigterm_lets_requests_end(example, tmp_path):
    with example.build(drive, "--allow", "go/").enclave() as server:
        answer = []
        slow = threading.Thread(target=lambda: answer.append(server.get("/slow")), daemon=True)
        slow.start()
        server.line("^slow$")
        assert server.get("/") == (200, b"fine\n")
        server.process.send_signal(signal.SIGTERM)

        def refused():
            try:
                server.connection().connect()
                return False
            except OSError:
                return True

        eventually(refused, "the end of accepting")
        assert not answer
        (tmp_path / "go/now").write_text("")
        slow.join(WAIT)
        assert answer == [(200, b"fine\n")]
        assert server.wait() == 0, server.output
        assert "closed" in server.output


def test_no_more_threads_is_an_error_and_no_end(example):
    """EAGAIN to the program; who hangs keeps his thread, and when he goes all is well again."""
    with example.build(drive, "--allow", "go/", "--threads", "6", *LIBRARY).enclave() as server:
        hanging = [connect(server, b"GET / HTTP/1.1\r\n") for _ in range(12)]
        eventually(lambda: "all 6 threads are in use" in server.output, "the line about threads")
        for s in hanging:
            s.close()

        def answers():
            try:
                return server.get("/") == (200, b"fine\n")
            except OSError:
                return False

        eventually(answers, "an answer again")
        for _ in range(20):
            assert server.get("/") == (200, b"fine\n")
        assert server.stop(signal.SIGTERM) == 0, server.output
        assert "can't start new thread" in server.output


def test_sigkill_frees_the_port(sgxpy, tmp_path):
    """Nothing of the tree is left, and the same address can be had again at once."""
    (tmp_path / "p.py").write_text("""
import os, socket
s = socket.create_server(("127.0.0.1", int(open("port").read())))
open("port", "w").write(str(s.getsockname()[1]))
for _ in range(3):
    if os.fork() == 0:
        break
print("port", s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b"fine\\n")
    c.close()
""")
    (tmp_path / "port").write_text("0")
    example = Example(sgxpy, tmp_path, [PYTHON, "p.py"])

    def ask(server):
        with connect(server) as s:
            assert s.makefile("rb").read() == b"fine\n"

    example.build(ask, "--allow", "port", "--listen", "127.0.0.1:*")
    (tmp_path / "port").write_text("0")
    for _ in range(3):
        with example.enclave() as server:
            for _ in range(20):
                ask(server)
            server.stop(signal.SIGKILL)

        def gone():
            try:
                connect(server).close()
                return False
            except ConnectionRefusedError:
                return True

        eventually(gone, "the end of the tree")
