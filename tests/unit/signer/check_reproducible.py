"""Builds the library OS twice, from copies of the source in two folders, with build folders that lie
elsewhere seen from the source, and compares the files byte for byte: neither MRENCLAVE nor the library
OS hash in a bundle may depend on where one builds.

Usage: check_reproducible.py SOURCE_ROOT
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

TARGET = "src/enclave/sgxpy-libos.elf"
SKIPPED = {".git", ".sgxpy", "__pycache__", ".cache"}


def skipped(folder, names):
    """Names that are no source: hidden state and build folders."""
    return {name for name in names
            if name in SKIPPED or os.path.exists(os.path.join(folder, name, "build.ninja"))}


def build(source, copy, out):
    shutil.copytree(source, copy, symlinks=True, ignore=skipped)
    for command in (["meson", "setup", out, copy, "-Dtests=false"], ["ninja", "-C", out, TARGET]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}:\n{done.stdout.decode(errors='replace')}")
    with open(os.path.join(out, TARGET), "rb") as file:
        return file.read()


def main():
    source = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="sgxpy-repro-") as folder:
        images = [
            build(source, os.path.join(folder, "a"), os.path.join(folder, "a", "build")),
            build(source, os.path.join(folder, "second", "checkout"), os.path.join(folder, "out")),
        ]
    hashes = [hashlib.sha256(image).hexdigest() for image in images]
    if images[0] != images[1]:
        first = next((i for i, (x, y) in enumerate(zip(*images)) if x != y), min(map(len, images)))
        sys.exit(f"two builds differ from byte {first} on: {hashes[0]} and {hashes[1]}")
    print(f"both builds give {hashes[0]}")


if __name__ == "__main__":
    main()
