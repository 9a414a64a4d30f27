"""What all tests share: the program under test, and a signing key made once."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Sgxpy:
    """The program under test; SGXPY_BUILD names the build folder."""

    def __init__(self, build, key):
        self.build = build
        self.path = str(build / "sgxpy")
        self.libos = build / "src/enclave/sgxpy-libos.elf"
        self.key = key

    def __call__(self, *arguments, timeout=120, **options):
        """Runs it, stdin empty unless given; stdout and stderr come back as text."""
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([self.path, *map(str, arguments)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, encoding="utf-8",
                              errors="surrogateescape", **options)


@pytest.fixture(scope="session")
def build():
    folder = pathlib.Path(os.environ.get("SGXPY_BUILD", ROOT / "build")).resolve()
    assert (folder / "sgxpy").exists(), f"{folder}/sgxpy is missing: run ./dev build"
    return folder


@pytest.fixture(scope="session")
def signing_key(build, tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key.pem"
    subprocess.run([build / "sgxpy", "keygen", "-o", path], check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="session")
def sgxpy(build, signing_key):
    return Sgxpy(build, signing_key)


@pytest.fixture(autouse=True)
def private_homes(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's own keys, caches and settings."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
