"""Processes that tests start: each in a session of its own, and a limit to every wait. Past it, all of the session is killed
and the test fails with the output so far.
"""

import contextlib
import os
import pty
import re
import select
import signal
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
    """Kills the process and its group, also what it left there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    process.wait(WAIT)


def start(command, **options):
    """subprocess.Popen in a session of its own; no input, unless stdin is given."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(list(map(str, command)), start_new_session=True, **options)


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
            kill_all(process)
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
    """What a killed process wrote to its pipes."""
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
    """A process that goes on beside the test. Its stdout and stderr are one text, read all the time."""

    def __init__(self, command, folder, **options):
        self.lines, self.looked, self.closed = [], 0, False
        self.changed = threading.Condition()
        self.process = start(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                             errors="replace", **options)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.process.stdout as stream:
            for line in stream:
                with self.changed:
                    self.lines.append(line)
                    self.changed.notify_all()
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    @property
    def output(self):
        return "".join(self.lines)

    def line(self, pattern, limit=WAIT):
        """The next line with a match of pattern; each line is looked at once."""
        found = []

        def look():
            while self.looked < len(self.lines) and not found:
                if re.search(pattern, self.lines[self.looked]):
                    found.append(self.lines[self.looked])
                self.looked += 1
            return found or self.closed

        with self.changed:
            self.changed.wait_for(look, limit)
        if not found:
            self.fail(f"no line with '{pattern}'")
        return found[0]

    def fail(self, why):
        kill_all(self.process)
        self.reader.join(5)
        pytest.fail(f"{why} (exit code {self.process.returncode}):\n{self.output}")

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
        self.reader.join(max(1, end - time.monotonic()))
        if self.reader.is_alive():
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
        self.reader.join(5)


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
