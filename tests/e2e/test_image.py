"""The library OS image holds nothing that an enclave cannot hold, and the scan that says so can fail."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCAN = ROOT / "tools/scan_image.py"


def scan(image, *options):
    return subprocess.run(["/usr/bin/python3", SCAN, image, *options], stdout=subprocess.PIPE,
                          encoding="utf-8")


def test_library_os(sgxpy):
    done = scan(sgxpy.libos)
    assert done.returncode == 0, done.stdout


CLEAN = '__asm__(".globl _start\\n_start: mov $60, %eax\\nud2\\n");\n'
LINK = ["-static", "-no-pie", "-nostdlib", "-ffreestanding", "-Wl,--build-id=none", "-Wl,-z,noexecstack"]


def link(folder, text, *options):
    source, image = folder / "x.c", folder / "x.elf"
    source.write_text(text)
    subprocess.run(["gcc", "-O1", *LINK, source, "-o", image, *options], check=True)
    return image


def test_clean_image_passes(tmp_path):
    done = scan(link(tmp_path, CLEAN))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name, text, options, finding", [
    ("syscall", CLEAN + '__asm__("f: syscall");', [], "'syscall'"),
    ("cpuid", CLEAN + '__asm__("f: cpuid");', [], "'cpuid'"),
    ("int 0x80", CLEAN + '__asm__("f: int $0x80");', [], "'int'"),
    ("large frame", CLEAN + 'void f(void) { char a[9000]; __asm__ volatile("" : : "r"(a) : "memory"); }',
     ["-fno-stack-clash-protection"], "bytes of stack at once"),
    ("undefined", CLEAN + "void g(void); void f(void) { g(); }", ["-r"],
     "undefined symbol g"),
    ("writable and executable", CLEAN + "int g_x = 1;", ["-Wl,-N"], "writable and executable"),
    ("thread-local", CLEAN + "__thread int t_x = 1; int f(void) { return t_x; }", [], "PT_TLS"),
    ("not fixed", CLEAN, ["-fPIE", "-Wl,-pie"], "fixed address"),
], ids=lambda v: v if isinstance(v, str) and len(v) < 25 else "")
def test_finding(tmp_path, name, text, options, finding):
    done = scan(link(tmp_path, text, *options))
    assert done.returncode == 1, name
    assert finding in done.stdout


def test_allowed_function_may_hold_anything(tmp_path):
    image = link(tmp_path, CLEAN + '__asm__("known: cpuid\\nret\\n");')
    assert scan(image).returncode == 1
    assert scan(image, "--allow", "known").returncode == 0
