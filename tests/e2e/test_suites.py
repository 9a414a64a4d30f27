"""A sample of NumPy's and CPython's own tests, natively and in the enclave (`./dev suites` runs all)."""

import pathlib
import subprocess

import pytest
from processes import run

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.timeout(1300)
def test_sample(sgxpy):
    done = run(["/usr/bin/python3", ROOT / "tools/suites.py", "--sgxpy", sgxpy.path, "--sample", "--timeout", "600"], 1200,
               stderr=subprocess.STDOUT, encoding="utf-8")
    assert done.returncode == 0, done.stdout
    assert "NumPy: " in done.stdout and "CPython: " in done.stdout


def test_comparison_finds_differences():
    """The comparison can fail: a result that differs is counted."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tools")!r})
import suites
native = "PASSED a.py::test_x\\nPASSED a.py::test_y\\n2 passed in 1s"
inside = "PASSED a.py::test_x\\nFAILED a.py::test_y - boom\\n1 failed, 1 passed in 1s"
parse = suites.parse_pytest
bad = lambda a, b: suites.Comparison("x", parse(a), parse(b), 0, 0).bad()
assert bad(native, native) == 0
assert bad(native, inside) == 1
assert bad(native, "") == 1
"""
    run(["/usr/bin/python3", "-B", "-c", code], check=True, text=True)
