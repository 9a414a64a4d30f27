"""The audit file of a real tree, and `manifest --from-audit`, which makes a proposal of it."""

import json
import re

import pytest

PYTHON = "/usr/bin/python3"

PROBES = """
import os, threading
many = open("mode").read().strip() == "many"

def probe(name):
    for i in range(4000 if many else 0):
        try:
            os.stat(f"/nothing/{name}/{i}")
        except OSError:
            pass

for k in range(3):
    if os.fork() == 0:
        threads = [threading.Thread(target=probe, args=(f"{k}/{n}",)) for n in range(2)]
        for t in threads: t.start()
        for t in threads: t.join()
        os._exit(0)
for _ in range(3):
    os.wait()
"""


def lines_of(folder, name="audit.log"):
    """All lines, oldest first."""
    files = sorted(folder.glob(name + ".*"), key=lambda p: -int(p.suffix[1:])) + [folder / name]
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


@pytest.mark.parametrize("size", ["0", "300K"])
def test_whole_and_in_order_under_load(sgxpy, tmp_path, size):
    """Three processes of two threads each, more paths than the enclave's set of those already told."""
    (tmp_path / "p.py").write_text(PROBES)
    (tmp_path / "mode").write_text("few")
    command = ["run", "--allow", "mode", "--audit", "audit.log", "--audit-size", size, "--audit-keep", "50",
               "--", PYTHON, "p.py"]
    done = sgxpy(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "mode").write_text("many")
    done = sgxpy(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = lines_of(tmp_path)
    assert [x["time"] for x in lines] == sorted(x["time"] for x in lines)
    told = {}
    for x in lines:
        found = re.fullmatch(r"/nothing/(\d/\d)/(\d+)", x.get("path", ""))
        if found and x["event"] == "absent":
            told.setdefault(found[1], []).append(int(found[2]))
    assert len(told) == 6
    for name, numbers in told.items():
        assert sorted(set(numbers)) == list(range(4000)), name
        assert numbers == sorted(numbers), name
    assert lines[-1]["event"] == "exit"
    rotated = list(tmp_path.glob("audit.log.*"))
    assert bool(rotated) == (size != "0")
    assert all(p.stat().st_size <= 300 << 10 and p.stat().st_mode & 0o777 == 0o600 for p in rotated)


@pytest.mark.parametrize("option, value", [("--audit-size", "100"), ("--audit-size", "x"), ("--audit-keep", "0"),
                                           ("--audit-keep", "1001")])
def test_wrong_options(sgxpy, tmp_path, option, value):
    done = sgxpy("run", option, value, "--", "/bin/true", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{option} '{value}'" in done.stderr
