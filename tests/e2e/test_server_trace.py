"""Tracing a server: ^C, SIGTERM and --for end it and keep the trace; `run` goes on to the enclave."""

import os
import pty
import re
import select
import signal
import socket
import subprocess
import time

import pytest
from servers import PYTHON, WAIT, take_interrupts

# Answers each connection with one line. Its port is the first line of stdout.
SERVER = """
import signal, socket, sys
{prepare}
s = socket.create_server(("127.0.0.1", 0))
print("port", s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    with c:
        c.sendall(b"hello\\n")
"""

SERVERS = {
    "interrupted": "",
    "handler": "for n in (2, 15): signal.signal(n, lambda *a: sys.exit(0))",
    "deaf": "for n in (2, 15): signal.signal(n, signal.SIG_IGN)",
    "fails": "for n in (2, 15): signal.signal(n, lambda *a: sys.exit(7))",
}


def write_server(folder, kind):
    path = folder / "server.py"
    if not path.exists():
        path.write_text(SERVER.format(prepare=SERVERS[kind]))
    return [PYTHON, "server.py"]


class Run:
    """A process whose stdout and stderr are read together, line by line."""

    def __init__(self, command, folder, **options):
        self.seen = ""
        self.process = subprocess.Popen(list(map(str, command)), cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        preexec_fn=take_interrupts, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT)
        self.process.stdout.close()

    def line(self, word):
        """The next line that holds word (or a match of this pattern)."""
        for line in self.process.stdout:
            self.seen += line
            if re.search(word, line):
                return line
        pytest.fail(f"no line with '{word}':\n{self.seen}")

    def request(self):
        port = int(self.line(r"^port \d+$").split()[1])
        with socket.create_connection(("127.0.0.1", port), WAIT) as c:
            assert c.makefile().readline() == "hello\n"

    def end(self):
        self.seen += self.process.stdout.read()
        return self.process.wait(WAIT)


def assert_usable(sgxpy, folder, name="t.trace"):
    done = sgxpy("manifest", name, "-o", "t.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "not complete" not in done.stderr
    assert "server.py" in (folder / "t.json").read_text()


@pytest.mark.parametrize("kind", ["interrupted", "handler"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_keeps_the_trace(sgxpy, tmp_path, kind, number):
    server = write_server(tmp_path, kind)
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", *server], tmp_path) as run:
        run.request()
        run.process.send_signal(number)
        assert run.end() == 0
        assert "ended as asked" in run.seen
    assert_usable(sgxpy, tmp_path)


def test_other_exit_code_is_the_programs(sgxpy, tmp_path):
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", *write_server(tmp_path, "fails")],
             tmp_path) as run:
        run.request()
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 7
    assert_usable(sgxpy, tmp_path)


def test_interrupt_without_a_server_is_no_end_as_asked(sgxpy, tmp_path):
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", PYTHON, "-uc",
              "print('up'); import time; time.sleep(100)"], tmp_path) as run:
        run.line("up")
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 128 + signal.SIGINT


def test_second_interrupt_kills(sgxpy, tmp_path):
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", *write_server(tmp_path, "deaf")],
             tmp_path) as run:
        run.request()
        run.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # it does not hear, and is not killed yet
            run.process.wait(1)
        end = time.monotonic() + WAIT
        while run.process.poll() is None and time.monotonic() < end:
            run.process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert run.end() == 0
        assert "was killed" in run.seen
    assert_usable(sgxpy, tmp_path)


def test_interrupt_reaches_all_of_the_group(sgxpy, tmp_path):
    """As at a terminal: a worker that its parent does not end gets it too; one of another session does not, and
    is ended with SIGTERM after the first process."""
    (tmp_path / "server.py").write_text("""
import os, signal, socket, sys
s = socket.create_server(("127.0.0.1", 0))
for session in (False, True):
    if os.fork() == 0:
        if session:
            os.setsid()
        for number, text in ((2, "interrupted"), (15, "terminated")):
            signal.signal(number, lambda *a, text=text: (print(session, text, flush=True), os._exit(0)))
        print("worker", flush=True)
        while True:
            signal.pause()
signal.signal(2, lambda *a: os._exit(0))
print("port", s.getsockname()[1], flush=True)
while True:
    signal.pause()
""")
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", PYTHON, "server.py"], tmp_path) as run:
        for _ in range(2):
            run.line("worker")
        if "port" not in run.seen:
            run.line("port")
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0
    assert "False interrupted\n" in run.seen
    assert "True terminated\n" in run.seen
    assert_usable(sgxpy, tmp_path)


def test_for_a_time(sgxpy, tmp_path):
    start = time.monotonic()
    done = sgxpy("trace", "-o", "t.trace", "--for", "1s", "--", *write_server(tmp_path, "interrupted"),
                 cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 1 <= time.monotonic() - start < WAIT
    assert "port" in done.stdout
    assert_usable(sgxpy, tmp_path)


def test_for_a_time_kills_at_last(sgxpy, tmp_path):
    done = sgxpy("trace", "-o", "t.trace", "--for", "1500ms", "--", *write_server(tmp_path, "deaf"),
                 cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "was killed" in done.stderr
    assert_usable(sgxpy, tmp_path)


@pytest.mark.parametrize("text", ["10", "0s", "s", "1.5s", "25h", "-1s", ""])
def test_wrong_times(sgxpy, tmp_path, text):
    done = sgxpy("trace", "-o", "t.trace", "--for", text, "--", "/bin/true", cwd=tmp_path)
    assert done.returncode == 2
    assert "a time like 500ms, 10s or 2m is wanted" in done.stderr


# ---- run ----------------------------------------------------------------------------------------

def run_traced(sgxpy, folder, kind, *options):
    return Run([sgxpy.path, "run", *options, "--", *write_server(folder, kind)], folder)


@pytest.mark.parametrize("kind", ["interrupted", "handler", "fails"])
def test_run_goes_on_to_the_enclave(sgxpy, tmp_path, kind):
    with run_traced(sgxpy, tmp_path, kind) as run:
        run.request()
        assert run.line("tracing;") == "sgxpy: tracing; Ctrl-C starts the enclave\n"
        run.process.send_signal(signal.SIGINT)
        run.line("running in the enclave")
        run.request()
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == {"interrupted": 128 + signal.SIGTERM, "handler": 0, "fails": 7}[kind]


def test_run_for_a_time(sgxpy, tmp_path):
    with run_traced(sgxpy, tmp_path, "handler", "--for", "1s") as run:
        run.request()
        run.line("running in the enclave")
        run.request()
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0


def test_early_interrupt_keeps_nothing(sgxpy, tmp_path):
    """Before the line is said, ^C means what it means for any program."""
    with run_traced(sgxpy, tmp_path, "handler") as run:
        run.request()
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 128 + signal.SIGINT
        assert "nothing was kept" in run.seen


def test_terminating_run_keeps_the_trace(sgxpy, tmp_path):
    with run_traced(sgxpy, tmp_path, "handler") as run:
        run.line("tracing;")
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 128 + signal.SIGTERM
        assert "the trace is kept" in run.seen
    with run_traced(sgxpy, tmp_path, "handler") as run:
        run.request()
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 0
        assert "traced natively" not in run.seen


def test_no_server_no_line(sgxpy, tmp_path):
    """A client that binds port 0, and a manager on a Unix path in another process."""
    (tmp_path / "p.py").write_text("""
import multiprocessing, socket, time
if __name__ == "__main__":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    with multiprocessing.Manager() as m:
        time.sleep(2.7)
""")
    with Run([sgxpy.path, "run", "--", PYTHON, "p.py"], tmp_path) as run:
        run.line("saved in")
        assert "tracing;" not in run.seen


@pytest.mark.parametrize("keys, code", [(b"\x03", 0), (b"\x03\x03", 0)])
def test_terminal(sgxpy, tmp_path, keys, code):
    """^C at a terminal, where the server gets it itself; two that come at once are one."""
    server = write_server(tmp_path, "handler")
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            take_interrupts()
            os.chdir(tmp_path)
            os.execv(sgxpy.path, [sgxpy.path, "trace", "-o", "t.trace", "--", *server])
        finally:
            os._exit(99)
    shown, pressed, end = b"", False, time.monotonic() + WAIT
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                block = os.read(terminal, 10_000)
            except OSError:  # EIO: the last one closed it
                break
            if not block:
                break
            shown += block
        if not pressed and b"tracing; Ctrl-C ends the server and keeps the trace\r\n" in shown:
            pressed = True
            os.write(terminal, keys)
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, shown
    assert_usable(sgxpy, tmp_path)


def test_a_bundle_is_not_traced(sgxpy, tmp_path):
    assert sgxpy("trace", "-o", "t", "--", "/bin/true", cwd=tmp_path).returncode == 0
    for arguments in (["manifest", "t", "-o", "j"], ["sign", "j", "--key", sgxpy.key, "-o", "b.sgx"]):
        assert sgxpy(*arguments, cwd=tmp_path).returncode == 0
    done = sgxpy("run", "--for", "1s", "b.sgx", cwd=tmp_path)
    assert done.returncode == 2
    assert "--for go with a command" in done.stderr
