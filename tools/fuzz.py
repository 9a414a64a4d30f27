#!/usr/bin/python3
"""Runs the fuzz targets with libFuzzer, ASan and UBSan: one named target, or each in turn.

New inputs go to build-fuzz/corpus/NAME, crashes to build-fuzz/crashes; fuzz/corpus is only read. Exit
code 1 if a target crashed.
"""

import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-fuzz"
OPTIONS = ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dwerror=false"]


def build():
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["meson", "setup", BUILD, *OPTIONS], cwd=ROOT, check=True,
                       env={**os.environ, "CC": "clang"}, stdout=subprocess.DEVNULL)


def targets():
    listed = subprocess.run(["ninja", "-C", BUILD, "-t", "targets", "all"], check=True,
                            stdout=subprocess.PIPE, encoding="utf-8").stdout
    names = {line.partition(":")[0] for line in listed.splitlines()}
    return sorted(name.removeprefix("fuzz/fuzz_") for name in names
                  if name.startswith("fuzz/fuzz_") and "." not in name)


def run(name, seconds):
    subprocess.run(["ninja", "--quiet", "-C", BUILD, f"fuzz/fuzz_{name}"], check=True)
    found = BUILD / "corpus" / name
    crashes = BUILD / "crashes"
    found.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    corpus = [str(found)]
    if (ROOT / "fuzz/corpus" / name).is_dir():
        corpus.append(str(ROOT / "fuzz/corpus" / name))
    print(f"fuzz: {name}, {seconds} seconds", flush=True)
    done = subprocess.run([BUILD / f"fuzz/fuzz_{name}", f"-max_total_time={seconds}", "-print_final_stats=0",
                           "-verbosity=0", f"-artifact_prefix={crashes}/{name}-", *corpus])
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?")
    parser.add_argument("seconds", nargs="?", type=int, default=60, help="for each target (60)")
    options = parser.parse_args()
    build()
    known = targets()
    if options.target and options.target not in known:
        parser.error(f"there is no target '{options.target}'; there are {', '.join(known)}")
    crashed = [name for name in known if options.target in (None, name) and not run(name, options.seconds)]
    for name in crashed:
        print(f"fuzz: {name} crashed; the input is in {BUILD}/crashes")
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
