"""Tracing a server: ^C, SIGTERM and --for end it and keep the trace; `run` goes on to the enclave."""

import re
import signal
import socket
import subprocess
import time

import pytest
from processes import WAIT, Background, Terminal, eventually
from servers import PYTHON

# Answers each connection with one line. Its port is the first line of stdout. A signal that comes right before it waits ends
# the wait as well: Python runs handlers only between its own instructions, so before accept() it would be seen after it.
SERVER = """
import os, select, signal, socket
{prepare}
s = socket.create_server(("127.0.0.1", 0))
woken, wake = socket.socketpair()
wake.setblocking(False)
signal.set_wakeup_fd(wake.fileno())
print("port", s.getsockname()[1], flush=True)
while True:
    ready, _, _ = select.select([s, woken], [], [])
    if woken in ready:
        woken.recv(100)
    if s in ready:
        c, _ = s.accept()
        with c:
            c.sendall(b"hello\\n")
"""

SERVERS = {
    "interrupted": "",
    "handler": "for n in (2, 15): signal.signal(n, lambda *a: os._exit(0))",
    "deaf": "for n in (2, 15): signal.signal(n, signal.SIG_IGN)",
    "fails": "for n in (2, 15): signal.signal(n, lambda *a: os._exit(7))",
}


def write_server(folder, kind):
    path = folder / "server.py"
    if not path.exists():
        path.write_text(SERVER.format(prepare=SERVERS[kind]))
    return [PYTHON, "server.py"]


class Run(Background):
    def __init__(self, command, folder):
        super().__init__(command, folder, stdin=subprocess.DEVNULL)

    def request(self):
        port = int(self.line(r"^port \d+$").split()[1])
        with socket.create_connection(("127.0.0.1", port), WAIT) as c:
            assert c.makefile().readline() == "hello\n"


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
        run.signal(number)
        assert run.wait() == 0
        assert "ended as asked" in run.output
    assert_usable(sgxpy, tmp_path)


def test_other_exit_code_is_the_programs(sgxpy, tmp_path):
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", *write_server(tmp_path, "fails")],
             tmp_path) as run:
        run.request()
        run.signal(signal.SIGTERM)
        assert run.wait() == 7
    assert_usable(sgxpy, tmp_path)


def test_interrupt_without_a_server_is_no_end_as_asked(sgxpy, tmp_path):
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", PYTHON, "-uc",
              "print('up'); import time; time.sleep(100)"], tmp_path) as run:
        run.line("up")
        run.signal(signal.SIGINT)
        assert run.wait() == 128 + signal.SIGINT


def test_second_interrupt_kills(sgxpy, tmp_path):
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", *write_server(tmp_path, "deaf")],
             tmp_path) as run:
        run.request()
        run.signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # it does not hear, and is not killed yet
            run.process.wait(1)

        def killed():
            run.signal(signal.SIGINT)
            return run.process.poll() is not None

        eventually(killed, "the end")
        assert run.wait() == 0
        assert "was killed" in run.output
    assert_usable(sgxpy, tmp_path)


def test_interrupt_reaches_all_of_the_group(sgxpy, tmp_path):
    """As at a terminal: a worker that its parent does not end gets it too; one of another session does not, and
    is ended with SIGTERM after the first process."""
    (tmp_path / "server.py").write_text("""
import os, signal, socket
s = socket.create_server(("127.0.0.1", 0))
signal.pthread_sigmask(signal.SIG_BLOCK, {2, 15})  # one that comes before the wait counts too
for session in (False, True):
    if os.fork() == 0:
        if session:
            os.setsid()
        os.write(1, b"worker\\n")  # one write, whatever the other processes write at that time
        os.write(1, f"{session} {signal.sigwait({2, 15})}\\n".encode())
        os._exit(0)
os.write(1, b"port\\n")
signal.sigwait({2})
""")
    with Run([sgxpy.path, "trace", "-o", "t.trace", "--", PYTHON, "server.py"], tmp_path) as run:
        for _ in range(3):
            run.line("^worker$|^port")
        run.signal(signal.SIGINT)
        assert run.wait() == 0
        output = run.output
    assert "False 2\n" in output
    assert "True 15\n" in output
    assert_usable(sgxpy, tmp_path)


TIMES = ("1s", "4s", "16s")  # a machine at work may need more than one second until a server is there


def test_for_a_time(sgxpy, tmp_path):
    for seconds in TIMES:
        start = time.monotonic()
        done = sgxpy("trace", "-o", "t.trace", "--for", seconds, "--", *write_server(tmp_path, "interrupted"),
                     cwd=tmp_path)
        assert time.monotonic() - start >= int(seconds[:-1])
        if "port" in done.stdout:
            break
    assert done.returncode == 0, done.stderr
    assert "port" in done.stdout
    assert_usable(sgxpy, tmp_path)


def test_for_a_time_kills_at_last(sgxpy, tmp_path):
    for seconds in TIMES:
        done = sgxpy("trace", "-o", "t.trace", "--for", seconds, "--", *write_server(tmp_path, "deaf"), cwd=tmp_path)
        if "port" in done.stdout:
            break
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
        run.signal(signal.SIGINT)
        run.line("running in the enclave")
        run.request()
        run.signal(signal.SIGTERM)
        assert run.wait() == {"interrupted": 128 + signal.SIGTERM, "handler": 0, "fails": 7}[kind]


def test_run_for_a_time(sgxpy, tmp_path):
    for seconds in TIMES:
        folder = tmp_path / seconds
        folder.mkdir()
        with run_traced(sgxpy, folder, "handler", "--for", seconds) as run:
            run.line("running in the enclave|nothing was kept")
            if not re.search("^port (.|\n)*running in the enclave", run.output, re.M):
                continue  # it had no time to be there
            run.request()
            run.signal(signal.SIGINT)
            assert run.wait() == 0
            return
    pytest.fail(run.output)


def test_early_interrupt_keeps_nothing(sgxpy, tmp_path):
    """Before the line is said, ^C means what it means for any program."""
    for i in range(10):
        folder = tmp_path / str(i)
        folder.mkdir()
        with run_traced(sgxpy, folder, "handler") as run:
            run.line("^port")
            run.signal(signal.SIGINT)
            run.line("nothing was kept|running in the enclave")
            if "tracing;" not in run.output:
                assert run.wait() == 128 + signal.SIGINT
                return
    pytest.fail(f"the line was always said first:\n{run.output}")


def test_terminating_run_keeps_the_trace(sgxpy, tmp_path):
    with run_traced(sgxpy, tmp_path, "handler") as run:
        run.line("tracing;")
        run.signal(signal.SIGTERM)
        assert run.wait() == 128 + signal.SIGTERM
        assert "the trace is kept" in run.output
    with run_traced(sgxpy, tmp_path, "handler") as run:
        run.request()
        run.signal(signal.SIGTERM)
        assert run.wait() == 0
        assert "traced natively" not in run.output


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
        assert "tracing;" not in run.output


@pytest.mark.parametrize("keys", [b"\x03", b"\x03\x03"])
def test_terminal(sgxpy, tmp_path, keys):
    """^C at a terminal, where the server gets it itself; two that come at once are one."""
    with Terminal([sgxpy.path, "trace", "-o", "t.trace", "--", *write_server(tmp_path, "handler")], tmp_path) as t:
        t.until(lambda text: "tracing; Ctrl-C ends the server and keeps the trace\n" in text, "the line about ^C")
        t.type(keys)
        assert t.wait() == 0, t.text()
    assert_usable(sgxpy, tmp_path)


def test_a_bundle_is_not_traced(sgxpy, tmp_path):
    assert sgxpy("trace", "-o", "t", "--", "/bin/true", cwd=tmp_path).returncode == 0
    for arguments in (["manifest", "t", "-o", "j"], ["sign", "j", "--key", sgxpy.key, "-o", "b.sgx"]):
        assert sgxpy(*arguments, cwd=tmp_path).returncode == 0
    done = sgxpy("run", "--for", "1s", "b.sgx", cwd=tmp_path)
    assert done.returncode == 2
    assert "--for go with a command" in done.stderr
