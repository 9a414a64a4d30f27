#!/usr/bin/python3
"""Runs every test and counts: unit tests (plain build, then under ASan and UBSan), then pytest.

The last line is "N passed, N failed"; the exit code is 0 only if nothing failed and something ran.
A build that fails counts as one failed test, so that it cannot pass unnoticed.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"  # Debian's
START = time.monotonic()
LIMITS = {"build": 3000, "unit": 1800, "pytest": 1500, "test": 300}  # seconds; a whole check takes far less than their sum
MARK = "SGXPY_CHECK"  # variable that all have that is started: "this process.number of the run."


class Tally:
    def __init__(self):
        self.passed = 0
        self.failures = []

    def fail(self, name):
        self.failures.append(name)


def say(text):
    print(f"check: {time.monotonic() - START:5.0f} s  {text}", flush=True)


def mine(value):
    """Pids of the processes whose mark begins so."""
    found, begin = [], f"{MARK}={value}".encode()
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if any(word.startswith(begin) for word in path.read_bytes().split(b"\0")):
                found.append(int(path.parent.name))
    return found


def end_all(value):
    """Kills what is left of a run. Several rounds: who is killed may just have started another."""
    for _ in range(100):
        pids = mine(value)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            return
        time.sleep(0.05)


def give_up(number, _):
    """A signal to this process: nothing stays behind."""
    run.stopping = True
    end_all(f"{os.getpid()}.")
    raise SystemExit(128 + number)


def run(command, limit, environment=None):
    """Exit code, and output. After limit seconds the code is None, and the output ends with the processes there were.
    Nothing that it started is left. The output goes to a file: a pipe would be waited for as long as anyone holds it.
    """
    mark = f"{os.getpid()}.{next(run.numbers)}."
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, env={**(environment or os.environ), MARK: mark},
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            code, hung = process.wait(0 if run.stopping else limit), ""
        except subprocess.TimeoutExpired:
            code = None
            hung = f"\nno end within {limit} s; these processes were there:\n" + subprocess.run(
                ["ps", "-ww", "-o", "pid,ppid,sid,stat,etimes,wchan:20,args", "--forest", "-p",
                 ",".join(map(str, mine(mark) or [process.pid]))],
                stdout=subprocess.PIPE, encoding="utf-8", errors="replace").stdout
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            end_all(mark)
            process.wait()
        out.seek(0)
        return code, out.read().decode(errors="replace") + hung


run.numbers, run.stopping = itertools.count(), False


def build(folder, options, tally, what):
    """Configures and builds; False, and one failure counted, if that does not work."""
    say(what)
    commands = []
    if not (folder / "build.ninja").exists():
        commands.append(["meson", "setup", str(folder), *options])
    commands.append(["ninja", "-C", str(folder), "--quiet"])
    for command in commands:
        code, output = run(command, LIMITS["build"])
        if code != 0:
            sys.stdout.write(output)
            tally.fail(f"{what}: {' '.join(command)}")
            return False
    return True


def unit_tests(folder, tally, label, environment):
    say(f"unit tests ({label})")
    logs = folder / "meson-logs"
    log = logs / "testlog.json"
    if log.exists():
        log.unlink()
    # The limits in meson.build are those of a machine with nothing else to do.
    code, output = run(["meson", "test", "-C", str(folder), "--no-rebuild", "--quiet", "--print-errorlogs",
                        "--timeout-multiplier", "4"], LIMITS["unit"], {**os.environ, **environment})
    if code != 0:
        sys.stdout.write(output)
    if code is None:
        tally.fail(f"{label}: did not end")
    if not log.exists():
        tally.fail(f"{label}: no test ran")
        return
    count = 0
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["result"] in ("OK", "EXPECTEDFAIL"):
            count += 1
        elif entry["result"] != "SKIP":
            tally.fail(f"{label}: {entry['name']} ({entry['result']})")
    if count == 0:
        tally.fail(f"{label}: no test passed")
    tally.passed += count


def test_files(arguments):
    """The test files among files and folders; those that take longest first."""
    files = []
    for argument in arguments:
        path = ROOT / argument
        files += sorted(path.rglob("test_*.py")) if path.is_dir() else [argument]
    slow = ("test_tree", "test_tamper", "test_behave", "test_suites", "test_hostile", "test_run")
    return sorted(files, key=lambda f: next((i for i, s in enumerate(slow) if s in str(f)), len(slow)))


def run_pytest(path, number, scratch, environment, limit):
    """One file in one process; its output comes at its end. Whether it ended, and the report's path, None without one."""
    report = scratch / f"{number}.xml"
    code, output = run(
        [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rfE", "--tb=short", *limit,
         f"--junitxml={report}", f"--basetemp={scratch}/pytest-{number}", path], LIMITS["pytest"], environment)
    lines = output.splitlines()
    shown = lines if code != 0 else lines[-1:]
    name = path.relative_to(ROOT) if isinstance(path, pathlib.Path) else path
    say("\n".join([f"pytest {name}", *shown]))
    return code is not None, report if report.exists() else None


def pytest(folder, tally, arguments):
    # Not below /tmp, which is scratch in the enclave: the tests' files would not be the host's.
    place = "/var/tmp" if folder.is_relative_to("/tmp") else folder
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "SGXPY_BUILD": str(folder)}
    files = test_files(arguments)
    limit = [f"--timeout={LIMITS['test']}"]
    if run([PYTHON, "-c", "import pytest_timeout"], 60)[0] != 0:
        say("no pytest-timeout here (./dev check installs it): only each file has a limit")
        limit = []
    with tempfile.TemporaryDirectory(prefix="tests-", dir=place) as scratch, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        os.chmod(scratch, 0o755)  # some tests become another user
        reports = pool.map(lambda item: run_pytest(item[1], item[0], pathlib.Path(scratch), environment, limit),
                           enumerate(files))
        for path, (ended, report) in zip(files, reports):
            if not ended:
                tally.fail(f"pytest {path}: did not end")
            else:
                count_report(path, report, tally)


def count_report(path, report, tally):
    if report is None:
        tally.fail(f"pytest {path}: no report")
        return
    count = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            tally.fail(f"pytest: {name}")
        elif case.find("skipped") is None:
            count += 1
    if count == 0:
        tally.fail(f"pytest {path}: no test passed")
    tally.passed += count


def main():
    # In the background of a script, or under nohup: what the tests start must not inherit that.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        ignored = signal.getsignal(number) is signal.SIG_IGN
        signal.signal(number, (lambda *_: None) if ignored else give_up)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="build folder (build)")
    parser.add_argument("--no-asan", action="store_true", help="leave out the sanitizer build")
    parser.add_argument("tests", nargs="*", default=["tests/e2e", "tests/behave"],
                        help="what pytest runs")
    options = parser.parse_args()
    plain = (ROOT / options.build).resolve()
    sanitized = plain.with_name(plain.name + "-asan")
    tally = Tally()

    built = build(plain, [], tally, "build")
    if built:
        unit_tests(plain, tally, "unit", {})
    if not options.no_asan and build(
            sanitized, ["-Db_sanitize=address,undefined", "-Db_lundef=false"], tally,
            "build with ASan and UBSan"):
        unit_tests(sanitized, tally, "asan", {
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        })
    if built:
        pytest(plain, tally, options.tests)

    say("done")
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{tally.passed} passed, {len(tally.failures)} failed", flush=True)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
