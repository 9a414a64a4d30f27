"""As test_behave.py, for the programs in tree/: those that start other processes."""

import pathlib

import pytest
import test_behave

HERE = pathlib.Path(__file__).resolve().parent / "tree"
PROGRAMS = sorted(p for p in HERE.iterdir() if p.suffix in (".py", ".c"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.name)
def test_same_as_native(path, sgxpy, tmp_path):
    test_behave.check_same_as_native(path, sgxpy, tmp_path)
