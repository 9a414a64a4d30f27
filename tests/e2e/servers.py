"""What the tests of servers share: a server traced by real requests, signed, and run natively or in the enclave."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

PYTHON = "/usr/bin/python3"
WAIT = 60  # seconds, for what comes in much less


def need(*programs):
    """Debian's packages of ./dev check hold them; without one the test is skipped, and says so."""
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        pytest.skip(f"NOT TESTED: no {', '.join(missing)} here (./dev check installs it)")


def need_module(name):
    if subprocess.run([PYTHON, "-c", f"import {name}"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip(f"NOT TESTED: {PYTHON} has no module {name} (./dev check installs it)")


def take_interrupts():
    """In the child: a shell's background jobs ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Server:
    """A running server. Its output is read all the time; the port is what the pattern finds first."""

    def __init__(self, command, folder, pattern, env=None):
        self.lines, self.port = [], None
        self.found = threading.Event()
        self.pattern = re.compile(pattern)
        self.process = subprocess.Popen(list(map(str, command)), cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                                        errors="replace", env=env, preexec_fn=take_interrupts)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            found = self.pattern.search(line)
            if found and self.port is None:
                self.port = int(found[1])
                self.found.set()
        self.found.set()

    @property
    def output(self):
        return "".join(self.lines)

    def ready(self):
        if not self.found.wait(WAIT) or self.port is None:
            self.stop(signal.SIGKILL)
            pytest.fail(f"the server did not come up:\n{self.output}")
        return self

    def wait(self):
        """Its exit code; killed if it does not end."""
        try:
            code = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(WAIT)
            pytest.fail(f"the server did not end:\n{self.output}")
        self.reader.join(WAIT)
        return code

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def __enter__(self):
        try:
            return self.ready()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(WAIT)
        self.reader.join(10)
        self.process.stdout.close()

    # ---- requests ----

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def get(self, path="/", method="GET", body=None, headers={}):
        """Status and body."""
        connection = self.connection()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Example:
    """A server's folder, command, and what its output says about the port."""

    def __init__(self, sgxpy, folder, command, pattern=r"port (\d+)", env=None):
        self.sgxpy, self.folder, self.command, self.pattern = sgxpy, folder, command, pattern
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8", **(env or {})}
        self.bundle = folder / "server.sgx"

    def native(self):
        return Server(self.command, self.folder, self.pattern, self.env)

    def trace(self, drive, number=signal.SIGINT, name="server.trace"):
        """Runs it natively under the recorder, lets drive(server) send requests, ends it."""
        with Server([self.sgxpy.path, "trace", "-o", name, "--", *self.command], self.folder, self.pattern,
                    self.env) as server:
            drive(server)
            code = server.stop(number)
            assert code == 0, server.output
        return name

    def sign(self, *options, traces=("server.trace",)):
        for arguments in (["manifest", *traces, "-o", "server.json", *options],
                          ["sign", "server.json", "--key", self.sgxpy.key, "-o", self.bundle]):
            done = self.sgxpy(*arguments, cwd=self.folder)
            assert done.returncode == 0, done.stderr
        return self

    def build(self, drive, *options):
        self.trace(drive)
        return self.sign(*options)

    def enclave(self, *options):
        return Server([self.sgxpy.path, "run", *options, self.bundle], self.folder, self.pattern, self.env)


def wrk(port, path="/", connections=8, seconds=2, threads=1):
    """Requests a second; fails on errors and on answers other than 2xx and 3xx."""
    need("wrk")
    done = subprocess.run(["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s",
                           f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=WAIT + seconds)
    assert done.returncode == 0, done.stdout
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    return float(re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)[1])


def ab(port, path="/", requests=200, connections=8):
    need("ab")
    done = subprocess.run(["ab", "-q", "-n", str(requests), "-c", str(connections),
                           f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stdout
    assert re.search(rf"Complete requests:\s*{requests}\b", done.stdout), done.stdout
    assert re.search(r"Failed requests:\s*0\b", done.stdout) and "Non-2xx" not in done.stdout, done.stdout


def eventually(condition, what):
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"never: {what}")
        time.sleep(0.02)
