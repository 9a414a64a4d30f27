"""The same inputs give the same bytes: cascade and bundle. (tests/unit/signer/check_reproducible.py does it
for the library OS, from two folders.)"""

import json
import subprocess

import pytest

PYTHON = "/usr/bin/python3"


@pytest.fixture
def traced(sgxpy, tmp_path):
    (tmp_path / "p.py").write_text("import json\nprint(json.dumps([1]))\n")
    assert sgxpy("trace", "-o", "p.trace", "--", PYTHON, "p.py", cwd=tmp_path).returncode == 0
    return tmp_path


def mrenclave(sgxpy, bundle):
    return json.loads(sgxpy("show", "--json", bundle).stdout)["nodes"][0]["mrenclave"]


def test_cascade_is_the_same(sgxpy, traced):
    for name in ("a.json", "b.json"):
        assert sgxpy("manifest", "p.trace", "-o", name, cwd=traced).returncode == 0
    a = (traced / "a.json").read_bytes()
    (traced / "a.json").unlink()
    assert sgxpy("manifest", "p.trace", "-o", "a.json", cwd=traced).returncode == 0
    assert a == (traced / "a.json").read_bytes() == (traced / "b.json").read_bytes()


def test_second_trace_gives_the_same_cascade(sgxpy, traced):
    assert sgxpy("manifest", "p.trace", "-o", "p.json", cwd=traced).returncode == 0
    first = (traced / "p.json").read_bytes()
    assert sgxpy("trace", "-o", "p.trace", "--", PYTHON, "p.py", cwd=traced).returncode == 0
    assert sgxpy("manifest", "p.trace", "-o", "p.json", cwd=traced).returncode == 0
    assert (traced / "p.json").read_bytes() == first


def test_bundle_is_the_same_on_the_same_day(sgxpy, traced, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert sgxpy("manifest", "p.trace", "-o", "p.json", cwd=traced).returncode == 0
    for name in ("a.sgx", "b.sgx"):
        assert sgxpy("sign", "p.json", "--key", sgxpy.key, "-o", name, cwd=traced).returncode == 0
    subprocess.run(["diff", "-r", "a.sgx", "b.sgx"], cwd=traced, check=True)
    date = json.loads(sgxpy("show", "--json", traced / "a.sgx").stdout)["nodes"][0]["date"]
    assert date == "20231114"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "no date")
    done = sgxpy("sign", "p.json", "--key", sgxpy.key, "-o", "c.sgx", cwd=traced)
    assert done.returncode == 2 and "SOURCE_DATE_EPOCH" in done.stderr


def test_mrenclave_knows_the_content(sgxpy, traced):
    """Anything that the manifest says changes MRENCLAVE; the signing date does not."""
    def build(*options, key=sgxpy.key):
        assert sgxpy("manifest", "p.trace", "-o", "p.json", *options, cwd=traced).returncode == 0
        assert sgxpy("sign", "p.json", "--key", key, "-o", "p.sgx", cwd=traced).returncode == 0
        return mrenclave(sgxpy, traced / "p.sgx")

    plain = build()
    assert build() == plain
    assert len({plain, build("--threads", "9"), build("--heap", "512M"), build("--env", "A=b"),
                build("--args", "host"), build("--debug")}) == 6
    second = traced / "second.pem"
    assert sgxpy("keygen", "-o", second).returncode == 0
    assert build(key=second) != plain
