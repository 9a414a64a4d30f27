#!/usr/bin/python3
"""The main job on examples/least_squares, step by step; then one byte changes, and the run is refused. Then
examples/report: a program that starts others, each in its own enclave.

Everything happens in a temporary copy of the example. Exit code 0 only if each step did what it should.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"


def step(text):
    print(f"\n== {text}", flush=True)


def size(path):
    return f"{path.stat().st_size:,} bytes"


class Demo:
    def __init__(self, sgxpy, folder):
        self.sgxpy = sgxpy
        self.folder = folder
        self.environment = {
            **os.environ,
            # The copy's own homes for keys and caches: nothing of the user's is read or written.
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.work = folder / "least_squares"

    def report(self):
        self.work = self.folder / "report"
        shutil.copytree(ROOT / "examples/report", self.work)

        step("a program that starts others: each gets its own manifest, measurement and enclave")
        self.run("trace", "-o", "report.trace", "--", PYTHON, "report.py")
        self.run("manifest", "report.trace", "-o", "report.cascade.json")
        self.run("keygen", "-o", "key.pem")
        self.run("sign", "report.cascade.json", "--key", "key.pem", "-o", "report.sgx")
        self.run("show", "report.sgx")
        self.run("run", "report.sgx")

        step("a file that only the worker may read changes: the tree is stopped")
        weights = self.work / "weights.txt"
        weights.write_text(weights.read_text().replace("3", "9"))
        self.run("run", "--quiet", "report.sgx", expect=3)
        print("\nrefused with exit code 3, as it should be")

    def run(self, *arguments, expect=0):
        print("$ sgxpy " + " ".join(arguments), flush=True)
        done = subprocess.run([self.sgxpy, *arguments], cwd=self.work, env=self.environment,
                              stdin=subprocess.DEVNULL,
                              stderr=subprocess.STDOUT)
        if done.returncode != expect:
            raise SystemExit(f"demo: exit code {done.returncode}, expected {expect}")

    def all(self):
        shutil.copytree(ROOT / "examples/least_squares", self.work)

        step("trace: run the program once, natively, and write down what it touches")
        self.run("trace", "-o", "fit.trace", "--", PYTHON, "fit.py")
        print(f"trace: {size(self.work / 'fit.trace')}")

        step("manifest: what the program may read and do, with every hash")
        self.run("manifest", "fit.trace", "-o", "fit.cascade.json")
        print(f"cascade: {size(self.work / 'fit.cascade.json')}")

        step("sign: lay out the enclave, measure it, sign it")
        self.run("keygen", "-o", "key.pem")
        self.run("sign", "fit.cascade.json", "--key", "key.pem", "-o", "fit.sgx")
        print(f"compiled manifest: {size(self.work / 'fit.sgx/nodes/0/manifest.bin')}")
        self.run("show", "fit.sgx")

        step("run: the same program in the enclave")
        self.run("run", "fit.sgx")

        step("one byte of data.csv changes (in this copy), and the program runs again")
        data = self.work / "data.csv"
        content = bytearray(data.read_bytes())
        position = len(content) // 2
        content[position] ^= 1
        data.write_bytes(content)
        print(f"{data}: the lowest bit of byte {position:,} is flipped")
        self.run("run", "--quiet", "fit.sgx", expect=3)
        print("\nrefused with exit code 3, as it should be")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sgxpy", required=True, type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sgxpy-demo-") as folder:
        demo = Demo(str(options.sgxpy.resolve()), pathlib.Path(folder).resolve())
        demo.all()
        demo.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
