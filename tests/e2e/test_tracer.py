"""The recorder, end to end: each program of tests/behave/tracer runs natively (the oracle) and
traced; output and exit code must match, and the trace must hold what the program's comments say.

Comment lines, one record each. Names are relative to the folder the program runs in; \\xNN as the
printed trace spells bytes:

    expect: BITS... NAME     the path has (at least) these bits
    refuse: BITS... NAME     it has none of them; `any`: no record at all
    target: NAME TEXT        a symlink and its text
    name: FOLDER NAME        the listing of FOLDER holds NAME
    first: NAME yes|no       read before it was written
    after: NAME yes|no       it was there when the program had ended
    before: NAME TEXT        made before the program runs
    process: HOW [PROGRAM]   a process made so; processes: N counts them
    chain: NAME...           an exec chain begins so
    threads: N               the root's peak
    socket: BITS ADDRESS     a socket; ":N" is some port but 0
    note: WORD               a remark that holds WORD
    complete: yes|no         the default is yes
    exit: N                  the exit code, by the recorder's rule
    cc: FLAG...              for the compiler
    needs: root|i386         skipped without
"""

import os
import pathlib
import re
import resource
import select
import signal
import subprocess
import time

import processes
import pytest

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "behave" / "tracer"
PROGRAMS = sorted(SOURCES.glob("*.c"))
PYTHON = "/usr/bin/python3"
DIRECTIVES = {"expect", "refuse", "target", "name", "first", "after", "before", "process",
              "processes", "chain", "threads", "socket", "note", "complete", "exit", "cc", "needs"}


class Trace:
    """A trace as `tracer_tool print` shows it."""

    def __init__(self, text):
        self.text = text
        self.paths, self.names, self.processes = {}, {}, []
        self.notes, self.complete = [], text.startswith("complete: yes")
        current = None
        for line in text.splitlines():
            found = re.match(r"path (.*): ([a-z -]*); before: (.*?); after: (.*?)"
                             r"(; read first)?(?:; -> (.*))?$", line)
            if found:
                path, bits, before, after, first, target = found.groups()
                current = path
                self.paths[path] = {"bits": set(bits.split()), "before": before != "absent",
                                    "after": after != "absent", "first": bool(first),
                                    "target": target}
                self.names[path] = set()
            elif line.startswith("  name "):
                self.names[current].add(line[7:])
            elif line.startswith("process "):
                self.processes.append({"how": line.split(" uid ")[0].split()[-1], "head": line,
                                       "lines": []})
            elif line.startswith("note"):
                self.notes.append(line)
            elif line.startswith("  ") and self.processes:
                self.processes[-1]["lines"].append(line[2:])

    def bits(self, path):
        return self.paths[path]["bits"] if path in self.paths else set()


@pytest.fixture(scope="session")
def tool(request):
    if "TRACER_TOOL" in os.environ:
        return os.environ["TRACER_TOOL"]
    return str(request.getfixturevalue("build") / "tests/unit/tracer/tracer_tool")


@pytest.fixture
def record(tool, tmp_path):
    """Runs a command traced; the outcome and the trace. The folder may be another one."""
    def run(*command, cwd=None, options=(), **more):
        out = tmp_path / "out.trace"
        done = processes.run([tool, "run", *options, out, *command], cwd=cwd or tmp_path, **more)
        return done, read(tool, out)
    return run


def read(tool, path):
    printed = processes.run([tool, "print", path], check=True)
    return Trace(printed.stdout.decode("ascii"))


def directives(source):
    for line in source.read_text(encoding="utf-8").splitlines():
        word, colon, rest = line.strip(" */").partition(": ")
        if colon and word in DIRECTIVES:
            yield word, rest.strip()


def absolute(folder, name):
    return name if name.startswith("/") else f"{folder}/{name}"


def split_bits(rest):
    """The bits first, then a name, which may hold blanks."""
    words = rest.split(" ")
    count = 1
    while count < len(words) - 1 and words[count] in BITS:
        count += 1
    return set(words[:count]), " ".join(words[count:])


BITS = {"read", "written", "created", "truncated", "mapped-exec", "executed", "stat", "listed",
        "link", "renamed-from", "renamed-to", "removed", "absent", "changed", "opened", "denied",
        "bound", "connected", "any"}


def check(trace, folder, word, rest):
    """One directive against a trace: what is wrong, or None."""
    if word in ("expect", "refuse"):
        bits, name = split_bits(rest)
        path = absolute(folder, name)
        if word == "refuse" and bits == {"any"}:
            return None if path not in trace.paths else f"{path} has a record"
        have = trace.bits(path)
        bad = bits - have if word == "expect" else bits & have
        return f"{path} has {sorted(have)}" if bad else None
    if word == "target":
        name, text = rest.split(" ", 1)
        have = trace.paths.get(absolute(folder, name), {}).get("target")
        return None if have == text else f"target is {have}"
    if word == "name":
        name, entry = rest.split(" ", 1)
        return None if entry in trace.names.get(absolute(folder, name), ()) else "not listed"
    if word in ("first", "after"):
        name, want = rest.rsplit(" ", 1)
        have = trace.paths.get(absolute(folder, name), {}).get(word)
        return None if have == (want == "yes") else f"is {have}"
    if word == "process":
        how, _, program = rest.partition(" ")
        for process in trace.processes:
            if process["how"] == how and (not program or f"executable: {program}" in process["lines"]):
                return None
        return "no such process"
    if word == "processes":
        return None if len(trace.processes) == int(rest) else f"there are {len(trace.processes)}"
    if word == "chain":
        want = [f"chain: {absolute(folder, name)}" for name in rest.split()]
        for process in trace.processes:
            if [line for line in process["lines"] if line.startswith("chain")][:len(want)] == want:
                return None
        return "no such chain"
    if word == "threads":
        last = trace.processes[0]["lines"][-1]
        return None if last.endswith(f"threads {rest}") else last
    if word == "socket":
        bits, address = rest.split(" ", 1)
        line = re.escape(f"socket {bits}: {address}").replace(":N", ":[1-9][0-9]*")
        return None if any(re.fullmatch(line, one) for p in trace.processes
                           for one in p["lines"]) else "no such socket"
    if word == "note":
        return None if any(rest in note for note in trace.notes) else "no such note"
    return None


@pytest.mark.parametrize("source", PROGRAMS, ids=lambda p: p.stem)
def test_program(source, record, tmp_path):
    wanted = list(directives(source))
    assert wanted, "a program without expectations tests nothing"
    of = lambda word: [rest for w, rest in wanted if w == word]
    if "root" in of("needs") and os.geteuid() != 0:
        pytest.skip("needs root")
    program = tmp_path / source.stem
    subprocess.run(["cc", "-O1", "-o", program, source, *" ".join(of("cc")).split()], check=True)
    folders = [tmp_path / "native", tmp_path / "traced"]
    for folder in folders:
        folder.mkdir()
        for rest in of("before"):
            name, text = rest.split(" ", 1)
            (folder / name).write_text(text)
    try:
        native = processes.run([program], cwd=folders[0])
    except OSError:
        if "i386" not in of("needs"):
            raise
        pytest.skip("this kernel runs no 32-bit programs")
    if "i386" in of("needs") and native.returncode < 0:
        pytest.skip("this kernel has no 32-bit gate")
    done, trace = record(program, cwd=folders[1])
    assert done.stdout == native.stdout, done.stderr
    exit_code = native.returncode if native.returncode >= 0 else 128 - native.returncode
    assert done.returncode == int(of("exit")[0] if of("exit") else exit_code) == exit_code
    wrong = [f"{word}: {rest}: {message}" for word, rest in wanted
             if (message := check(trace, folders[1], word, rest))]
    assert not wrong, "\n".join(wrong)
    assert trace.complete == (of("complete") != ["no"]), trace.text.splitlines()[0]


def test_python_imports(record):
    """Closed world: what python opened, probed and listed is all there, and the output is its own."""
    code = "import json, sys; print(json.dumps(sys.argv)); sys.exit(3)"
    done, trace = record(PYTHON, "-c", code, "a", "")
    assert done.returncode == 3
    assert done.stdout == b'["-c", "a", ""]\n'
    root = trace.processes[0]
    assert f"argv: '{PYTHON}' '-c' '{code}' 'a' ''" in root["lines"]
    assert trace.complete
    executable = os.path.realpath(PYTHON)
    assert {"read", "mapped-exec", "executed"} <= trace.bits(executable)
    assert {"read", "mapped-exec"} <= trace.bits("/usr/lib/x86_64-linux-gnu/libc.so.6")
    assert "absent" in trace.bits("/etc/ld.so.preload")
    assert any("listed" in p["bits"] and "json" in trace.names[name]
               for name, p in trace.paths.items())


@pytest.mark.parametrize("code", [
    "import ctypes.util; print(ctypes.util.find_library('c'))",
    "import multiprocessing as m\n"
    "def f(x): return x * x\n"
    "if __name__ == '__main__':\n"
    "    with m.Pool(2) as p: print(p.map(f, range(10)))",
    "import threading, subprocess\n"
    "t = [threading.Thread(target=lambda: subprocess.run(['/bin/true'])) for i in range(8)]\n"
    "[x.start() for x in t]; [x.join() for x in t]; print('done')",
    "import os, tempfile\n"
    "with tempfile.TemporaryDirectory() as d:\n"
    "    open(os.path.join(d, 'x'), 'w').write('y'); print(os.listdir(d))",
    "import asyncio\n"
    "async def f():\n"
    "    p = await asyncio.create_subprocess_exec('echo', 'hi', stdout=-1)\n"
    "    print(await p.communicate())\n"
    "asyncio.run(f())",
], ids=["find_library", "multiprocessing", "threads_spawn", "tempfile", "asyncio"])
def test_python_same_output(record, tmp_path, code):
    (tmp_path / "program.py").write_text(code)
    native = processes.run([PYTHON, "program.py"], cwd=tmp_path)
    done, trace = record(PYTHON, "program.py")
    assert done.stdout == native.stdout, done.stderr
    assert done.returncode == native.returncode == 0
    assert trace.complete, trace.text.splitlines()[0]
    assert "read" in trace.bits(str(tmp_path / "program.py"))


def test_program_starts_as_ever(tool, tmp_path):
    """Descriptors, signals, limits, priorities: nothing of the recorder is inherited."""
    code = ("import os, resource\n"
            "keep = ('SigP', 'SigB', 'SigI', 'SigC', 'Shd', 'Cap', 'Umask', 'Cpus_allowed_list', 'Groups', 'NoNewPrivs')\n"
            "print([l for l in open('/proc/self/status') if l.startswith(keep)])\n"
            "print(sorted(os.listdir('/proc/self/fd')), os.nice(0), sorted(os.environ))\n"
            "print([resource.getrlimit(i) for i in range(16)])\n"
            "print(os.getpgrp() == os.getpid(), os.getcwd())")
    command = [PYTHON, "-c", code]
    plain = {"cwd": tmp_path, "stderr": None, "start_new_session": False}
    native = processes.run(command, **plain)
    traced = processes.run([tool, "run", tmp_path / "o", *command], **plain)
    assert traced.returncode == 0
    if os.geteuid() != 0:
        traced.stdout = traced.stdout.replace(b"NoNewPrivs:\\t1", b"NoNewPrivs:\\t0")
    assert traced.stdout == native.stdout


def test_environment_stays_private(record, tmp_path):
    done, trace = record("/bin/true", env={"TOKEN": "hush-hush", "PATH": "/usr/bin"})
    assert done.returncode == 0
    out = tmp_path / "out.trace"
    assert out.stat().st_mode & 0o777 == 0o600
    assert b"hush-hush" in out.read_bytes()
    assert "hush-hush" not in trace.text
    assert "environment: TOKEN PATH" in trace.processes[0]["lines"]


def test_own_file_is_not_listed(record, tmp_path):
    (tmp_path / "data").write_text("")
    done, trace = record("/bin/ls", "-a")
    assert done.stdout == b".\n..\ndata\nout.trace\n"
    assert trace.names[str(tmp_path)] == {"data"}


def test_stdout_to_stderr(record):
    done, _ = record("/bin/echo", "text", options=["-e"])
    assert (done.stdout, done.stderr) == (b"", b"text\n")


def test_program_missing(tool, tmp_path):
    for program, word in (("no-such-program", b"not found"), ("./absent", b"No such file"),
                          (str(tmp_path), b"")):
        done = processes.run([tool, "run", tmp_path / "o", program])
        assert done.returncode == 2
        assert word in done.stderr
        assert not (tmp_path / "o").exists()


def test_not_a_program(tool, tmp_path):
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o755)
    done = processes.run([tool, "run", tmp_path / "o", tmp_path / "text"])
    assert done.returncode == 2
    assert b"Exec format error" in done.stderr
    assert not (tmp_path / "o").exists()
    (tmp_path / "o").write_text("an older trace")
    processes.run([tool, "run", tmp_path / "o", tmp_path / "text"])
    assert (tmp_path / "o").read_text() == "an older trace"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o", "text"]


def limit_files(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_room_for_the_trace(tool, tmp_path):
    """A limit on file sizes stands for a full disk: the program runs to its end all the same."""
    done = processes.run([tool, "run", tmp_path / "o", "/bin/true"], preexec_fn=limit_files(4096))
    assert done.returncode == 2
    assert b"creating trace" in done.stderr and b"File too large" in done.stderr
    assert not list(tmp_path.iterdir())

    code = ("import os\n"
            "for i in range(3000): os.path.exists('/nothing/here/' + str(i))\n"
            "print('done')")
    done = processes.run([tool, "run", tmp_path / "o", PYTHON, "-c", code], cwd=tmp_path, preexec_fn=limit_files(70000))
    assert done.stdout == b"done\n"
    assert done.returncode == 2
    assert b"not complete" in done.stderr
    assert not read(tool, tmp_path / "o").complete


def test_time_limit(record):
    start = time.monotonic()
    done, trace = record("/bin/sleep", "500", options=["-s", "1"])
    assert done.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - start < processes.WAIT
    assert trace.complete
    assert any("time of 1000 milliseconds" in note for note in trace.notes)


def test_time_limit_ignored_sigterm(record):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(500)"
    for seconds in ("1", "4", "16"):  # a machine at work may need more than one second until it is deaf
        done, _ = record(PYTHON, "-c", code, options=["-s", seconds])
        if done.stdout:
            break
    assert done.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_is_forwarded(tool, tmp_path, number):
    code = ("import signal, time\n"
            f"signal.signal({int(number)}, lambda *a: exit(9))\n"
            "print('ready', flush=True)\n"
            "while True: time.sleep(.05)")  # a signal right before a sleep does not cut that short
    with processes.Background([tool, "run", tmp_path / "o", PYTHON, "-c", code], tmp_path) as process:
        process.line("^ready$")
        process.signal(number)
        assert process.wait() == 9
    assert read(tool, tmp_path / "o").complete


def test_terminal_interrupt_reaches_the_program_once(tool, tmp_path):
    """Ctrl-C goes to the whole foreground group: the program ends by its own handler, the trace is
    whole."""
    code = ("import signal, time\n"
            "n = []\n"
            "signal.signal(2, lambda *a: n.append(1))\n"
            "print('ready', flush=True)\n"
            "while not n: time.sleep(.05)\n"
            "time.sleep(1)\n"  # for another one
            "exit(40 + len(n))")
    with processes.Terminal([tool, "run", tmp_path / "o", PYTHON, "-c", code], tmp_path) as terminal:
        terminal.until(lambda text: "ready" in text, "ready")
        terminal.interrupt()
        assert terminal.wait() == 41
    assert read(tool, tmp_path / "o").complete


def test_signals_to_the_own_group(record):
    """kill(0, ...) reaches the recorder too, which is in the group: it neither dies nor sends it on."""
    code = ("import os, signal, time\n"
            "n = []\n"
            "for s in (10, 12, 14, 15, 2, 40): signal.signal(s, lambda *a: n.append(a[0]))\n"
            "for s in (10, 12, 14, 15, 2, 40): os.kill(0, s)\n"
            "time.sleep(.5)\n"
            "print(sorted(n))")
    done, trace = record(PYTHON, "-c", code, options=["-s", "120"])
    assert done.stdout == b"[2, 10, 12, 14, 15, 40]\n"
    assert done.returncode == 0
    assert trace.complete


def test_ignored_signals(record):
    """SIGCHLD and SIGINT ignored by whoever starts it: so they are for the program, and its end is
    told all the same."""
    def ignore():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = ("import signal; print(signal.getsignal(17), signal.getsignal(2)); exit(6)")
    done, trace = record(PYTHON, "-c", code, preexec_fn=ignore)
    assert done.stdout == b"1 1\n" or done.stdout.count(b"SIG_IGN") == 2
    assert done.returncode == 6
    assert trace.complete


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1, 2)])
def test_closed_descriptors(tool, tmp_path, closed):
    code = "import os; exit(len(os.listdir('/proc/self/fd')))"
    def close():
        for fd in closed:
            os.close(fd)
    plain = {"preexec_fn": close, "stdout": None, "stderr": None}
    native = processes.run([PYTHON, "-c", code], **plain)
    done = processes.run([tool, "run", tmp_path / "o", PYTHON, "-c", code], **plain)
    assert done.returncode == native.returncode
    assert read(tool, tmp_path / "o").complete


def test_killed_recorder(tool, tmp_path):
    """SIGKILL: the program dies with it, and all that was recorded can be read."""
    code = "import os, time; open('mark', 'w'); print(os.getpid(), flush=True); time.sleep(50)"
    with processes.Background([tool, "run", tmp_path / "o", PYTHON, "-c", code], tmp_path) as process:
        handle = os.pidfd_open(int(process.line(r"^\d+$")))
        try:
            process.signal(signal.SIGKILL)
            process.wait()
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            assert poll.poll(processes.WAIT * 1000), "the program outlived its recorder"
        finally:
            os.close(handle)
    trace = read(tool, tmp_path / "o")
    assert not trace.complete
    assert {"created", "written"} <= trace.bits(str(tmp_path / "mark"))


def test_children_that_outlive_the_root(record, tmp_path):
    done, trace = record("/bin/sh", "-c", "(sleep 0.5; echo late > late) & exit 4")
    assert done.returncode == 4
    assert (tmp_path / "late").read_text() == "late\n"
    assert "created" in trace.bits(str(tmp_path / "late"))
    assert trace.complete


def test_trace_in_the_way(tool, tmp_path):
    (tmp_path / "folder").mkdir()
    done = processes.run([tool, "run", tmp_path / "folder", "/bin/true"])
    assert done.returncode == 2
    assert b"folder" in done.stderr
    done = processes.run([tool, "run", "/dev/full", "/bin/true"])
    assert done.returncode == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_without_rights(tool, tmp_path, open_folders):
    """An ordinary user traces too; a file that he may not read is denied, not read."""
    tmp_path.chmod(0o777)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    copy = tmp_path / "tool"
    copy.write_bytes(pathlib.Path(tool).read_bytes())
    copy.chmod(0o755)
    somebody = {"user": 65534, "group": 65534, "extra_groups": []}
    if processes.run(["ls", copy], **somebody).returncode != 0:
        pytest.skip("another user cannot reach this folder")
    done = processes.run([copy, "run", tmp_path / "o", "/bin/cat", tmp_path / "secret"], **somebody)
    assert done.returncode == 1, done.stderr
    bits = read(tool, tmp_path / "o").bits(str(tmp_path / "secret"))
    assert "denied" in bits and "read" not in bits
