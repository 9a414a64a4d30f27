#!/usr/bin/python3
"""Checks who includes whom below src/: the folders are trust tiers, and this is their border.

abi <- core <- everything. enclave/ sees only those two; host/ and enclave/ share only abi/; softsgx
sees abi, core, util. Quoted includes name a file from src/ (`#include "core/sha256.h"`) or
from the tier's own folder; the freestanding tiers take no libc header but those gcc brings itself.
Prints one line per violation; exit code 1 if there is one.
"""

import argparse
import pathlib
import re
import sys

# What each folder of src/ may include besides itself.
ALLOWED = {
    "abi": set(),
    "core": {"abi"},
    "util": {"abi", "core"},
    "tracer": {"abi", "core", "util"},
    "manifest": {"abi", "core", "util", "tracer"},
    "signer": {"abi", "core", "util", "manifest"},
    "softsgx": {"abi", "core", "util"},
    "host": {"abi", "core", "util", "signer", "softsgx"},
    "enclave": {"abi", "core"},
    "cli": {"abi", "core", "util", "tracer", "manifest", "signer", "host"},
}
# softsgx is one backend of host/device and implements its interface: the one upward look there is.
EXCEPTIONS = {("softsgx", "host/device/device.h")}

# Headers that exist without a libc (C11, 4p6, and gcc's intrinsics), for the freestanding tiers.
FREESTANDING = {"float.h", "iso646.h", "limits.h", "stdalign.h", "stdarg.h", "stdbool.h", "stddef.h",
                "stdint.h", "stdnoreturn.h", "cpuid.h", "immintrin.h", "x86intrin.h", "assert.h"}
# The kernel's own ABI headers hold numbers and structs, no functions.
FREESTANDING_PREFIXES = ("linux/", "asm/", "asm-generic/")
FREESTANDING_FOLDERS = {"abi", "enclave"}
# core is built both ways; it may use what both give.
CORE_EXTRA = {"string.h", "errno.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def check_file(source, path, complain):
    folder = path.relative_to(source).parts[0]
    if folder not in ALLOWED:
        complain(path, 1, f"folder '{folder}' is not in the table of allowed includes")
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, name = match.groups()
        if kind == "<":
            if folder in FREESTANDING_FOLDERS or folder == "core":
                extra = CORE_EXTRA if folder == "core" else {"errno.h"} if folder == "enclave" else set()
                if name not in FREESTANDING | extra and not name.startswith(FREESTANDING_PREFIXES):
                    complain(path, number, f"{folder}/ is freestanding and includes <{name}>")
            continue
        if ".." in pathlib.PurePosixPath(name).parts:
            complain(path, number, f"\"{name}\" climbs out of its folder; name it from src/")
            continue
        other = owner(source, folder, path, name)
        if other is None:
            complain(path, number, f"\"{name}\" is in no folder of src/")
        elif other != folder and other not in ALLOWED[folder] and (folder, name) not in EXCEPTIONS:
            complain(path, number, f"{folder}/ may not include {other}/ (\"{name}\")")


def owner(source, folder, path, name):
    """The folder of src/ that `name` comes from, as the compiler looks it up; None if there is none."""
    parts = pathlib.PurePosixPath(name).parts
    if (path.parent / name).exists() or (source / folder / name).exists():
        return folder
    if parts[0] in ALLOWED:
        return parts[0]
    # A name without a folder that is no file is made by the build, in the folder that includes it.
    return folder if len(parts) == 1 else None


def check(source):
    """Returns the violations below source as (path, line, text)."""
    found = []
    files = sorted(p for p in source.rglob("*") if p.suffix in (".c", ".h", ".S"))
    if not files:
        raise SystemExit(f"{source}: no sources")
    for path in files:
        check_file(source, path, lambda *violation: found.append(violation))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent / "src")
    violations = check(parser.parse_args().source)
    for path, line, text in violations:
        print(f"{path}:{line}: {text}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
