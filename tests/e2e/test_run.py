"""`sgxpy run -- COMMAND`: the cache, what it says, what it refuses, and what the program gets."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import signal
import stat
import subprocess

import pytest
from processes import LIMIT, Background, run

PYTHON = "/usr/bin/python3"


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def program(folder, text, name="p.py"):
    (folder / name).write_text(text)
    return [PYTHON, name]


def keys():
    return list((pathlib.Path(os.environ["XDG_DATA_HOME"]) / "sgxpy/keys").glob("*.pem"))


def test_first_run_says_what_it_does(sgxpy, work):
    command = program(work, "open('out.csv', 'w').write('1')\nprint('result')\n")
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "result\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "sgxpy: software SGX device: no protection against this machine"
    assert "sgxpy: first run of this command: traced natively, unprotected; the program runs twice" in lines
    assert "result" in lines  # the traced run's output
    assert any(re.fullmatch(r"sgxpy: \d+ files \(.*\), output out\.csv; \d+ variables dropped \(--env NAME\)", l)
               for l in lines), done.stderr
    assert any(re.fullmatch(r"sgxpy: heap \d+ MiB, \d+ threads?, MRENCLAVE [0-9a-f]{64}, new key .*\.pem", l)
               for l in lines), done.stderr
    assert any(l.startswith("sgxpy: saved in .sgxpy/; running in the enclave") for l in lines)
    assert sum("no protection against this machine" in l for l in lines) == 1
    assert (work / ".sgxpy/.gitignore").read_text() == "*\n"
    assert len(keys()) == 1 and stat.S_IMODE(keys()[0].stat().st_mode) == 0o600


def test_second_run_hits_the_cache(sgxpy, work):
    command = program(work, "print('result')\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 0 and done.stdout == "result\n"
    assert done.stderr == "sgxpy: software SGX device: no protection against this machine\n"
    quiet = sgxpy("run", "--quiet", "--", *command, cwd=work)
    assert quiet.returncode == 0 and quiet.stderr == ""


def test_changed_file_is_refused_until_retrace(sgxpy, work):
    command = program(work, "print(open('data').read())\n")
    (work / "data").write_text("one")
    assert sgxpy("run", "--", *command, cwd=work).stdout == "one\n"
    (work / "data").write_text("two")
    refused = sgxpy("run", "--", *command, cwd=work)
    assert refused.returncode == 3 and refused.stdout == ""
    assert f"{work}/data" in refused.stderr and "--retrace" in refused.stderr
    again = sgxpy("run", "--", *command, cwd=work)
    assert again.returncode == 3
    done = sgxpy("run", "--retrace", "--", *command, cwd=work)
    assert done.returncode == 0 and done.stdout == "two\n"
    assert "traced natively" in done.stderr
    assert len(keys()) == 1  # the same command keeps its key


def test_changed_options_build_from_the_kept_trace(sgxpy, work):
    command = program(work, "print(__import__('os').environ.get('A'))\n")
    assert sgxpy("run", "--", *command, cwd=work).stdout == "None\n"
    trace = next(work.glob(".sgxpy/*/trace"))
    before = trace.stat().st_mtime_ns
    done = sgxpy("run", "--env", "A=b", "--", *command, cwd=work)
    assert done.returncode == 0 and done.stdout == "b\n"
    assert "traced" not in done.stderr and "MRENCLAVE" in done.stderr
    assert trace.stat().st_mtime_ns == before
    assert sgxpy("run", "--", *command, cwd=work).stdout == "None\n"


def test_changed_options_do_not_trust_changed_files(sgxpy, work):
    command = program(work, "print(open('data').read())\n")
    (work / "data").write_text("one")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    (work / "data").write_text("two")
    done = sgxpy("run", "--threads", "9", "--", *command, cwd=work)
    assert done.returncode == 2 and f"{work}/data" in done.stderr and done.stdout == ""


def test_other_library_os_builds_anew(sgxpy, work, tmp_path):
    command = program(work, "print('result')\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    other = tmp_path / "other.elf"
    other.write_bytes(sgxpy.libos.read_bytes())
    subprocess.run(["objcopy", "--add-section", f".note.other={__file__}", other], check=True)
    done = sgxpy("run", "--libos", other, "--", *command, cwd=work)
    assert done.returncode == 0 and done.stdout == "result\n"
    assert "traced" not in done.stderr and "running in the enclave" in done.stderr


def test_traced_program_that_fails(sgxpy, work):
    command = program(work, "raise SystemExit(9)\n")
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 9 and done.stdout == ""
    assert "exit code 9" in done.stderr
    assert not list(work.glob(".sgxpy/*/trace*")) and not keys()


def test_program_that_fails_in_the_enclave_only(sgxpy, work):
    """Two lives: natively the marker is not there yet; in the enclave it is not there either (it is an
    output), so both see the same."""
    command = program(work, "import os\nprint(os.path.exists('marker'))\nopen('marker', 'w').close()\n")
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.stdout == "False\n", done.stderr


def test_seekable_stdin_is_read_twice(sgxpy, work):
    command = program(work, "import sys\nprint(sys.stdin.read().upper())\n")
    (work / "in.txt").write_text("skipped\nline\n")
    with open(work / "in.txt") as stdin:
        stdin.readline()
        os.lseek(stdin.fileno(), len("skipped\n"), os.SEEK_SET)
        done = sgxpy("run", "--", *command, cwd=work, stdin=stdin)
    assert done.returncode == 0 and done.stdout == "LINE\n\n", done.stderr


def test_piped_stdin_is_refused_at_first(sgxpy, work):
    command = program(work, "import sys\nprint(sys.stdin.read().upper())\n")
    done = sgxpy("run", "--", *command, "it's", cwd=work, input="text")
    assert done.returncode == 2 and done.stdout == ""
    for words in ("sgxpy trace", "sgxpy manifest", "sgxpy sign", f"{PYTHON} p.py 'it'\\''s'"):
        assert words in done.stderr
    assert sgxpy("run", "--", *command, "it's", cwd=work).returncode == 0
    done = sgxpy("run", "--", *command, "it's", cwd=work, input="text")
    assert done.returncode == 0 and done.stdout == "TEXT\n"


def test_refused_manifest_keeps_the_trace(sgxpy, work):
    (work / "n").write_text("1")
    command = program(work, "n = open('n').read()\nopen('n', 'w').write(n)\nprint(n)\n")
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 2 and "--allow" in done.stderr
    done = sgxpy("run", "--allow", "n", "--", *command, cwd=work)
    assert done.returncode == 0 and done.stdout == "1\n", done.stderr
    assert "traced" not in done.stderr


def test_own_key(sgxpy, work):
    command = program(work, "print(1)\n")
    done = sgxpy("run", "--key", sgxpy.key, "--", *command, cwd=work)
    assert done.returncode == 0 and "new key" not in done.stderr and not keys()


def test_lost_key_is_made_anew(sgxpy, work):
    command = program(work, "print('result')\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    keys()[0].unlink()
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 0 and done.stdout == "result\n"
    assert "traced" not in done.stderr and "new key" in done.stderr
    assert "key" not in sgxpy("run", "--", *command, cwd=work).stderr


def test_key_that_others_may_read(sgxpy, work):
    """Looked at by its inode's times: what opened up since the last run is refused."""
    command = program(work, "print('result')\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    keys()[0].chmod(0o644)
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 2 and "0644" in done.stderr and done.stdout == ""


def test_a_start_loads_no_big_library(sgxpy):
    """OpenSSL alone takes longer to load than an enclave to start; sgxpy-full has it."""
    for name, present in (("sgxpy", False), ("sgxpy-full", True)):
        dynamic = subprocess.run(["readelf", "-d", sgxpy.build / name], stdout=subprocess.PIPE, check=True,
                                 encoding="ascii").stdout
        assert ("[libcrypto.so" in dynamic) is present
        assert ("[libelf.so" in dynamic) is present


def test_folder_that_is_not_ours(sgxpy, work):
    """A .sgxpy that others could have filled is left alone."""
    command = program(work, "print(1)\n")
    (work / ".sgxpy").mkdir()
    (work / ".sgxpy").chmod(0o777)
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 0, done.stderr
    assert list((work / ".sgxpy").iterdir()) == []
    assert list(pathlib.Path(os.environ["XDG_CACHE_HOME"]).glob("sgxpy/run/*/stamp"))


def test_own_files_are_in_no_listing(sgxpy, work):
    command = program(work, "import os\nprint(sorted(os.listdir('.')))\n")
    for _ in range(2):
        done = sgxpy("run", "--", *command, cwd=work)
        assert done.stdout == "['p.py']\n", done.stderr


def test_two_first_runs_at_once(sgxpy, work):
    command = program(work, "print('result')\n")
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(Background([sgxpy.path, "run", "--", *command], work, stdin=subprocess.DEVNULL))
                   for _ in range(3)]
        codes = [p.wait(LIMIT) for p in running]
        assert codes == [0, 0, 0], [p.output for p in running]
        assert sum("first run" in p.output for p in running) == 1


def test_runs_do_not_wait_for_each_other(sgxpy, work):
    command = program(work, "import sys\nprint('started', flush=True)\nsys.stdin.read()\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    with Background([sgxpy.path, "run", "--", *command], work) as first:
        first.line("^started$")
        assert sgxpy("run", "--", *command, cwd=work).returncode == 0
        assert first.process.poll() is None
        first.close_input()
        assert first.wait() == 0


def test_lock_is_waited_for(sgxpy, work):
    command = program(work, "print(1)\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    lock = next(work.glob(".sgxpy/*/lock"))
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with Background([sgxpy.path, "run", "--", *command], work) as waiting:
            assert waiting.silent(0.5)
            assert waiting.process.poll() is None
            fcntl.flock(held, fcntl.LOCK_UN)
            assert waiting.wait() == 0


def test_arguments_from_the_host(sgxpy, work):
    command = program(work, "import sys\nprint(sys.argv[1:])\n")
    for arguments in (["trace", "-o", "p.trace", "--", *command],
                      ["manifest", "p.trace", "-o", "p.json", "--args", "host"],
                      ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
        done = sgxpy(*arguments, cwd=work)
        assert done.returncode == 0, done.stderr
    assert sgxpy("run", "p.sgx", "a", "--b", "", "ü", cwd=work).stdout == "['a', '--b', '', 'ü']\n"
    assert sgxpy("run", "p.sgx", "--", "-x", cwd=work).stdout == "['-x']\n"
    assert sgxpy("run", "p.sgx", cwd=work).stdout == "[]\n"


@pytest.mark.parametrize("script", [False, True], ids=["python", "script"])
def test_arguments_from_the_host_with_a_command(sgxpy, work, script):
    command = program(work, f"#!{PYTHON}\nimport sys\nprint(sys.argv[1:])\n")
    if script:
        (work / "p.py").chmod(0o755)
        command = ["./p.py"]
    for _ in range(2):
        done = sgxpy("run", "--args", "host", "--", *command, "a", "--b", "ü", cwd=work)
        assert done.stdout == "['a', '--b', 'ü']\n", done.stderr


def test_environment_from_the_host(sgxpy, work, monkeypatch):
    command = program(work, "import os\nprint(os.environ.get('FROM_HOST'), os.environ.get('OTHER'))\n")
    monkeypatch.setenv("OTHER", "dropped")
    monkeypatch.setenv("FROM_HOST", "one")
    assert sgxpy("run", "--env", "FROM_HOST", "--", *command, cwd=work).stdout == "one None\n"
    monkeypatch.setenv("FROM_HOST", "two")
    assert sgxpy("run", "--env", "FROM_HOST", "--", *command, cwd=work).stdout == "two None\n"
    monkeypatch.delenv("FROM_HOST")
    assert sgxpy("run", "--env", "FROM_HOST", "--", *command, cwd=work).stdout == "None None\n"


def test_another_environment_than_the_traced_one_is_said(sgxpy, work, monkeypatch):
    """The traced values hold: who entered another virtualenv has to hear that."""
    command = program(work, "import os\nprint(os.environ['PATH'], os.environ.get('PYTHONPATH'))\n")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    monkeypatch.setenv("PATH", "/srv/venv/bin:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", "/srv/lib")
    monkeypatch.setenv("TERM", "another")
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.stdout == "/usr/bin:/bin None\n"
    assert done.stderr.splitlines()[1:] == [
        "sgxpy: not as now but as traced: PATH, PYTHONPATH; --retrace takes what is set now"]
    assert sgxpy("run", "--quiet", "--", *command, cwd=work).stderr == ""
    done = sgxpy("run", "--retrace", "--", *command, cwd=work)
    assert done.stdout == "/srv/venv/bin:/usr/bin:/bin /srv/lib\n" and "not as now" not in done.stderr
    assert "not as now" not in sgxpy("run", "--", *command, cwd=work).stderr


def test_secrets_are_not_pinned(sgxpy, work, monkeypatch):
    monkeypatch.setenv("PYTHON_API_TOKEN", "hunter2")
    monkeypatch.setenv("LC_SECRET", "hunter2")
    command = program(work, "print(1)\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    for cascade in work.glob(".sgxpy/*/cascade.json"):
        assert "hunter2" not in cascade.read_text()
    traces = list(work.glob(".sgxpy/*/trace"))
    assert traces and all(stat.S_IMODE(t.stat().st_mode) == 0o600 for t in traces)


def test_audit_file(sgxpy, work):
    command = program(work, "import sys\ntry:\n    open('/etc/no-such-' + sys.stdin.read())\n"
                            "except OSError as e:\n    print(e.errno)\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    done = sgxpy("run", "--audit", "audit.jsonl", "--", *command, cwd=work, input="new")
    assert done.returncode == 0 and done.stdout == "2\n", done.stderr
    events = [json.loads(line) for line in (work / "audit.jsonl").read_text().splitlines()]
    found = [e for e in events if e.get("path") == "/etc/no-such-new"]
    assert found and {"time", "node", "pid", "event"} <= found[0].keys()


def test_strace_signs_a_debug_enclave(sgxpy, work):
    command = program(work, "print('traced output')\n")
    done = sgxpy("run", "--strace", "--", *command, cwd=work)
    assert done.returncode == 0 and done.stdout == "traced output\n"
    assert "write(1, " in done.stderr and "openat(" in done.stderr
    shown = json.loads(sgxpy("show", "--json", next(work.glob(".sgxpy/*/bundle.sgx"))).stdout)
    assert shown["nodes"][0]["attributes"]["debug"] is True


def test_weakenings_are_announced_at_each_start(sgxpy, work):
    (work / "data").write_text("1")
    command = program(work, "print(open('data').read())\n")
    options = ["--debug", "--allow", "data"]
    for _ in range(2):
        done = sgxpy("run", *options, "--", *command, cwd=work)
        assert done.returncode == 0 and done.stdout == "1\n", done.stderr
        assert done.stderr.count("insecure: a DEBUG enclave") == 1
        assert done.stderr.count(f"unprotected: '{work}/data'") == 1
    (work / "data").write_text("2")
    done = sgxpy("run", "--quiet", *options, "--", *command, cwd=work)
    assert done.stdout == "2\n" and done.stderr == ""


@pytest.mark.skipif(os.getuid() != 0, reason="needs to become another user")
def test_file_that_the_runner_cannot_open(sgxpy, work, open_folders):
    (work / "data").write_text("1")
    command = program(work, "print(open('data').read())\n")
    for arguments in (["trace", "-o", "p.trace", "--", *command],
                      ["manifest", "p.trace", "-o", "p.json"],
                      ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
        assert sgxpy(*arguments, cwd=work).returncode == 0
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    def reachable():
        for folder in (sgxpy.path, work):
            done = subprocess.run([*nobody, "ls", folder], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
            if done.returncode != 0:
                return False
        return True

    work.chmod(0o755)
    if not reachable():
        pytest.skip("another user cannot reach this folder")
    (work / "data").chmod(0o600)
    theirs = work / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    done = run([*nobody, sgxpy.path, "run", "p.sgx"], cwd=work, encoding="utf-8",
               env={**os.environ, "XDG_DATA_HOME": str(theirs)})
    assert done.returncode == 4 and done.stdout == "", done.stderr
    line = next(l for l in done.stderr.splitlines() if f"{work}/data" in l)
    assert "65534" in line or "nobody" in line


def test_names_cannot_draw_on_the_terminal(sgxpy, work):
    name = "evil\x1b[2J\nsgxpy: all is well"
    command = program(work, f"open({name!r}, 'w').close()\n")
    done = sgxpy("run", "--", *command, cwd=work)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr
    assert not any(l.startswith("sgxpy: all is well") for l in done.stderr.splitlines())


def test_stats(sgxpy, work):
    command = program(work, "print(1)\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    done = sgxpy("run", "--stats", "--", *command, cwd=work)
    assert done.returncode == 0 and "OCALL" in done.stderr and "verified" in done.stderr


def test_show_bundle(sgxpy, work):
    command = program(work, "print(1)\n")
    done = sgxpy("run", "--", *command, cwd=work)
    mrenclave = re.search(r"MRENCLAVE ([0-9a-f]{64})", done.stderr).group(1)
    bundle = next(work.glob(".sgxpy/*/bundle.sgx"))
    text = sgxpy("show", bundle).stdout
    assert mrenclave in text and "MRSIGNER" in text and "attributes" in text and "trusted" in text
    assert f"{work}/p.py" not in text.replace(f"{PYTHON} p.py", "")
    files = sgxpy("show", "--files", bundle).stdout
    line = next(l for l in files.splitlines() if l.endswith(f" {work}/p.py"))
    digest = subprocess.run(["sha256sum", work / "p.py"], stdout=subprocess.PIPE).stdout.decode().split()[0]
    assert digest in line and "trusted" in line


@pytest.mark.parametrize("text, code", [
    ("raise SystemExit(3)", 3), ("import os; os._exit(200)", 200), ("1 / 0", 1),
    ("import os; os.kill(os.getpid(), 9)", 137), ("import os; os.abort()", 134),
])
def test_exit_codes_of_a_bundle(sgxpy, work, text, code):
    command = program(work, text + "\n")
    for arguments in (["manifest", "p.trace", "-o", "p.json"],
                      ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
        if arguments[0] == "manifest":
            assert sgxpy("trace", "-o", "p.trace", "--", *command, cwd=work).returncode == code
        assert sgxpy(*arguments, cwd=work).returncode == 0
    assert sgxpy("run", "p.sgx", cwd=work).returncode == code


def test_signal_from_outside(sgxpy, work):
    # A signal right before a call that waits does not cut that short: so no wait is long.
    command = program(work, "import signal, sys, time\n"
                            "signal.signal(signal.SIGTERM, lambda *a: sys.exit(42))\n"
                            "print('ready', flush=True)\nwhile sys.stdin.read(1):\n"
                            "    print('sleeps', flush=True)\n    for _ in range(1200): time.sleep(.05)\n")
    assert sgxpy("run", "--", *command, cwd=work).returncode == 0
    with Background([sgxpy.path, "run", "--", *command], work) as running:
        running.line("^ready$")
        running.write("x")
        running.line("^sleeps$")
        running.signal(signal.SIGTERM)
        assert running.wait() == 42


@pytest.mark.parametrize("command", ["exec {py} -c '{code}'", "{py} -c '{code}' & true"], ids=["exec", "left behind"])
def test_signal_from_outside_reaches_what_the_root_left(sgxpy, work, command):
    """A start script that ends with exec, or leaves the program behind: its enclave is only the hub then."""
    code = ("import os, select, signal; signal.signal(15, lambda *a: (print(\"got it\", flush=True), os._exit(42))); "
            "print(\"ready\", flush=True); all(not select.select([0], [], [], 0.05)[0] for _ in range(1200))")
    (work / "start.sh").write_text("exec 3<&0\n" + command.format(py=PYTHON, code=code).replace(
        " &", " <&3 &") + "\n")
    start = ["run", "--", "/bin/sh", "start.sh"]
    assert sgxpy(*start, cwd=work).returncode == 0
    with Background([sgxpy.path, *start], work) as running:
        running.line("^ready$")
        running.signal(signal.SIGTERM)
        running.line("^got it$")
        assert running.wait() == (42 if "exec" in command else 0)
