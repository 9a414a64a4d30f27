#!/usr/bin/python3
"""Runs NumPy's and CPython's own tests natively and in the enclave, and compares them test by test.

Prints a table of counts, and every test whose result differs. Exit code 0 only if none does.

All processes that a suite starts run in enclaves: one node for every Python, whatever it runs, and one for each other
program that the trace saw. The modules about processes (--only processes) and about servers (--only servers) run one by one.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PYTHON = "/usr/bin/python3"
NUMPY = ["numpy.core.tests.test_numeric", "numpy.core.tests.test_multiarray", "numpy.linalg", "numpy.fft"]
CPYTHON = ["test_dict", "test_json", "test_re", "test_math", "test_float", "test_struct",
           "test_threading", "test_queue", "test_zlib", "test_hashlib"]
PROCESSES = ["test_subprocess", "test_popen", "test_os", "test_posix", "test_fork1", "test_wait3", "test_wait4",
             "test_multiprocessing_fork", "test_multiprocessing_spawn", "test_concurrent_futures",
             "test_tempfile", "test_shutil", "test_pty", "test_signal"]
SERVERS = ["test_socket", "test_ssl", "test_selectors", "test_epoll", "test_poll", "test_select", "test_asyncio",
           "test_httpservers", "test_urllib2_localnet", "test_socketserver", "test_ftplib", "test_smtplib"]
# A sample that ends in seconds.
SAMPLE_NUMPY = ["numpy.core.tests.test_numeric"]
SAMPLE_CPYTHON = ["test_dict", "test_float", "test_struct", "test_queue"]

ONE_PYTHON = ["--merge", "python3.11", "--processes", "256"]


class Suite:
    """One command, what it needs, and how its output is read."""

    def __init__(self, name, command, environment, rules, parse, group=None):
        self.name, self.command, self.environment = name, command, environment
        self.rules, self.parse, self.group = rules, parse, group or name


def module_suite(module, group):
    # The VSOCK tests of test_socket hang natively too, where a hypervisor has one.
    ignored = ["-i", "ThreadedVSOCK*"] if module == "test_socket" else []
    if module == "test_socketserver":  # "network" is loopback there
        ignored = ["-u", "network"]
    network = ["--listen", "*", "--connect", "*"] if group == "servers" else []
    # It starts shell scripts that it has just written, under random names.
    scripts = ["--merge", "dash"] if module == "test_subprocess" else []
    return Suite(module, [PYTHON, "-m", "test", "-v", *ignored, module], {},
                 [*ONE_PYTHON, *scripts, "--threads", "48", "--heap", "1G", *network], parse_cpython, group)


def suites(options):
    numpy = SAMPLE_NUMPY if options.sample else NUMPY
    cpython = SAMPLE_CPYTHON if options.sample else CPYTHON
    found = [
        Suite("NumPy", [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--tb=native",
                        "--pyargs", *numpy],
              {"NPY_AVAILABLE_MEM": "1GB"}, [*ONE_PYTHON, "--heap", "4G", "--threads", "16"], parse_pytest),
        Suite("CPython", [PYTHON, "-m", "test", "-v", *cpython], {},
              [*ONE_PYTHON, "--heap", "4G", "--threads", "256"], parse_cpython),
    ]
    if not options.sample:
        for group, modules in (("processes", PROCESSES), ("servers", SERVERS)):
            found += [module_suite(m, group) for m in modules if not options.modules or m in options.modules]
    if options.only:
        found = [s for s in found if options.only.lower() == s.group.lower()]
    return found


# ---- results ------------------------------------------------------------------------------------

def parse_pytest(output):
    """Results by test from `-rA`; parametrized tests keep their identifiers."""
    results = {}
    for line in output.splitlines():
        match = re.match(r"(PASSED|FAILED|ERROR|XFAIL|XPASS) (\S+::.*?)(?: - .*)?$", line)
        if match:
            results[match.group(2)] = match.group(1).lower()
    counts = re.findall(r"(\d+) (passed|failed|skipped|error|errors|xfailed|xpassed)\b",
                        output.splitlines()[-1] if output.strip() else "")
    counts = {name.rstrip("s") if name == "errors" else name: int(n) for n, name in counts}
    return results, counts


def parse_cpython(output):
    """Results by test from `python -m test -v`."""
    results, module = {}, ""
    pending = None
    for line in output.splitlines():
        match = re.match(r"(?:\d+:\d+:\d+ )?(?:load avg: \S+ )?\[ *\d+/\d+(?:/\d+)?\] (test_\w+)", line)
        if match:
            module = match.group(1)
        # At the start of a line, or after what a test printed; not in the list of failures at the end.
        match = re.match(r"(\w+) \((\w+\.[\w.<>]+)\)(.*)$", line) or (
            not line.startswith(("FAIL:", "ERROR:")) and
            re.search(r"(?:^|\W)(\w+) \((test\.[\w.<>]+\.\1)\)(.*)$", line))
        if match:
            pending = f"{module}: {match.group(2)}"
            line = match.group(3)
        end = re.search(r"\.\.\. .*?(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)$", line) \
            or (pending and re.search(r"^(ok|FAIL|ERROR|skipped .*|expected failure)$", line))
        if pending and end:
            results[pending] = re.match(r"\w+( \w+)?", end.group(1)).group().lower()
            if results[pending].startswith("skipped"):
                results[pending] = "skipped"
            pending = None
    return results, dict(collections.Counter(results.values()))


def default_signals():
    """A shell's background jobs ignore SIGINT, which tests of it do not expect."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(command, folder, environment, timeout):
    """Exit code, or None after the timeout; output until then. All that it started is ended."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT, preexec_fn=default_signals,
                                   start_new_session=True)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0)
        return code, out.read().decode(errors="replace")


class NotBuilt(Exception):
    """One of the steps before the run in the enclave failed."""


class Runner:
    def __init__(self, sgxpy, folder, options):
        self.sgxpy, self.folder, self.options = str(sgxpy), folder, options
        # Where pytest keeps its folders; empty at the start of each run, so that all see the same.
        self.temporary = pathlib.Path(tempfile.gettempdir()) / f"{folder.name}-pytest"

    def environment(self, suite):
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8",
                "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1",
                "PYTHONHASHSEED": "0", "PYTEST_DEBUG_TEMPROOT": str(self.temporary),
                **{name: os.environ[name] for name in ("SGXPY_CHECK",) if name in os.environ},  # for who cleans up
                **suite.environment}

    def fresh(self):
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()

    def must(self, *arguments, environment, ok=(0,)):
        self.fresh()
        code, output = run([self.sgxpy, *arguments], self.folder / "work", environment, self.options.timeout)
        if code not in ok:
            raise NotBuilt(f"suites: sgxpy {' '.join(arguments)}: {code}\n{output[-3000:]}")

    def compare(self, suite):
        print(f"suites: {suite.name}", file=sys.stderr, flush=True)
        environment = self.environment(suite)
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        self.fresh()
        start = time.monotonic()
        code, native = run(suite.command, work, environment, self.options.timeout)
        # One module that hangs must not cost an hour.
        timeout = self.options.timeout
        if suite.group in ("processes", "servers"):
            timeout = min(timeout, 120 + 15 * (time.monotonic() - start))
        self.keep(suite, "native", native)
        try:
            bundle = self.build(suite, environment)
            self.fresh()
            inside_code, inside = run([self.sgxpy, "run", "--quiet", *self.options.run, str(bundle)],
                                      work, environment, timeout)
        except NotBuilt as e:
            print(e, file=sys.stderr)
            inside_code, inside = "not built", str(e)
        self.keep(suite, "enclave", inside)
        return Comparison(suite.name, suite.parse(native), suite.parse(inside), code, inside_code)

    def build(self, suite, environment):
        base = self.folder / suite.name
        # The traced run is the third that the tests see; its own exit code does not matter here.
        self.must("trace", "-o", f"{base}.trace", "--", *suite.command, environment=environment,
                  ok=range(256))
        pins = [f"--env={name}={environment[name]}"
                for name in ("PYTEST_DEBUG_TEMPROOT", *suite.environment)]
        self.must("manifest", f"{base}.trace", "-o", f"{base}.json", *suite.rules, *pins,
                  environment=environment)
        key = self.folder / "key.pem"
        if not key.exists():
            self.must("keygen", "-o", str(key), environment=environment)
        bundle = pathlib.Path(f"{base}.sgx")
        self.must("sign", f"{base}.json", "--key", str(key), "-o", str(bundle), environment=environment)
        return bundle

    def keep(self, suite, where, text):
        if self.options.logs:
            self.options.logs.mkdir(parents=True, exist_ok=True)
            (self.options.logs / f"{suite.name}.{where}.log").write_text(text)


class Comparison:
    def __init__(self, name, native, enclave, native_code, enclave_code):
        self.name = name
        self.native, self.native_counts = native
        self.enclave, self.enclave_counts = enclave
        self.codes = native_code, enclave_code
        self.found = self.differences()

    def differences(self):
        """(test, native, enclave) of each test that differs."""
        found = []
        for test in sorted(self.native.keys() | self.enclave.keys()):
            a, b = self.native.get(test, "not run"), self.enclave.get(test, "not run")
            if a != b:
                found.append((test, a, b))
        return found

    def print(self):
        kinds = sorted(self.native_counts.keys() | self.enclave_counts.keys())
        native_code, inside_code = ("timeout" if c is None else c for c in self.codes)
        print(f"\n{self.name}: exit codes native {native_code}, enclave {inside_code}")
        print(f"  {'':24}{'native':>8}{'enclave':>9}")
        for kind in kinds:
            print(f"  {kind:24}{self.native_counts.get(kind, 0):8}{self.enclave_counts.get(kind, 0):9}")
        print(f"  {'compared':24}{len(self.native):8}{len(self.enclave):9}")
        for test, a, b in self.found:
            print(f"  differs: {test}: {a}, in the enclave {b}")

    def bad(self):
        if not self.native or not self.enclave:
            return 1
        return len(self.found)


GOOD = ("ok", "passed", "expected failure", "xfailed", "xfail")
BAD = ("fail", "failed", "error", "unexpected success")


def markdown(comparisons):
    """The table for docs/, then what differs by module."""
    def counts(results, ended):
        kinds = [sum(r in kind for r in results.values()) for kind in (GOOD, BAD, ("skipped",))]
        return " / ".join(map(str, kinds)) + ("" if ended else ", timeout")
    lines = ["| module | native: passed / bad / skipped | in the enclave | differ |", "| --- | --- | --- | --- |"]
    for c in comparisons:
        lines.append(f"| {c.name} | {counts(c.native, c.codes[0] is not None)} | "
                     f"{counts(c.enclave, c.codes[1] is not None)} | {len(c.found)} |")
    lines += ["", "| module | test | native | in the enclave |", "| --- | --- | --- | --- |"]
    for c in comparisons:
        for test, a, b in c.found:
            lines.append(f"| {c.name} | {test.partition(': ')[2] or test} | {a} | {b} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sgxpy", required=True, type=pathlib.Path)
    parser.add_argument("--sample", action="store_true", help="a few modules only")
    parser.add_argument("--only", help="NumPy, CPython, processes or servers")
    parser.add_argument("--modules", type=lambda text: text.split(","), metavar="NAME,...",
                        help="of the modules about processes and servers only these")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write the table here")
    parser.add_argument("--logs", type=pathlib.Path, help="keep the tests' output in this folder")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds for one run (3600)")
    parser.add_argument("--run", action="append", default=[], metavar="OPTION",
                        help="option for `sgxpy run` (--run=--poison)")
    options = parser.parse_args()
    sgxpy = options.sgxpy.resolve()
    options.logs = options.logs and options.logs.resolve()
    comparisons = []
    # Not below /tmp, which is scratch in the enclave.
    with contextlib.ExitStack() as clean, \
            tempfile.TemporaryDirectory(prefix="suites-", dir=sgxpy.parent) as folder:
        runner = Runner(sgxpy, pathlib.Path(folder), options)
        clean.callback(shutil.rmtree, runner.temporary, ignore_errors=True)
        for suite in suites(options):
            comparison = runner.compare(suite)
            comparison.print()
            comparisons.append(comparison)
            if options.markdown:  # after each, so that nothing is lost
                options.markdown.write_text(markdown(comparisons))
    bad = sum(c.bad() for c in comparisons)
    print(f"\n{bad} differences")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
