"""Processes that tests start: each in a session of its own, and a limit to every wait. Past it, all of the session is killed
and the test fails with the output so far.
"""

import contextlib
import os
import pathlib
import pty
import random
import re
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

WAIT = 60  # seconds, for what comes in much less
LIMIT = 240  # for a whole run of a program; below the limit that tools/check.py sets for a test


def heed_signals():
    """A shell's background jobs, and what nohup starts, ignore these; what they start would too, but for a handler."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def kill_all(process):
    """Kills the process and its session's group, also what it left there."""
    if process.own_session:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    process.wait(WAIT)


def start(command, **options):
    """subprocess.Popen in a session of its own; no input, unless stdin is given."""
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("start_new_session", True)
    process = subprocess.Popen(list(map(str, command)), **options)
    process.own_session = options["start_new_session"]
    return process


class NoEnd(pytest.fail.Exception):
    """A run that took longer than it may."""


def run(command, timeout=LIMIT, input=None, check=False, **options):
    """subprocess.run that leaves nothing behind when it fails. stdout and stderr are read unless given. Raises NoEnd."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    for name in ("stdout", "stderr"):
        options.setdefault(name, subprocess.PIPE)
    with start(command, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            texts = [t if isinstance(t, str) else (t or b"").decode(errors="replace") for t in rest(process)]
            raise NoEnd("\n".join([f"no end within {timeout} s: {command}", *texts]), pytrace=False) from None
        except BaseException:
            kill_all(process)
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    if check:
        assert done.returncode == 0, f"{command}: {done.returncode}\n{stdout}\n{stderr}"
    return done


def rest(process):
    """Ends the process; what it wrote to its pipes."""
    process.terminate()  # one with children in other sessions ends them
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    kill_all(process)
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired as e:  # another process, outside the session, holds the pipe
        return e.stdout, e.stderr


def eventually(condition, what, limit=WAIT):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"never: {what() if callable(what) else what}")
        time.sleep(0.02)


class Background:
    """A process that goes on beside the test. Its stdout is read all the time, and stderr: with it, or for itself (merged=False).
    Input is what write() gives it."""

    def __init__(self, command, folder, merged=True, **options):
        self.lines, self.errors, self.looked = [], [], 0
        self.changed = threading.Condition()
        options.setdefault("stdin", subprocess.PIPE)
        self.process = start(command, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8", errors="replace",
                             stderr=subprocess.STDOUT if merged else subprocess.PIPE, **options)
        streams = [(self.process.stdout, self.lines)] + ([] if merged else [(self.process.stderr, self.errors)])
        self.readers = [threading.Thread(target=self._read, args=args, daemon=True) for args in streams]
        for reader in self.readers:
            reader.start()

    def _read(self, stream, lines):
        with stream:
            for line in stream:
                with self.changed:
                    lines.append(line)
                    self.changed.notify_all()
        with self.changed:
            lines.append("")  # the end
            self.changed.notify_all()

    @property
    def output(self):
        return "".join(self.lines)

    @property
    def error_output(self):
        return "".join(self.errors)

    def line(self, pattern="", limit=WAIT):
        """The next line of stdout with a match of pattern; each line is looked at once."""
        found = []

        def look():
            while self.looked < len(self.lines) and not found:
                line = self.lines[self.looked]
                if not line:
                    return True
                if re.search(pattern, line):
                    found.append(line)
                self.looked += 1
            return found

        with self.changed:
            self.changed.wait_for(look, limit)
        if not found:
            self.fail(f"no line with '{pattern}'")
        return found[0]

    def silent(self, seconds):
        """Whether no further line comes for so long."""
        with self.changed:
            return not self.changed.wait_for(lambda: self.looked < len(self.lines), seconds)

    def write(self, text):
        with contextlib.suppress(BrokenPipeError):  # it has ended: wait() says how
            self.process.stdin.write(text)
            self.process.stdin.flush()

    def close_input(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def fail(self, why):
        kill_all(self.process)
        self._join(5)
        pytest.fail(f"{why} (exit code {self.process.returncode}):\n{self.output}{self.error_output}")

    def _join(self, limit):
        """Whether all output was read to its end."""
        end = time.monotonic() + limit
        for reader in self.readers:
            reader.join(max(0, end - time.monotonic()))
        return not any(reader.is_alive() for reader in self.readers)

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, limit=WAIT):
        """Its exit code, once it has ended and its output too."""
        end = time.monotonic() + limit
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.fail("it did not end")
        if not self._join(max(1, end - time.monotonic())):
            self.fail("it ended, but not all that it started")
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:  # sgxpy first ends what it traces
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        kill_all(self.process)
        self._join(5)
        if self.process.stdin:
            self.close_input()


def free_port(kind=socket.SOCK_STREAM):
    """One that is free, and that nobody who asks the kernel for any port is given."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10_000, max(first, 11_000)), 100):
        with socket.socket(socket.AF_INET, kind) as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port")


class Terminal:
    """A command at a terminal of its own, and all that it shows."""

    def __init__(self, command, folder, environment=None):
        self.shown, self.code = b"", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder)
                os.execvpe(command[0], list(map(str, command)), environment or os.environ)
            finally:
                os._exit(99)

    def text(self):
        """What it showed so far, with ends of lines as in a file."""
        end = time.monotonic() + WAIT  # for one that does not stop to write
        while time.monotonic() < end and select.select([self.fd], [], [], 0)[0]:
            try:
                block = os.read(self.fd, 65536)
            except OSError:  # EIO: the last one closed it
                break
            if not block:
                break
            self.shown += block
        return self.shown.decode(errors="replace").replace("\r\n", "\n")

    def until(self, condition, what):
        """Waits until condition(text)."""
        end = time.monotonic() + WAIT
        while not condition(self.text()):
            if time.monotonic() > end or (self.ended() and not condition(self.text())):
                pytest.fail(f"never: {what} (exit code {self.code})\n{self.text()}")
            time.sleep(0.02)

    def type(self, keys):
        os.write(self.fd, keys)

    def interrupt(self):
        self.type(b"\x03")

    def ended(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self):
        """Its exit code."""
        self.until(lambda text: self.ended(), "the end")
        return self.code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
