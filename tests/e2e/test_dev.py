"""./dev: its verbs, and that it installs exactly what is missing. Package tools are stand-ins that only
write down how they were called."""

import os
import pathlib
import subprocess

import pytest
from processes import run as run_command

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERBS = ["demo", "check", "build", "bench", "soak", "suites", "fuzz", "format", "lint", "clean"]


def dev(*words, path=None, **more):
    environment = {**os.environ, "PATH": path or os.environ["PATH"], **more}
    return run_command([ROOT / "dev", *words], env=environment, stderr=subprocess.STDOUT, encoding="utf-8")


def test_lists_its_verbs():
    done = dev()
    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == VERBS
    assert all(len(line.split()) > 3 for line in lines)


def test_unknown_verb():
    done = dev("frobnicate")
    assert done.returncode == 2 and "'frobnicate'" in done.stdout and "  check" in done.stdout


@pytest.fixture
def tools(tmp_path):
    """Stand-ins; installed holds what dpkg-query knows, calls what was done."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "installed").write_text("")
    (tmp_path / "calls").write_text("")

    def tool(name, text):
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)

    tool("dpkg-query", f'grep -qx "${{@: -1}}" {tmp_path}/installed && echo -n installed')
    tool("apt-get", f'echo "apt-get $DEBIAN_FRONTEND $*" >> {tmp_path}/calls')
    tool("apt-cache", f"test ! -e {tmp_path}/no-lists")
    tool("sudo", f'echo "sudo" >> {tmp_path}/calls; exec "$@"')
    tool("id", f"cat {tmp_path}/uid 2>/dev/null || echo 0")
    for name in ("meson", "ninja"):
        tool(name, "exit 0")
    return tmp_path


def run(tools):
    done = dev("build", path=f"{tools}/bin:/usr/bin:/bin", SGXPY_BUILD=str(tools / "build"))
    assert done.returncode == 0, done.stdout
    return done.stdout, (tools / "calls").read_text().splitlines()


def test_installs_what_is_missing(tools):
    (tools / "installed").write_text("gcc\nmeson\n")
    output, calls = run(tools)
    assert len(calls) == 1 and calls[0].startswith("apt-get noninteractive install -y")
    words = calls[0].split()
    assert "ninja-build" in words and "libelf-dev" in words
    assert "gcc" not in words and "meson" not in words
    assert "dev: installing: ninja-build" in output


def test_installs_nothing_if_all_is_there(tools):
    _, calls = run(tools)
    (tools / "installed").write_text("\n".join(calls[0].split("--no-install-recommends ")[1].split()) + "\n")
    (tools / "calls").write_text("")
    output, calls = run(tools)
    assert calls == [] and "installing" not in output


def test_fetches_package_lists_only_if_needed(tools):
    (tools / "no-lists").write_text("")
    _, calls = run(tools)
    assert [call.split()[2] for call in calls] == ["update", "install"]


def test_uses_sudo_when_not_root(tools):
    (tools / "uid").write_text("1000\n")
    _, calls = run(tools)
    assert calls[0] == "sudo" and calls[1].startswith("apt-get noninteractive install")


def test_ci_runs_check():
    text = (ROOT / ".ci/run").read_text()
    assert "exec ./dev check\n" in text.replace("&& exec", "exec")
