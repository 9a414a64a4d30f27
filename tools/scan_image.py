#!/usr/bin/python3
"""Scans the library OS image for what an enclave cannot or must not hold.

No undefined symbol, no dynamic linking, no text relocation, no segment that is writable and
executable, no PT_TLS (TLS is the program's), and in its code no instruction that is #UD in an enclave
or that would leave it by another door than ENCLU, and no step of the stack beyond its guard pages. Needs binutils. Prints one line per finding; exit
code 1 if there is one.
"""

import argparse
import pathlib
import re
import subprocess
import sys

# SDM vol. 3D, "Illegal instructions inside an enclave": #UD, or a way out that nobody watches.
FORBIDDEN = {
    "syscall", "sysenter", "sysret", "sysexit", "int", "iret", "iretq", "iretd", "cpuid", "rdpmc", "in", "out",
    "ins", "outs", "insb", "insl", "insw", "outsb", "outsl", "outsw", "hlt", "cli", "sti", "lgdt",
    "lidt", "lldt", "ltr", "sgdt", "sidt", "sldt", "str", "invd", "wbinvd", "vmcall", "vmfunc",
    "encls", "enclv", "getsec", "swapgs", "rdmsr", "wrmsr", "lcall", "ljmp", "lret", "retf",
}
# What -fstack-clash-protection takes without touching it; the guard has two pages (abi/layout.h).
STACK_STEP_MAX = 4096
# The library OS's own x87 and vector state is the program's: only named islands may touch it. This
# scan does not look for that; the compiler's -mgeneral-regs-only does.


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                          env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout.decode()


def scan_headers(image):
    """Findings in the ELF header, the segments, the sections and the symbols."""
    header = output("readelf", "-hW", image)
    if not re.search(r"Type:\s+EXEC", header):
        yield "is not linked at a fixed address (ET_EXEC)"
    load = 0
    for line in output("readelf", "-lW", image).splitlines():
        fields = line.split()
        if not fields or not re.fullmatch(r"[A-Z_]+", fields[0]):
            continue
        kind = fields[0]
        if kind in ("INTERP", "DYNAMIC", "TLS"):
            yield f"has a PT_{kind} segment"
        if kind == "LOAD":
            load += 1
            flags = "".join(fields[6:-1])
            if {"W", "X"} <= set(flags.replace("E", "X")):
                yield f"has a segment that is writable and executable, at {fields[2]}"
    if load == 0:
        yield "has no PT_LOAD segment"
    for line in output("readelf", "-sW", image).splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[6] == "UND" and fields[7]:
            yield f"has the undefined symbol {fields[7]}"
    for line in output("readelf", "-rW", image).splitlines():
        if line.startswith("Relocation section"):
            yield f"is not fully linked: {line}"


def scan_code(image, allow):
    """Findings in the disassembly; allow holds names of functions that may hold anything."""
    function = "?"
    for line in output("objdump", "-d", "-M", "att", "--no-show-raw-insn", image).splitlines():
        named = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if named:
            function = named.group(1)
            continue
        instruction = re.match(r"\s*([0-9a-f]+):\s+(?:(?:rep|repz|repnz|lock|data16|cs|ds|notrack|rex\S*)\s+)*(\S+)",
                               line)
        if not instruction:
            continue
        address, name = instruction.groups()
        step = re.search(r"\ssub\s+\$0x([0-9a-f]{1,8}),%rsp", line)
        if step and int(step.group(1), 16) > STACK_STEP_MAX:
            yield f"takes {int(step.group(1), 16)} bytes of stack at once, at {address} in {function}"
        if name in FORBIDDEN and function not in allow:
            yield f"holds '{name}' at {address} in {function}"


def scan(image, allow=()):
    """Returns all findings as text."""
    return [*scan_headers(image), *scan_code(image, set(allow))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=pathlib.Path)
    parser.add_argument("--allow", action="append", default=[], metavar="FUNCTION",
                        help="a function that may hold such an instruction")
    options = parser.parse_args()
    findings = scan(str(options.image), options.allow)
    for finding in findings:
        print(f"{options.image}: {finding}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
