"""The rows about servers: the server on one core, the load on the other, native and in the enclave by turns."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

PYTHON = "/usr/bin/python3"
MIB = 1 << 20
WARM_SECONDS, SECONDS = 1, 3
CONNECTIONS = 8
WAIT = 60
PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"  # tools/soak.py takes them as well

DOWNLOAD = """
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
start = time.perf_counter()
s.sendall(b"GET /big.bin HTTP/1.0\\r\\n\\r\\n")
buffer, size = bytearray(1 << 20), 0
while n := s.recv_into(buffer):
    size += n
print(size, time.perf_counter() - start)
"""


def application(name):
    """As a server's files."""
    return {"app.py": (PROGRAMS / name).read_text()}


class Server:
    """A running one; its output is read all the time."""

    def __init__(self, command, folder, environment, pattern):
        self.port, self.lines = None, []
        self.found = threading.Event()
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self._read, args=(re.compile(pattern),), daemon=True)
        self.reader.start()

    def _read(self, pattern):
        for line in self.process.stdout:
            found = pattern.search(line)
            if found and self.port is None:
                self.port = int(found[1])
                self.found.set()
            if len(self.lines) < 100:
                self.lines.append(line)
        self.found.set()

    def __enter__(self):
        if not self.found.wait(WAIT) or self.port is None:
            self.__exit__()
            raise SystemExit(f"bench: the server did not come up: {''.join(self.lines)}")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()


def request(port, path):
    with socket.create_connection(("127.0.0.1", port), WAIT) as s:
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        data = s.makefile("rb").read()
    if b" 200 " not in data[:20]:
        raise SystemExit(f"bench: {path}: {data[:200]!r}")


def pinned(cpu, command):
    """Server and load each have a core of their own, if there are two."""
    cpus = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cpus[min(cpu, len(cpus) - 1)]), *command]


def seconds_of(text):
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if not found:
        raise SystemExit(f"bench: wrk says {text!r}")
    number, unit = found.groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


def wrk(port, path):
    """Requests a second, and the 99th percentile of the time for one."""
    def run(seconds):
        done = subprocess.run(pinned(1, ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "30s",
                                         f"http://127.0.0.1:{port}{path}"]), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise SystemExit(f"bench: wrk: {done.stdout}")
        return done.stdout

    run(WARM_SECONDS)
    text = run(SECONDS)
    return (float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1]),
            seconds_of(re.search(r"^ +99% +(\S+)", text, re.M)[1]))


def download(port, _path):
    """Bytes a second over one connection; the second time, so that both have the file in memory."""
    for _ in range(2):
        done = subprocess.run(pinned(1, [PYTHON, "-c", DOWNLOAD, str(port)]), stdout=subprocess.PIPE, text=True)
        size, seconds = done.stdout.split()
        if int(size) < 100 * MIB:
            raise SystemExit(f"bench: the download ended after {size} bytes")
    return (int(size) / float(seconds),)


class ServerWork:
    """One measurement, one row for each of its figures."""

    def __init__(self, name, command, pattern, path, rows, files=None, measure=wrk):
        self.name, self.command, self.pattern, self.path = name, command, pattern, path
        self.rows, self.files, self.measure = rows, files or {}, measure

    def run(self, bench, folder, runs):
        missing = [p for p in (self.command[0], "wrk", "taskset") if not shutil.which(p)]
        if missing:
            raise SystemExit(f"bench: {', '.join(missing)} is missing")
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        side = folder.with_suffix(".build")
        side.mkdir()
        trace, cascade, bundle = (str(side / name) for name in ("w.trace", "w.json", "w.sgx"))
        environment = {**bench.environment, "PYTHONUNBUFFERED": "1"}
        with Server([bench.sgxpy, "trace", "-o", trace, "--", *self.command], folder, environment, self.pattern) as s:
            for _ in range(20):
                request(s.port, self.path)
        bench.must("manifest", trace, "-o", cascade, cwd=folder)
        bench.must("sign", cascade, "--key", str(bench.folder / "key.pem"), "-o", bundle, cwd=folder)
        for number in range(runs + 1):
            for which, command in (("native", self.command), ("enclave", [bench.sgxpy, "run", "--quiet", bundle])):
                with Server(pinned(0, command), folder, environment, self.pattern) as s:
                    request(s.port, self.path)
                    figures = self.measure(s.port, self.path)
                if number:  # the first pair only warms the caches
                    for row, figure in zip(self.rows, figures):
                        getattr(row, which).append(figure)
                time.sleep(0.1)  # TIME_WAIT and the last log lines are nobody's work


def server_works(row):
    """row: makes a row of a name, a measure and its target."""
    site = {"site/page.html": b"x" * 4096, "site/big.bin": os.urandom(MIB) * 100}
    http = [PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "--directory", "site", "0"]
    gunicorn = ["gunicorn", "-b", "127.0.0.1:0", "-w", "2", "app:app"]
    return [
        ServerWork("http.server", http, r"port (\d+)", "/page.html",
                   [row("http.server, 4 KiB page, 8 connections", "rate", at_least=0.7),
                    row("http.server, p99", "inner", ratio=1.8)], {"site/page.html": site["site/page.html"]}),
        ServerWork("gunicorn", gunicorn, r"Listening at: http://127\.0\.0\.1:(\d+)", "/",
                   [row("Flask + gunicorn, 2 workers", "rate", at_least=0.8), row("Flask + gunicorn, p99", "inner")],
                   application("hello_flask.py")),
        ServerWork("aiohttp", [PYTHON, "app.py"], r"port (\d+)", "/",
                   [row("aiohttp hello", "rate", at_least=0.6), row("aiohttp, p99", "inner")],
                   application("hello_aiohttp.py")),
        ServerWork("download", http, r"port (\d+)", "/big.bin",
                   [row("100 MB download, one connection", "bytes a second", at_least=0.7)],
                   {"site/big.bin": site["site/big.bin"]}, download),
    ]
