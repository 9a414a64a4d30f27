"""What the tests of servers share: a server traced by real requests, signed, and run natively or in the enclave."""

import http.client
import os
import re
import shutil
import signal
import subprocess

import pytest
from processes import WAIT, Background, run

PYTHON = "/usr/bin/python3"


def need(*programs):
    """Debian's packages of ./dev check hold them; without one the test is skipped, and says so."""
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        pytest.skip(f"NOT TESTED: no {', '.join(missing)} here (./dev check installs it)")


def need_module(name):
    if run([PYTHON, "-c", f"import {name}"]).returncode != 0:
        pytest.skip(f"NOT TESTED: {PYTHON} has no module {name} (./dev check installs it)")


class Server(Background):
    """A running server. The port is what the pattern finds first."""

    def __init__(self, command, folder, pattern, env=None):
        super().__init__(command, folder, env=env, stdin=subprocess.DEVNULL)
        self.port, self.pattern = None, pattern

    def stop(self, number=signal.SIGTERM):
        self.signal(number)
        return self.wait()

    def __enter__(self):
        try:
            self.port = int(re.search(self.pattern, self.line(self.pattern))[1])
            return self
        except BaseException:
            self.__exit__()
            raise

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
    done = run(["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s",
                f"http://127.0.0.1:{port}{path}"], WAIT + seconds, stderr=subprocess.STDOUT, text=True, check=True)
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    return float(re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)[1])


def ab(port, path="/", requests=200, connections=8):
    need("ab")
    done = run(["ab", "-q", "-n", str(requests), "-c", str(connections), f"http://127.0.0.1:{port}{path}"],
               stderr=subprocess.STDOUT, text=True, check=True)
    assert re.search(rf"Complete requests:\s*{requests}\b", done.stdout), done.stdout
    assert re.search(r"Failed requests:\s*0\b", done.stdout) and "Non-2xx" not in done.stdout, done.stdout
