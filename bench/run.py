#!/usr/bin/python3
"""Measures native runs against runs in the enclave, alternating; prints the table of figures to reach
and writes bench/results.json. Verification is on; the device is the software one unless the machine
has another."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from servers import server_works

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
MIB = 1 << 20
BIG_FILE = 2 << 30

# Each program prints the seconds of what is measured, where that is not the whole run.
STAT_LOOP = """
import os, time
start = time.perf_counter()
for _ in range(100_000):
    os.stat("page.bin")
print(time.perf_counter() - start)
"""
OPEN_LOOP = """
import os, time
start = time.perf_counter()
for _ in range(20_000):
    fd = os.open("page.bin", os.O_RDONLY)
    os.read(fd, 4096)
    os.close(fd)
print(time.perf_counter() - start)
"""
MATMUL = """
import time
import numpy as np
a = np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000) / 1e6
start = time.perf_counter()
for _ in range(50):
    a @ a
print(time.perf_counter() - start)
"""
SEEK = """
import os, time
fd = os.open("big.bin", os.O_RDONLY)
start = time.perf_counter()
os.lseek(fd, 1_400_000_000, os.SEEK_SET)
page = os.read(fd, 4096)
print(time.perf_counter() - start)
assert len(page) == 4096
"""
SPAWN = """
import subprocess, time
subprocess.run(["/bin/true"])
start = time.perf_counter()
for _ in range(50):
    subprocess.run(["/bin/true"])
print(time.perf_counter() - start)
"""
FORK = """
import os, sys, time
size, count = int(sys.argv[1]), int(sys.argv[2])
touched = bytearray(size)
for i in range(0, size, 4096):
    touched[i] = 1
start = time.perf_counter()
for _ in range(count):
    pid = os.fork()
    if pid == 0:
        os._exit(len(touched) != size)
    assert os.waitpid(pid, 0)[1] == 0
print(time.perf_counter() - start)
"""
POOL = """
import multiprocessing, time
def small(x):
    return x + 1
if __name__ == "__main__":
    started = multiprocessing.Barrier(3)  # all of the pool: else one worker does it while the other still starts
    with multiprocessing.Pool(2, started.wait) as pool:
        started.wait()
        pool.map(small, range(100))
        start = time.perf_counter()
        done = pool.map(small, range(10_000))
        print(time.perf_counter() - start)
    assert done == list(range(1, 10_001))
"""
PIPE = """
import os, time
r, w = os.pipe()
block = bytes(range(256)) * 256
pid = os.fork()
if pid == 0:
    os.close(r)
    for _ in range((1 << 30) // len(block)):
        assert os.write(w, block) == len(block)
    os._exit(0)
os.close(w)
os.read(r, 1)
size, start = 1, time.perf_counter()
while data := os.read(r, 1 << 20):
    size += len(data)
print(time.perf_counter() - start)
assert size == 1 << 30 and os.waitpid(pid, 0)[1] == 0
"""


class Work:
    """One row of the table. measure: "wall" seconds of the whole process, "inner" what the program
    prints, "memory" peak bytes, or "rate" and "bytes a second", where more is better. The target is a ratio to
    native (at_least, where more is better), an absolute difference, or seconds
    in the enclave for each of `calls`; ratio and each may both be given. options: for manifest."""

    def __init__(self, name, command, measure, ratio=None, difference=None, each=None, calls=1,
                 files=None, options=(), at_least=None):
        self.name, self.command, self.measure, self.at_least = name, command, measure, at_least
        self.ratio, self.difference, self.each, self.calls = ratio, difference, each, calls
        self.files, self.options = files or {}, options
        self.native, self.enclave = [], []

    def figures(self):
        native, enclave = statistics.median(self.native), statistics.median(self.enclave)
        got = enclave - native if self.difference else enclave / native
        target = self.difference or self.ratio or self.at_least
        met = target is None or (got >= target if self.at_least else got <= target)
        return native, enclave, got, target, met and (self.each is None or enclave / self.calls <= self.each)


def script(text):
    return [PYTHON, "work.py"], {"work.py": text}


def works():
    page = {"page.bin": bytes(4096)}
    stat_command, stat_files = script(STAT_LOOP)
    open_command, open_files = script(OPEN_LOOP)
    matmul_command, matmul_files = script(MATMUL)
    seek_command, seek_files = script(SEEK)
    numpy = [PYTHON, "-c", "import numpy"]
    return [
        Work("python3 -c pass", [PYTHON, "-c", "pass"], "wall", ratio=1.8),
        Work("import numpy", numpy, "wall", ratio=1.4),
        Work("100,000 stat, loop", stat_command, "inner", ratio=0.8, files={**stat_files, **page}),
        Work("20,000 open+read+close, loop", open_command, "inner", ratio=0.8,
             files={**open_files, **page}),
        Work("matmul 50x 1000x1000", matmul_command, "wall", ratio=1.03, files=matmul_files),
        Work("page of a 2 GiB file", seek_command, "inner", difference=0.005,
             files={**seek_files, "big.bin": BIG_FILE}),
        Work("import numpy, peak memory", numpy, "memory", difference=80 * MIB),
        *process_works(),
    ]


def process_works():
    spawn_command, spawn_files = script(SPAWN)
    fork_command, fork_files = script(FORK)
    pool_command, pool_files = script(POOL)
    pipe_command, pipe_files = script(PIPE)
    return [
        Work("50x subprocess.run(/bin/true)", spawn_command, "inner", ratio=6, each=0.006, calls=50,
             files=spawn_files),
        Work("20x fork+wait, bare", [*fork_command, "0", "20"], "inner", each=0.012, calls=20,
             files=fork_files),
        Work("20x fork+wait, 50 MB touched", [*fork_command, "50000000", "20"], "inner", each=0.050,
             calls=20, files=fork_files),
        Work("fork+wait, 1 GB touched", [*fork_command, "1000000000", "1"], "inner", each=1.0,
             files=fork_files, options=("--heap", "2G")),
        Work("Pool(2).map, 10,000 items", pool_command, "inner", ratio=3, files=pool_files),
        Work("1 GB through a pipe", pipe_command, "inner", ratio=3, files=pipe_files),
    ]


class Bench:
    def __init__(self, sgxpy, folder):
        self.sgxpy = str(sgxpy)
        self.folder = folder
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def must(self, *arguments, cwd):
        done = subprocess.run([self.sgxpy, *arguments], cwd=cwd, env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise SystemExit(f"bench: sgxpy {' '.join(arguments)}: {done.stdout.decode()}")

    def prepare(self, work, index):
        folder = self.folder / str(index)
        folder.mkdir()
        for name, content in work.files.items():
            if isinstance(content, int):
                with open(folder / name, "wb") as f:
                    f.truncate(content)
                    f.seek(content // 2)
                    f.write(os.urandom(MIB))
            elif isinstance(content, str):
                (folder / name).write_text(content)
            else:
                (folder / name).write_bytes(content)
        side = self.folder / f"{index}.build"
        side.mkdir()
        trace, cascade, bundle = side / "w.trace", side / "w.json", side / "w.sgx"
        self.must("trace", "-o", str(trace), "--", *work.command, cwd=folder)
        self.must("manifest", str(trace), "-o", str(cascade), *work.options, cwd=folder)
        self.must("sign", str(cascade), "--key", str(self.folder / "key.pem"), "-o", str(bundle),
                  cwd=folder)
        return folder, bundle

    def run(self, command, folder):
        """Seconds of the whole run, peak bytes, and what it printed."""
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        output = process.stdout.read()
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        process.stderr.close()
        if process.returncode != 0:
            raise SystemExit(f"bench: {command}: exit code {process.returncode}\n{errors.decode()}")
        return seconds, usage.ru_maxrss * 1024, output

    def sample(self, work, command, folder):
        seconds, peak, output = self.run(command, folder)
        return {"wall": seconds, "memory": peak}.get(work.measure) or float(output)

    def all(self, rows, runs):
        self.must("keygen", "-o", str(self.folder / "key.pem"), cwd=self.folder)
        for index, work in enumerate(rows):
            print(f"bench: {work.name}", file=sys.stderr, flush=True)
            folder, bundle = self.prepare(work, index)
            inside = [self.sgxpy, "run", "--quiet", str(bundle)]
            for number in range(runs + 1):
                native = self.sample(work, work.command, folder)
                enclave = self.sample(work, inside, folder)
                if number:  # the first pair only warms the caches
                    work.native.append(native)
                    work.enclave.append(enclave)
            shutil.rmtree(folder)


def shown(value, measure):
    if measure == "memory":
        return f"{value / MIB:.1f} MiB"
    if measure == "rate":
        return f"{value:.0f}/s"
    if measure == "bytes a second":
        return f"{value / 1e6:.0f} MB/s"
    return f"{value * 1000:.2f} ms" if value < 1 else f"{value:.3f} s"


def table(rows):
    lines = [("work", "native", "enclave", "result", "target", "")]
    for work in rows:
        native, enclave, got, target, met = work.figures()
        if work.difference:
            result, wanted = "+" + shown(got, work.measure), "+" + shown(target, work.measure)
            miss = f"missed by {shown(got - target, work.measure)}"
        else:
            result, wanted = f"{got:.2f}x", f"{target:.2f}x" if target else ""
            miss = f"missed by {abs(got - target):.2f}x" if target and not met else "missed"
            if work.at_least:
                wanted = "at least " + wanted
        if work.each:
            each = enclave / work.calls
            result += f", {each * 1000:.1f} ms each"
            wanted = f"{wanted}, {work.each * 1000:.0f} ms each".lstrip(", ")
            if each > work.each:
                miss += f" by {(each - work.each) * 1000:.1f} ms each"
        lines.append((work.name, shown(native, work.measure), shown(enclave, work.measure), result,
                      wanted, "met" if met else miss))
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    for line in lines:
        first = line[0].ljust(widths[0])
        print("  ".join([first, *(cell.rjust(w) for cell, w in zip(line[1:5], widths[1:5])), line[5]]))


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip() or None


def cpu():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def save(rows, sgxpy, runs, path):
    doctor = subprocess.run([sgxpy, "doctor", "--json"], stdout=subprocess.PIPE).stdout
    result = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "kernel": platform.release(),
        "cpu": cpu(),
        "cpus": os.cpu_count(),
        "device": json.loads(doctor)["device"]["kind"],
        "runs": runs,
        "rows": [],
    }
    for work in rows:
        native, enclave, got, target, met = work.figures()
        result["rows"].append({
            "name": work.name,
            "measure": work.measure,
            "unit": {"memory": "bytes", "rate": "requests a second",
                     "bytes a second": "bytes a second"}.get(work.measure, "seconds"),
            "native": native,
            "enclave": enclave,
            "result": got,
            "target": target,
            "target_is": "difference" if work.difference else "least ratio" if work.at_least else "ratio",
            "calls": work.calls,
            "each_target": work.each,
            "met": met,
            "native_samples": work.native,
            "enclave_samples": work.enclave,
        })
    path.write_text(json.dumps(result, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sgxpy", required=True, type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=7, help="pairs of runs (7)")
    parser.add_argument("--only", help="rows whose name contains this; writes no results")
    options = parser.parse_args()
    if options.runs < 7 and not options.only:
        parser.error("at least 7 runs give a median")
    rows = [w for w in works() if not options.only or options.only in w.name]
    servers = [s for s in server_works(lambda name, measure, **target: Work(name, None, measure, **target))
               if not options.only or options.only in s.name]
    # Not below /tmp, which is scratch in the enclave.
    sgxpy = options.sgxpy.resolve()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=sgxpy.parent) as folder:
        bench = Bench(sgxpy, pathlib.Path(folder))
        bench.all(rows, options.runs)
        for index, server in enumerate(servers):
            print(f"bench: {server.name}", file=sys.stderr, flush=True)
            (bench.folder / f"server{index}").mkdir()
            server.run(bench, bench.folder / f"server{index}", options.runs)
            rows += server.rows
    table(rows)
    if not options.only:
        save(rows, sgxpy, options.runs, ROOT / "bench/results.json")
        print("written to bench/results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
