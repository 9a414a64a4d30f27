"""What all tests share: the program under test, and a signing key made once."""

import os
import pathlib
import pytest
import processes

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ("SGXPY_BUILD", "SGXPY_CHECK")
DROPPED = ("SOURCE_DATE_EPOCH", "LD_PRELOAD", "LD_LIBRARY_PATH", "COLUMNS", "LINES", "ENV", "BASH_ENV", "CDPATH", "GREP_OPTIONS",
           "TMPDIR", "MAKEFLAGS", "NO_COLOR", "MALLOC_PERTURB_")
processes.heed_signals()


class Sgxpy:
    """The program under test; SGXPY_BUILD names the build folder."""

    def __init__(self, build, key):
        self.build = build
        self.path = str(build / "sgxpy")
        self.libos = build / "src/enclave/sgxpy-libos.elf"
        self.key = key

    def __call__(self, *arguments, **options):
        """Runs it, stdin empty unless given; stdout and stderr come back as text."""
        return processes.run([self.path, *arguments], encoding="utf-8", errors="surrogateescape", **options)


@pytest.fixture(scope="session")
def build():
    folder = pathlib.Path(os.environ.get("SGXPY_BUILD", ROOT / "build")).resolve()
    assert (folder / "sgxpy").exists(), f"{folder}/sgxpy is missing: run ./dev build"
    return folder


@pytest.fixture(scope="session")
def signing_key(build, tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key.pem"
    processes.run([build / "sgxpy", "keygen", "-o", path], check=True)
    return path


@pytest.fixture(scope="session")
def sgxpy(build, signing_key):
    return Sgxpy(build, signing_key)


@pytest.fixture(scope="session", autouse=True)
def plain_environment():
    """The same for all who run the tests: their settings of Python, language and terminal are no matter."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("PYTHON", "LC_", "LANG", "XDG_", "SGXPY_")) and name not in KEPT or name in DROPPED:
                patch.delenv(name)
        patch.setenv("LANG", "C.UTF-8")
        patch.setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        patch.setenv("TERM", "dumb")
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield


@pytest.fixture(autouse=True)
def private_homes(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's own keys, caches and settings."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))


@pytest.fixture
def open_folders(tmp_path, tmp_path_factory):
    """Other users can reach tmp_path, if they can reach what the tests were given."""
    base = tmp_path_factory.getbasetemp()
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.is_relative_to(base) and not folder.name.startswith("pytest-of-"):
            break
        folder.chmod(folder.stat().st_mode | 0o055)
