"""The trust tiers' borders: src/ keeps them, and the check that says so can fail."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECK = ROOT / "tools/check_includes.py"


def check(source):
    return subprocess.run(["/usr/bin/python3", CHECK, source], stdout=subprocess.PIPE, encoding="utf-8")


def test_source_keeps_its_borders():
    done = check(ROOT / "src")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder, line", [
    ("enclave/vfs", '#include "util/err.h"'),
    ("enclave/vfs", '#include "host/run.h"'),
    ("enclave/sys", "#include <stdio.h>"),
    ("enclave", '#include "../host/run.h"'),
    ("host", '#include "enclave/arch/cpu.h"'),
    ("core", '#include "util/fs.h"'),
    ("core", "#include <stdlib.h>"),
    ("abi", '#include "core/attr.h"'),
    ("softsgx", '#include "host/run.h"'),
    ("tracer", '#include "manifest/build.h"'),
    ("signer", '#include "tracer/trace.h"'),
    ("newcomer", "#include <stdint.h>"),
])
def test_violation_is_found(tmp_path, folder, line):
    source = tmp_path / "src" / folder
    source.mkdir(parents=True)
    (source / "x.c").write_text(f"#include <stdint.h>\n{line}\n")
    done = check(tmp_path / "src")
    assert done.returncode == 1
    assert "x.c" in done.stdout and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("folder, line", [
    ("enclave/vfs", '#include "core/sha256.h"'),
    ("enclave/vfs", '#include "enclave/mm/mm.h"'),
    ("enclave/vfs", "#include <linux/futex.h>"),
    ("host/device", '#include "abi/ocall.h"'),
    ("cli", '#include "host/run.h"'),
    ("cli", "#include <stdio.h>"),
    ("core", "#include <immintrin.h>"),
])
def test_what_is_allowed_passes(tmp_path, folder, line):
    source = tmp_path / "src" / folder
    source.mkdir(parents=True)
    (source / "x.c").write_text(line + "\n")
    done = check(tmp_path / "src")
    assert done.returncode == 0, done.stdout


def test_no_sources_is_an_error(tmp_path):
    assert check(tmp_path).returncode != 0
