"""Runs each program of this folder natively (the oracle), then traced, then in the enclave, also with
--poison: the same output and exit code each time.

A program is a .py or .c file. Comment lines that hold `behave:` say what it needs, shell-like:

    behave: args a 'b c'          arguments
    behave: env NAME=VALUE        environment, for all three runs (pinned with --env)
    behave: stdin TEXT            standard input, \\n escapes allowed; else /dev/null
    behave: options --threads 9   options of `sgxpy manifest`
    behave: run --poison          options of `sgxpy run`
    behave: cc -static            more flags for gcc
    behave: needs numpy           skipped where this module is missing
    behave: with FILE             puts this file of with/ (or a neighbour) beside the program
"""

import difflib
import importlib.util
import os
import pathlib
import shlex
import shutil
import subprocess

import processes
import pytest

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
PROGRAMS = sorted(p for p in HERE.iterdir()
                  if p.suffix in (".py", ".c") and not p.name.startswith(("test_", "conftest")))


class Program:
    """A program, and what its `behave:` lines ask for."""

    def __init__(self, path):
        self.path = path
        self.args, self.options, self.run_options, self.cc = [], [], [], []
        self.environment = {}
        self.stdin = b""
        self.companions = []
        self.modes = [[], ["--poison"]]
        for line in path.read_text(encoding="utf-8").splitlines():
            if "behave:" in line:
                self.directive(line.partition("behave:")[2].strip().removesuffix("*/"))

    def directive(self, text):
        word, _, rest = text.partition(" ")
        words = shlex.split(rest)
        if word == "args":
            self.args += words
        elif word == "env":
            self.environment.update(item.split("=", 1) for item in words)
        elif word == "stdin":
            self.stdin = rest.strip().encode().decode("unicode_escape").encode("latin-1")
        elif word == "options":
            self.options += words
        elif word == "run":
            self.run_options += words
        elif word == "cc":
            self.cc += words
        elif word == "with":
            self.companions += words
        elif word == "needs":
            for module in words:
                if importlib.util.find_spec(module) is None:
                    pytest.skip(f"{module} is not installed")
        else:
            raise ValueError(f"{self.path.name}: unknown directive '{word}'")

    def command(self, folder):
        """Puts the program into folder; returns how to start it."""
        for name in self.companions:
            where = self.path.parent / "with" / name
            shutil.copy(where if where.exists() else self.path.parent / name, folder / name)
        if self.path.suffix == ".py":
            shutil.copy(self.path, folder / self.path.name)
            return [PYTHON, self.path.name, *self.args]
        program = folder / self.path.stem
        subprocess.run(["gcc", "-O1", "-g", "-Wall", "-Werror", "-D_GNU_SOURCE", "-pthread",
                        str(self.path), "-o", str(program), *self.cc], check=True)
        return [f"./{program.name}", *self.args]


def snapshot(folder):
    return {p.relative_to(folder) for p in folder.rglob("*")}


def restore(folder, names):
    """Removes what a run left behind, so that the next one starts alike."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.relative_to(folder) not in names:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def compare(oracle, output, where):
    if output != oracle:
        lines = difflib.unified_diff(oracle.splitlines(), output.splitlines(), "native", where, n=0,
                                     lineterm="")
        pytest.fail("\n".join(lines), pytrace=False)


def check_same_as_native(path, sgxpy, tmp_path):
    program = Program(path)
    work = tmp_path / "work"
    work.mkdir()
    command = program.command(work)
    before = snapshot(work)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "2",
        **{name: os.environ[name] for name in ("SGXPY_CHECK",) if name in os.environ},  # for who cleans up
        **program.environment,
    }
    side = tmp_path / "side"
    side.mkdir()
    trace, cascade, bundle = side / "p.trace", side / "p.cascade.json", side / "p.sgx"

    def run(arguments, expect=None):
        done = processes.run(arguments, cwd=work, env=environment, input=program.stdin)
        restore(work, before)
        if expect is not None:
            assert done.returncode == expect, done.stderr.decode(errors="replace")
        return done

    native = run(command)
    oracle = native.stdout.decode(errors="replace")
    # A shell's view of a program killed by a signal is what sgxpy gives.
    code = native.returncode if native.returncode >= 0 else 128 - native.returncode
    assert b"Traceback" not in native.stderr, native.stderr.decode(errors="replace")

    traced = run([sgxpy.path, "trace", "-o", str(trace), "--", *command])
    compare(oracle, traced.stdout.decode(errors="replace"), "under the tracer")
    assert traced.returncode == code, traced.stderr.decode(errors="replace")

    pins = [word for name in program.environment for word in ("--env", f"{name}={program.environment[name]}")]
    run([sgxpy.path, "manifest", str(trace), "-o", str(cascade), *pins, *program.options], 0)
    run([sgxpy.path, "sign", str(cascade), "--key", str(sgxpy.key), "-o", str(bundle)], 0)
    for mode in program.modes:
        inside = run([sgxpy.path, "run", "--device", "soft", *mode, *program.run_options, str(bundle)])
        errors = inside.stderr.decode(errors="replace")
        where = " ".join(["in the enclave", *mode])
        compare(oracle, inside.stdout.decode(errors="replace"), f"{where}\n{errors}")
        assert inside.returncode == code, f"{where}\n{errors}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.name)
def test_same_as_native(path, sgxpy, tmp_path):
    check_same_as_native(path, sgxpy, tmp_path)
