"""Bad input: the exit code that DESIGN promises, one line that names file and reason, and nothing
overwritten."""

import json
import os
import shutil
import stat
import subprocess

import pytest

PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def made(sgxpy, tmp_path_factory):
    """A trace, a cascade and a bundle of a small C program, in one folder."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "p.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", folder / "p.c", "-o", folder / "p"], check=True)
    environment = {**os.environ, "HOME": str(folder)}
    for arguments in (["trace", "-o", "p.trace", "--", "./p"],
                      ["manifest", "p.trace", "-o", "p.json"],
                      ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
        done = sgxpy(*arguments, cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
    return folder


USAGE = [
    # words, what stderr holds
    ([], "usage"),
    (["nonsense"], "there is no verb 'nonsense'"),
    (["run"], "missing"),
    (["run", "--"], "the command is missing"),
    (["run", "--no-such-option", "--", "true"], "there is no option '--no-such-option'"),
    (["run", "--threads", "0", "--", "true"], "--threads '0'"),
    (["run", "--heap", "lots", "--", "true"], "--heap 'lots'"),
    (["run", "--heap", "8M", "--", "/usr/bin/true"], "--heap '8M': 16M to 8192G is accepted"),
    (["run", "--device", "warp", "--", "true"], "accepted is auto, soft, kernel"),
    (["run", "--exec", "allow", "--", "true"], "accepted is deny"),
    (["run", "--args", "any", "--", "true"], "accepted is pinned, host"),
    (["run", "--", "no-such-program-anywhere"], "'no-such-program-anywhere'"),
    (["run", "--", "./no-such-program"], "'./no-such-program'"),
    (["run", "--", "/etc/passwd"], "'/etc/passwd'"),
    (["run", "/usr/bin/true"], "is no bundle"),
    (["run", "no-such.sgx"], "is no bundle, and there is no such file"),
    (["trace", "--", "true"], "-o FILE"),
    (["trace", "-o", "x.trace"], "the command is missing"),
    (["trace", "-o", "no/such/folder/x.trace", "--", "/usr/bin/true"], "no/such/folder"),
    (["trace", "-o", "x.trace", "--", "no-such-program-anywhere"], "no-such-program-anywhere"),
    (["manifest", "-o", "x.json"], "the trace is missing"),
    (["manifest", "x.trace"], "-o FILE"),
    (["manifest", "no.trace", "-o", "x.json"], "no.trace"),
    (["sign", "--key", "k", "-o", "x"], "the cascade is missing"),
    (["sign", "a.json", "-o", "x"], "--key FILE"),
    (["sign", "a.json", "--key", "k"], "-o FOLDER"),
    (["sign", "a", "b", "--key", "k", "-o", "x"], "'b' is too much"),
    (["show"], "missing"),
    (["show", "no-such-file"], "no-such-file"),
    (["show", "/etc/passwd"], "'/etc/passwd' is no bundle, no cascade and no trace"),
    (["show", "a", "b", "c"], "one bundle, cascade or trace at a time, and one NODE of it: 'c' is too much"),
    (["keygen"], "-o FILE"),
    (["keygen", "-o", "no/such/folder/key.pem"], "no/such/folder"),
    (["keygen", "x", "-o", "y"], "'x' is too much"),
    (["doctor", "x"], "'x' is too much"),
]


@pytest.mark.parametrize("words, text", USAGE, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_usage(sgxpy, tmp_path, words, text):
    done = sgxpy(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert text in done.stderr
    assert done.stdout == ""
    assert [p for p in tmp_path.iterdir() if p.name != ".sgxpy"] == []


@pytest.mark.parametrize("verb", ["run", "trace", "manifest", "sign", "show", "keygen", "doctor"])
def test_help(sgxpy, verb):
    done = sgxpy(verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"usage: sgxpy {verb} ")
    assert all(len(line) <= 120 for line in done.stdout.splitlines())


def test_help_and_version(sgxpy):
    done = sgxpy("--help")
    assert done.returncode == 0
    for verb in ("run", "trace", "manifest", "sign", "show", "keygen", "doctor"):
        assert f"\n  {verb} " in done.stdout
    assert sgxpy("--version").stdout.startswith("sgxpy 0.")


def test_full_output_is_an_error(sgxpy):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sgxpy.path, "--help"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"writing the output" in done.stderr


def test_doctor(sgxpy):
    done = sgxpy("doctor")
    assert done.returncode == 0, done.stdout
    for name in ("cpu", "leaf_12h", "/dev/sgx_enclave", "launch_control", "epc", "fsgsbase", "sha_ni",
                 "syscall_user_dispatch", "cpuid_faulting", "mmap_min_addr"):
        assert f"\n{name} " in "\n" + done.stdout
    assert "a run takes the" in done.stdout.splitlines()[-1]
    found = json.loads(sgxpy("doctor", "--json").stdout)
    assert found["device"]["kind"] in ("soft", "kernel") and found["fsgsbase"]["good"] is True


def test_key_is_private_and_never_overwritten(sgxpy, tmp_path):
    key = tmp_path / "key.pem"
    assert sgxpy("keygen", "-o", key).returncode == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    done = sgxpy("keygen", "-o", key)
    assert done.returncode == 2 and "not overwritten" in done.stderr
    assert key.read_bytes() == before


BAD_KEYS = {
    "empty": b"",
    "text": b"no key\n",
    "cut": None,
    "2048 bits": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt",
                  "rsa_keygen_pubexp:3"],
    "exponent 65537": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
    "elliptic curve": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
}


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_bad_key(sgxpy, made, tmp_path, kind):
    key = tmp_path / "bad.pem"
    content = BAD_KEYS[kind]
    if isinstance(content, list):
        content = subprocess.run(["openssl", *content], check=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL).stdout
    elif content is None:
        content = sgxpy.key.read_bytes()[:800]
    key.write_bytes(content)
    key.chmod(0o600)
    done = sgxpy("sign", made / "p.json", "--key", key, "-o", tmp_path / "x.sgx")
    assert done.returncode == 2 and str(key) in done.stderr
    assert not (tmp_path / "x.sgx").exists()


def test_key_that_others_can_read(sgxpy, made, tmp_path):
    key = tmp_path / "open.pem"
    key.write_bytes(sgxpy.key.read_bytes())
    key.chmod(0o644)
    done = sgxpy("sign", made / "p.json", "--key", key, "-o", tmp_path / "x.sgx")
    assert done.returncode == 2 and str(key) in done.stderr


@pytest.mark.parametrize("name, change", [
    ("empty", lambda b: b""),
    ("cut magic", lambda b: b[:6]),
    ("other magic", lambda b: b"XXXXXX" + b[6:]),
    ("other version", lambda b: b[:12] + b"\xff\0\0\0" + b[16:]),
    ("text", lambda b: b"this is no trace\n"),
])
def test_broken_trace(sgxpy, made, tmp_path, name, change):
    trace = tmp_path / "bad.trace"
    trace.write_bytes(change((made / "p.trace").read_bytes()))
    done = sgxpy("manifest", trace, "-o", tmp_path / "x.json")
    assert done.returncode == 2 and "bad.trace" in done.stderr, name
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x.json").exists()
    assert sgxpy("show", trace).returncode == 2


def change_json(text, change):
    value = json.loads(text)
    change(value)
    return json.dumps(value)


@pytest.mark.parametrize("name, change", [
    ("empty", lambda t: ""),
    ("no JSON", lambda t: t[:-30]),
    ("a list", lambda t: "[]"),
    ("other format", lambda t: change_json(t, lambda v: v.update(format="other"))),
    ("other version", lambda t: change_json(t, lambda v: v.update(version=999))),
    ("unknown key", lambda t: change_json(t, lambda v: v.update(surprise=1))),
    ("no nodes", lambda t: change_json(t, lambda v: v.update(nodes=[]))),
    ("nodes missing", lambda t: change_json(t, lambda v: v.pop("nodes"))),
    ("a wrong type", lambda t: change_json(t, lambda v: v["nodes"][0].update(label=7))),
    ("a key missing", lambda t: change_json(t, lambda v: v["nodes"][0].popitem())),
])
def test_broken_cascade(sgxpy, made, tmp_path, name, change):
    cascade = tmp_path / "bad.json"
    cascade.write_text(change((made / "p.json").read_text()))
    done = sgxpy("sign", cascade, "--key", sgxpy.key, "-o", tmp_path / "x.sgx")
    assert done.returncode == 2 and "bad.json" in done.stderr, name
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x.sgx").exists()


def copy_bundle(made, tmp_path):
    bundle = tmp_path / "x.sgx"
    subprocess.run(["cp", "-r", made / "p.sgx", bundle], check=True)
    return bundle


@pytest.mark.parametrize("name, change, code", [
    ("not JSON", lambda b: (b / "bundle.json").write_text("{"), 2),
    ("other format", lambda b: (b / "bundle.json").write_text(
        change_json((b / "bundle.json").read_text(), lambda v: v.update(format="x"))), 2),
    ("other version", lambda b: (b / "bundle.json").write_text(
        change_json((b / "bundle.json").read_text(), lambda v: v.update(version=2))), 2),
    ("other library OS", lambda b: (b / "bundle.json").write_text(
        change_json((b / "bundle.json").read_text(), lambda v: v.update(library_os="0" * 64))), 4),
    ("no bundle.json", lambda b: (b / "bundle.json").unlink(), 2),
    ("no manifest", lambda b: (b / "nodes/0/manifest.bin").unlink(), 2),
    ("no SIGSTRUCT", lambda b: (b / "nodes/0/sigstruct.bin").unlink(), 2),
    ("empty manifest", lambda b: (b / "nodes/0/manifest.bin").write_bytes(b""), 2),
    ("short SIGSTRUCT", lambda b: (b / "nodes/0/sigstruct.bin").write_bytes(b"\6" * 100), 2),
])
def test_broken_bundle(sgxpy, made, tmp_path, name, change, code):
    bundle = copy_bundle(made, tmp_path)
    change(bundle)
    done = sgxpy("run", bundle)
    assert done.returncode == code, done.stderr
    assert "x.sgx" in done.stderr, name
    if code == 4:
        assert "sign" in done.stderr and "again" in done.stderr


def test_nothing_else_is_overwritten_by_a_bundle(sgxpy, made, tmp_path):
    target = tmp_path / "precious"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    done = sgxpy("sign", made / "p.json", "--key", sgxpy.key, "-o", target)
    assert done.returncode == 2
    assert [p.name for p in target.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("words", [["trace", "-o", "mine", "--", "/usr/bin/true"], ["manifest", "p.trace", "-o", "mine"],
                                   ["manifest", "p.trace", "-o", "p.trace"],
                                   ["manifest", "--from-audit", "audit", "-o", "mine"]], ids=" ".join)
def test_an_output_costs_no_other_file(sgxpy, made, tmp_path, words):
    shutil.copy(made / "p.trace", tmp_path)
    (tmp_path / "mine").write_text("import os\n")
    (tmp_path / "audit").write_text("")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    done = sgxpy(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "so it is not overwritten; name another with -o" in done.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_outputs_replace_their_own_kind(sgxpy, made, tmp_path):
    (tmp_path / "p.json").touch()  # an empty one costs nothing
    for _ in range(2):
        for words in (["trace", "-o", "p.trace", "--", made / "p"], ["manifest", "p.trace", "-o", "p.json"]):
            done = sgxpy(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stderr


def test_bundle_is_replaced_by_a_new_one(sgxpy, made, tmp_path):
    bundle = copy_bundle(made, tmp_path)
    assert sgxpy("sign", made / "p.json", "--key", sgxpy.key, "-o", bundle).returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.sgx"]


@pytest.mark.parametrize("options", [["--trust", "x"], ["--key", "k"], ["--retrace"], ["--threads", "3"],
                                     ["--debug"], ["--heap", "1G"]])
def test_shaping_options_with_a_bundle(sgxpy, made, options):
    done = sgxpy("run", *options, made / "p.sgx")
    assert done.returncode == 2 and "is a bundle" in done.stderr


def test_arguments_for_a_pinned_bundle(sgxpy, made):
    done = sgxpy("run", made / "p.sgx", "more")
    assert done.returncode == 2 and "pinned" in done.stderr


def test_strace_needs_debug(sgxpy, made):
    done = sgxpy("run", "--strace", made / "p.sgx")
    assert done.returncode == 2 and "debug" in done.stderr


def test_kernel_device_where_there_is_none(sgxpy, made):
    if os.path.exists("/dev/sgx_enclave"):
        pytest.skip("this machine has the device")
    done = sgxpy("run", "--device", "kernel", made / "p.sgx")
    assert done.returncode == 4, done.stderr
    assert "--device kernel: no /dev/sgx_enclave" in done.stderr
    assert "this version does not drive the kernel's SGX device yet" in done.stderr and "--device soft" in done.stderr


def test_library_os_is_missing(sgxpy, made, tmp_path):
    done = sgxpy("run", "--libos", tmp_path / "none.elf", made / "p.sgx")
    assert done.returncode == 4 and "none.elf" in done.stderr


@pytest.mark.parametrize("rule", [
    ["--trust", "no/such/file"], ["--deny", "no/such/file"], ["--env", "LD_PRELOAD"],
    ["--env", "PYTHONPATH"], ["--package", "no-such-package-anywhere"], ["--trust", "/proc/self/status"],
])
def test_refused_rule(sgxpy, made, tmp_path, rule):
    done = sgxpy("manifest", made / "p.trace", "-o", tmp_path / "x.json", *rule)
    assert done.returncode == 2, done.stderr
    assert rule[1].split("/")[-1] in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x.json").exists()


def test_program_that_starts_another(sgxpy, tmp_path):
    assert sgxpy("trace", "-o", "x.trace", "--", PYTHON, "-c",
                 "import subprocess; subprocess.run(['/bin/true'])", cwd=tmp_path).returncode == 0
    for options, labels in ([], 2), (["--exec", "deny"], 1):
        done = sgxpy("manifest", "x.trace", "-o", "x.json", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        nodes = json.loads((tmp_path / "x.json").read_text())["nodes"]
        assert len(nodes) == labels and nodes[-1]["label"] == ("true" if labels == 2 else nodes[0]["label"])
    done = sgxpy("manifest", "x.trace", "-o", "x.json", "--merge", "flase", cwd=tmp_path)
    assert done.returncode == 2 and "--merge 'flase'" in done.stderr


def test_file_read_and_rewritten(sgxpy, made, tmp_path_factory):
    folder = made / "rewrite"
    folder.mkdir()
    (folder / "state.txt").write_text("1")
    (folder / "p.py").write_text("n = int(open('state.txt').read())\nopen('state.txt', 'w').write(str(n + 1))\n")
    assert sgxpy("trace", "-o", "x.trace", "--", PYTHON, "p.py", cwd=folder).returncode == 0
    done = sgxpy("manifest", "x.trace", "-o", "x.json", cwd=folder)
    assert done.returncode == 2 and "--allow" in done.stderr and "state.txt" in done.stderr
    assert sgxpy("manifest", "x.trace", "-o", "x.json", "--allow", "state.txt", cwd=folder).returncode == 0


def test_file_changed_since_the_trace(sgxpy, made):
    folder = made / "changed"
    folder.mkdir()
    (folder / "data").write_text("one")
    (folder / "p.py").write_text("print(open('data').read())\n")
    assert sgxpy("trace", "-o", "x.trace", "--", PYTHON, "p.py", cwd=folder).returncode == 0
    assert sgxpy("manifest", "x.trace", "-o", "x.json", cwd=folder).returncode == 0
    (folder / "data").write_text("two")
    done = sgxpy("manifest", "x.trace", "-o", "y.json", cwd=folder)
    assert done.returncode == 2 and f"{folder}/data" in done.stderr
    done = sgxpy("sign", "x.json", "--key", sgxpy.key, "-o", "x.sgx", cwd=folder)
    assert done.returncode == 2 and f"{folder}/data" in done.stderr
    assert not (folder / "x.sgx").exists()


def test_trace_gives_the_programs_exit_code(sgxpy, tmp_path):
    for code, text in ((0, "pass"), (7, "raise SystemExit(7)"),
                       (143, "import os; os.kill(os.getpid(), 15)")):
        done = sgxpy("trace", "-o", "x.trace", "--", PYTHON, "-c", text, cwd=tmp_path)
        assert done.returncode == code
