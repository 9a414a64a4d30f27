"""Keys at a terminal reach the foreground group, children too; natively first, as the oracle."""

import os

import pytest
from processes import Terminal

PYTHON = "/usr/bin/python3"

CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print("child is up", flush=True)
    for _ in range(1200):  # a signal right before a sleep does not cut that short
        time.sleep(0.05)
except KeyboardInterrupt:
    print("child was interrupted", flush=True)
    sys.exit(7)
"""

PARENT = f"""
import signal, subprocess, sys, time
came = []
signal.signal(signal.SIGINT, lambda *a: came.append(1))
p = subprocess.Popen([sys.executable, "-c", {CHILD!r}])
print("code", p.wait())
while not came:  # no pause(): a signal right before it does not end it
    time.sleep(0.05)
print("parent had it", len(came), flush=True)
"""

# The key is pressed when the child is up, and that is not before the parent is in its `try`.
PYTHON_DEFAULT = f"""
import subprocess, sys
p = subprocess.Popen([sys.executable, "-c", {"input()" + CHILD!r}], stdin=subprocess.PIPE, text=True)
try:
    print("go", file=p.stdin, flush=True)
    p.wait()
except KeyboardInterrupt:
    p.wait()
    print("parent was interrupted", flush=True)
    sys.exit(3)
"""

SESSION = f"""
import subprocess, sys, time
p = subprocess.Popen([sys.executable, "-c", {CHILD.replace("time.sleep(0.05)", "sys.stdin.readline(); break")!r}],
                     start_new_session=True, stdin=subprocess.PIPE, text=True)
try:
    while p.poll() is None:  # no wait(): a signal right before it would be seen only after it
        time.sleep(0.05)
except KeyboardInterrupt:
    print("only the parent", p.poll(), flush=True)
    p.communicate("\\n")
print("code", p.wait(), flush=True)
"""

PROGRAMS = {"handler": PARENT, "default": PYTHON_DEFAULT, "other session": SESSION}


def at_terminal(command, folder, environment):
    """Runs it, presses ^C once the child is up; what the terminal showed, and the exit code."""
    with Terminal(command, folder, environment) as terminal:
        terminal.until(lambda text: "child is up\n" in text, "the child")
        terminal.interrupt()
        code = terminal.wait()
        return terminal.text().replace("^C", ""), code


@pytest.mark.parametrize("name", PROGRAMS)
def test_interrupt_key(sgxpy, tmp_path, name):
    (tmp_path / "p.py").write_text(PROGRAMS[name])
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    command = [PYTHON, "p.py"]
    oracle = at_terminal(command, tmp_path, environment)
    assert "child is up" in oracle[0]
    traced, _ = at_terminal([sgxpy.path, "trace", "-o", "p.trace", "--", *command], tmp_path, environment)
    assert oracle[0] in traced
    for arguments in (["manifest", "p.trace", "-o", "p.json"], ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
        done = sgxpy(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for mode in ([], ["--poison"]):
        inside = at_terminal([sgxpy.path, "run", "--quiet", *mode, "p.sgx"], tmp_path, environment)
        assert inside == oracle
