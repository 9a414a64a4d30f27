"""Programs that start other programs, as a user runs them: `sgxpy run -- COMMAND`, twice (traced and built, then
from the cache, then under --poison); native output is the oracle. The list of the reference, and more."""

import os
import pathlib
import textwrap

import pytest
from processes import run

PYTHON = "/usr/bin/python3"
TREE = pathlib.Path(__file__).resolve().parents[1] / "behave/tree"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
               "OPENBLAS_NUM_THREADS": "2"}

# name: the program; a Python text, or a command beside files of its own.
PROGRAMS = {
    "hello world": "print('hello world')",
    "temporary file": """
        import tempfile
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("content")
            file.seek(0)
            print(file.read())
        """,
    "NumPy reshape": """
        import numpy as np
        print(np.arange(15).reshape(3, 5), np.arange(6).reshape(2, -1).T.shape)
        """,
    "8 threads": """
        import threading
        done = [None] * 8
        def work(i):
            done[i] = sum(range(i * 1000))
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        print(done)
        """,
    "fork": """
        import os
        pid = os.fork()
        if pid == 0:
            print("child", flush=True)
            os._exit(0)
        print(os.waitpid(pid, 0)[1], "parent")
        """,
    "execv": """
        import os
        print("before", flush=True)
        os.execv("/usr/bin/python3", ["python3", "-c", "print('after')"])
        """,
    "popen": """
        import os
        print(os.popen("echo from popen").read(), os.popen("exit 3").close())
        """,
    "platform.processor": "import platform; print(repr(platform.processor()), platform.machine())",
    "an empty pipe": """
        import os, subprocess
        r, w = os.pipe()
        os.close(w)
        print(os.read(r, 10), subprocess.Popen(["true"], stdout=subprocess.PIPE).stdout.read())
        """,
    "subprocess": """
        import subprocess
        print(subprocess.run(["ls", "-d", "/usr"], capture_output=True, text=True))
        """,
    "size of a zip file": """
        import os, tempfile, zipfile
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.zip")
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("name", "content" * 100)
            with zipfile.ZipFile(path) as archive:
                print(os.path.getsize(path), len(archive.read("name")))
        """,
    "find_library": """
        from ctypes import util
        print(util.find_library("c"), util.find_library("z"), util.find_library("absent"))
        """,
    "shell pipe": """
        import subprocess
        print(subprocess.check_output(["sh", "-c", "printf 'b\\\\na\\\\nb\\\\n' | sort | uniq -c"]))
        """,
    "a child killed by a signal": """
        import os, signal, subprocess
        subprocess.run(["sleep", "0"])  # one that is killed while it starts would be in no trace
        p = subprocess.Popen(["sleep", "100"])
        p.send_signal(signal.SIGTERM)
        print(p.wait(), subprocess.run(["sh", "-c", "kill -KILL $$"]).returncode)
        """,
    "the signal that ends a child ends the parent": """
        import os, subprocess
        code = subprocess.run(["sh", "-c", "kill -TERM $$"]).returncode
        print("exits", flush=True)
        os.kill(os.getpid(), -code)
        """,
    "itself, to some depth": """
        import subprocess, sys
        depth = int(sys.argv[1]) if len(sys.argv) > 1 else 3
        print("depth", depth, flush=True)
        if depth:
            subprocess.run([sys.executable, sys.argv[0], str(depth - 1)], check=True)
        """,
    "a report": """
        import subprocess, sys
        print(subprocess.check_output(["sh", "-c", "uname -p"]))
        a = subprocess.Popen(["printf", "b\\\\na\\\\nb\\\\n"], stdout=subprocess.PIPE)
        b = subprocess.Popen(["sort"], stdin=a.stdout, stdout=subprocess.PIPE)
        print(subprocess.check_output(["uniq"], stdin=b.stdout), a.wait(), b.wait())
        print(subprocess.check_output([sys.executable, "-c", "print(sum(range(10)))"]))
        """,
}


def native(command, folder):
    done = run(command, cwd=folder, env={**ENVIRONMENT, "HOME": str(folder)}, encoding="utf-8")
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.returncode if done.returncode >= 0 else 128 - done.returncode


def check(sgxpy, folder, command, options=()):
    """First the way of a new user; what fails natively is not cached, so such go by way of a bundle."""
    out, code = native(command, folder)
    environment = {**os.environ, **ENVIRONMENT, "HOME": str(folder)}
    if code == 0:
        runs = [["run", "--quiet", *options, "--", *command]] * 2 + [
            ["run", "--quiet", "--poison", *options, "--", *command]]
    else:
        for arguments in (["trace", "-o", "p.trace", "--", *command],
                          ["manifest", "p.trace", "-o", "p.json", *options],
                          ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
            done = sgxpy(*arguments, cwd=folder, env=environment)
            assert done.returncode == (code if arguments[0] == "trace" else 0), done.stderr
        runs = [["run", "--quiet", "p.sgx"], ["run", "--quiet", "--poison", "p.sgx"]]
    for arguments in runs:
        done = sgxpy(*arguments, cwd=folder, env=environment)
        assert (done.stdout, done.returncode) == (out, code), f"{arguments}\n{done.stderr}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(sgxpy, tmp_path, name):
    if name.startswith("NumPy"):
        pytest.importorskip("numpy")
    (tmp_path / "p.py").write_text(textwrap.dedent(PROGRAMS[name]))
    check(sgxpy, tmp_path, [PYTHON, "p.py"])


def test_shell_script_launcher(sgxpy, tmp_path):
    """The root of the tree is a shell, which execs Python in place."""
    launcher = tmp_path / "launcher"
    launcher.write_text("#!/bin/sh\nhere=$(dirname \"$0\")\nexec python3 \"$here/p.py\" \"$@\"\n")
    launcher.chmod(0o755)
    (tmp_path / "p.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(len(sys.argv) - 3)\n")
    check(sgxpy, tmp_path, ["./launcher", "one", "two words"])
    check(sgxpy, tmp_path, ["./launcher", "three", "of", "them"])


def test_shell_command(sgxpy, tmp_path):
    (tmp_path / "data").write_text("c\na\nb\n")
    check(sgxpy, tmp_path, ["sh", "-c", "sort data | tr a-z A-Z | tail -n 2; echo end"])


# What tests/behave/tree has with small numbers, with those that were asked for.
LARGE = {"three_pipes.py": ["100"], "many_children.py": ["200", "20"]}


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("name", LARGE)
def test_large(sgxpy, tmp_path, name):
    (tmp_path / name).write_text((TREE / name).read_text())
    check(sgxpy, tmp_path, [PYTHON, name, *LARGE[name]])


# ---- limits -------------------------------------------------------------------------------------

FORKS = """
import os
r, w = os.pipe()
count = 0
try:
    while count < 30:
        if os.fork() == 0:
            os.close(w)
            os.read(r, 1)
            os._exit(0)
        count += 1
    print("no limit at", count)
except BlockingIOError as e:
    print(e.strerror, "after", count)
os.close(w)
print(sum(os.wait()[1] for _ in range(count)))
"""

BOMB = """
import os
me, refused = os.getpid(), 0
r, w = os.pipe()
for _ in range(6):
    try:
        os.fork()
    except BlockingIOError:
        refused += 1
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
if refused:
    os.write(w, b"x")
if os.getpid() == me:
    os.close(w)
    print("over", len(os.read(r, 1000)) > 0)  # by any of them
"""


def test_fork_bomb_meets_the_limit(sgxpy, tmp_path):
    (tmp_path / "p.py").write_text(FORKS)
    assert native([PYTHON, "p.py"], tmp_path)[0] == "no limit at 30\n0\n"
    for _ in range(2):
        done = sgxpy("run", "--processes", "10", "--", PYTHON, "p.py", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "Resource temporarily unavailable after 9\n0\n", done.stderr
        assert sum("--processes" in line for line in done.stderr.splitlines()) == 1, done.stderr


def test_forks_of_forks_meet_the_limit(sgxpy, tmp_path):
    (tmp_path / "p.py").write_text(BOMB)
    assert native([PYTHON, "p.py"], tmp_path)[0] == "over False\n"
    done = sgxpy("run", "--processes", "12", "--", PYTHON, "p.py", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "over True\n", done.stderr
    assert "--processes" in done.stderr


def test_programs_meet_the_limit(sgxpy, tmp_path):
    (tmp_path / "p.py").write_text(
        "import subprocess\nrunning = []\ntry:\n    for _ in range(8):\n"
        "        running.append(subprocess.Popen(['cat'], stdin=subprocess.PIPE))\n"
        "except OSError as e:\n    print(e.strerror, len(running))\n"
        "for p in running:\n    p.stdin.close()\nprint([p.wait() for p in running])\n")
    assert native([PYTHON, "p.py"], tmp_path)[0] == "[0, 0, 0, 0, 0, 0, 0, 0]\n"
    done = sgxpy("run", "--processes", "4", "--", PYTHON, "p.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Resource temporarily unavailable 3\n[0, 0, 0]\n"
    assert "--processes" in done.stderr
