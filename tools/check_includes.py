#!/usr/bin/python3
"""Checks who includes whom below src/: the folders are trust tiers, and this is their border.

abi <- core <- everything. enclave/ sees only those two; host/ and enclave/ share only abi/; softsgx
sees abi, core, util. Quoted includes name a file from src/ (`#include "core/sha256.h"`), or one in
the same folder's subtree; the freestanding tiers take no libc header but those gcc brings itself.
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
        target = pathlib.PurePosixPath(name)
        other = target.parts[0]
        if (folder, name) in EXCEPTIONS or other == folder:
            continue
        if len(target.parts) == 1:
            # A generated header, or a sibling file: it stays inside the folder.
            continue
        if ".." in target.parts:
            complain(path, number, f"\"{name}\" climbs out of its folder; name it from src/")
        elif other in ALLOWED and other not in ALLOWED[folder]:
            complain(path, number, f"{folder}/ may not include {other}/ (\"{name}\")")
        elif other not in ALLOWED and not (path.parent / name).exists():
            complain(path, number, f"\"{name}\" is in no folder of src/")


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
