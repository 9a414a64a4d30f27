"""The audit file of a real tree, and `manifest --from-audit`, which makes a proposal of it."""

import hashlib
import json
import re
import socket
import threading

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


# ---- manifest --from-audit ----------------------------------------------------------------------

def line(**fields):
    return json.dumps({"time": "2026-11-22T16:15:04.123Z", "node": "n", "host_pid": 1, "event": "absent", **fields})


def propose(sgxpy, folder, *lines, options=()):
    (folder / "a.log").write_bytes(b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines))
    done = sgxpy("manifest", "--from-audit", "a.log", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert all(c == "\n" or " " <= c <= "~" for c in done.stdout), "not plain ASCII"
    return done.stdout


HOSTILE = {
    "dots": line(path="/etc/../etc/passwd"),
    "dot": line(path="/etc/./passwd"),
    "double slash": line(path="//etc/passwd"),
    "slash at the end": line(path="/etc/passwd/"),
    "relative": line(path="etc/passwd"),
    "empty": line(path=""),
    "root": line(path="/"),
    "too long": line(path="/" + "a/" * 3000 + "b"),
    "long component": line(path="/" + "a" * 300),
    "huge": line(path="/" + "a" * 100_000),
    "huge, no JSON": "x" * 1_000_000,
    "NUL": line(path="/etc/pass").replace("pass", "pass\\u0000wd"),
    "twice": '{"node": "n", "event": "absent", "path": "/etc/passwd", "path": "/x"}',
    "both": line(path="/etc/passwd", path_hex="2f61"),
    "odd hex": line(path_hex="2f6"),
    "no hex": line(path_hex="2fzz"),
    "hex dots": line(path_hex=b"/etc/../etc/passwd".hex()),
    "number": line(path=7),
    "list": line(path=["/etc/passwd"]),
    "no node": '{"event": "absent", "path": "/etc/passwd"}',
    "node a number": line(node=3, path="/etc/passwd"),
    "node too long": line(node="n" * 5000, path="/etc/passwd"),
    "unknown event": line(event="grant", path="/etc/passwd"),
    "an array": '["/etc/passwd"]',
    "deep": "[" * 30_000,
    "no UTF-8": b'{"node": "n", "event": "absent", "path": "/\xff"}',
    "junk": b"\0\1\2\xff",
    "torn": '{"node": "n", "event": "abs',
    "host name": line(event="net", address="evil.example:80", action="connect", type="tcp"),
    "star": line(event="net", address="*:80", action="connect", type="tcp"),
    "no port": line(event="net", address="10.0.0.1", action="connect", type="tcp"),
    "port too large": line(event="net", address="10.0.0.1:65536", action="connect", type="tcp"),
    "range": line(event="net", address="10.0.0.1:1-65535", action="connect", type="tcp"),
    "prefix": line(event="net", address="10.0.0.0/8:80", action="connect", type="tcp"),
    "option": line(event="net", address="10.0.0.1:80 --allow /", action="connect", type="tcp"),
    "action": line(event="net", address="10.0.0.1:80", action="allow", type="tcp"),
    "type": line(event="net", address="10.0.0.1:80", action="connect", type="tcp/udp"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines_propose_nothing(sgxpy, tmp_path, name):
    shown = propose(sgxpy, tmp_path, HOSTILE[name], options=["-o", "rules.json"])
    assert "nothing to propose" in shown and "  + " not in shown
    assert "1 line is no audit line: 1\n" in shown
    assert json.loads((tmp_path / "rules.json").read_text())["rules"] == []


NO_RULE = {
    "/proc/self/maps": "answered by the library OS", "/dev/sda": "answered by the library OS",
    "/sys/kernel": "answered by the library OS", "/tmp/x": "below /tmp", "/no/such": "not on this machine",
    "/etc": "a folder", "/etc/\u202egnp.sh\n  + --trust /etc/passwd": "not on this machine",
}


@pytest.mark.parametrize("path", NO_RULE)
def test_paths_that_become_no_rule(sgxpy, tmp_path, path):
    shown = propose(sgxpy, tmp_path, line(path=path), options=["-o", "rules.json"])
    assert NO_RULE[path] in shown
    assert not re.search(r"^  \+", shown, re.M)
    assert json.loads((tmp_path / "rules.json").read_text())["rules"] == []


def test_other_events_become_no_rule(sgxpy, tmp_path):
    events = [line(event=e, path="/etc/passwd") for e in ("refused", "exec", "write", "listing", "fork", "panic")]
    shown = propose(sgxpy, tmp_path, *events, line(event="net", value=16))
    assert not re.search(r"^  \+", shown, re.M)
    assert "A FILE WAS NOT WHAT WAS SIGNED" in shown


def test_hashes_are_of_this_machine(sgxpy, tmp_path):
    """Whatever the log says of them; and what a reviewer should see at once is marked."""

    files = {"data.txt": b"data", "code.py": b"x = 1\n", "secret.key": b"s", "open.txt": b"o"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod({"secret.key": 0o600, "open.txt": 0o666}.get(name, 0o644))
    (tmp_path / "link.txt").symlink_to("data.txt")
    lies = {"sha256": "0" * 64, "size": 5, "expected": "1" * 64}
    shown = propose(sgxpy, tmp_path, *[line(path=str(tmp_path / n), **lies) for n in (*files, "link.txt")] * 3,
                    line(event="net", address="[::1]:80", action="listen", type="udp"), options=["-o", "rules.json"])
    marks = {"code.py": "CODE: can be imported", "secret.key": "a secret?", "open.txt": "WRITABLE BY OTHERS",
             "link.txt": f"which is {tmp_path}/data.txt", "data.txt": ")"}
    for name, mark in marks.items():
        assert re.search(rf"\+ --trust {re.escape(str(tmp_path / name))}  \(3 times.*{re.escape(mark)}", shown + ")")
    assert "+ --listen [::1]:80/udp" in shown
    rules = json.loads((tmp_path / "rules.json").read_text())["rules"]
    trusted = {r["trust"]: r["sha256"] for r in rules if "trust" in r}
    assert trusted == {str(tmp_path / n): hashlib.sha256(files.get(n, b"data")).hexdigest()
                       for n in (*files, "link.txt")}
    assert "0" * 64 not in shown


def test_nothing_is_written_without_an_option(sgxpy, tmp_path):
    (tmp_path / "data.txt").write_text("x")
    propose(sgxpy, tmp_path, line(path=str(tmp_path / "data.txt")))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.log", "data.txt"]


def test_many_refusals_are_counted(sgxpy, tmp_path):
    shown = propose(sgxpy, tmp_path, *[line(path=f"/no/{i}") for i in range(10_050)])
    assert "50 refusals more than fit were left out" in shown
    assert shown.count("  ? ") == 10_000


def test_wrong_use(sgxpy, tmp_path):
    (tmp_path / "a.log").write_text("")
    for arguments, message in ((["--from-audit", "none"], "No such file"), (["--from-audit", "/dev/zero"], "regular"),
                               (["--from-audit", "a.log", "x.trace"], "takes no trace")):
        done = sgxpy("manifest", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr


TREE = """
import os, subprocess, sys
many = open("mode").read().strip() == "many"
name = "extra.txt" if len(sys.argv) == 1 else "child.txt"
if many:
    try:
        print(name, open(name).read(), flush=True)
    except OSError as e:
        print(name, e.strerror, flush=True)
if len(sys.argv) == 1:
    subprocess.run([sys.executable, "child.py", "x"])
"""


@pytest.fixture
def tree(sgxpy, tmp_path):
    """A program and its child that were refused one file each; traced, with the audit file and the proposal."""
    for name in ("p.py", "child.py"):
        (tmp_path / name).write_text(TREE)
    (tmp_path / "mode").write_text("few")
    assert sgxpy("trace", "-o", "t", "--", PYTHON, "p.py", cwd=tmp_path).returncode == 0
    assert make(sgxpy, tmp_path).returncode == 0
    (tmp_path / "mode").write_text("many")
    (tmp_path / "extra.txt").write_text("for the parent")
    (tmp_path / "child.txt").write_text("for the child")
    done = sgxpy("run", "--audit", "a.log", "b.sgx", cwd=tmp_path)
    assert done.stdout == "extra.txt No such file or directory\nchild.txt No such file or directory\n", done.stderr
    done = sgxpy("manifest", "--from-audit", "a.log", "-o", "rules.json", cwd=tmp_path)
    assert done.returncode == 0 and "2 rules" in done.stderr
    return tmp_path


def make(sgxpy, folder, *options):
    done = sgxpy("manifest", "t", "-o", "j", "--allow", "mode", *options, cwd=folder)
    return done if done.returncode else sgxpy("sign", "j", "--key", sgxpy.key, "-o", "b.sgx", cwd=folder)


def test_reviewed_rules_hold_for_their_node_alone(sgxpy, tree):
    done = make(sgxpy, tree, "--rules", "rules.json")
    assert done.returncode == 0, done.stderr
    done = sgxpy("run", "b.sgx", cwd=tree)
    assert done.stdout == "extra.txt for the parent\nchild.txt for the child\n", done.stderr
    nodes = {n["label"]: {f["path"] for f in n["files"]} for n in json.loads((tree / "j").read_text())["nodes"]}
    assert str(tree / "extra.txt") in nodes["python3.11 p.py"] - nodes["python3.11 child.py"]
    assert str(tree / "child.txt") in nodes["python3.11 child.py"] - nodes["python3.11 p.py"]


def test_reviewed_rules_in_run(sgxpy, tree):
    """Other rules build anew, from the same trace."""
    (tree / "mode").write_text("few")
    command = ["run", "--allow", "mode", "--rules", "rules.json", "--", PYTHON, "p.py"]
    done = sgxpy(*command, cwd=tree)
    assert done.returncode == 0, done.stderr
    (tree / "mode").write_text("many")
    assert sgxpy(*command, cwd=tree).stdout == "extra.txt for the parent\nchild.txt for the child\n"
    rules = json.loads((tree / "rules.json").read_text())
    rules["rules"] = [r for r in rules["rules"] if "extra" in r["trust"]]
    (tree / "rules.json").write_text(json.dumps(rules))
    # The folder's listing had child.txt when this run traced it: known by name, and not granted.
    assert sgxpy(*command, cwd=tree).stdout == "extra.txt for the parent\nchild.txt Permission denied\n"


def test_what_changed_since_the_review_is_refused(sgxpy, tree):
    (tree / "extra.txt").write_text("not what was shown")
    done = make(sgxpy, tree, "--rules", "rules.json")
    assert done.returncode == 2
    assert "is not what was reviewed" in done.stderr


WRONG_RULES = {
    "no JSON": "{", "other format": '{"format": "x", "version": 1, "rules": []}',
    "other version": '{"format": "sgxpy-rules", "version": 2, "rules": []}',
    "no hash": [{"node": "python3.11 p.py", "trust": "/etc/passwd"}],
    "hash only": [{"node": "python3.11 p.py", "sha256": "0" * 64}],
    "two": [{"node": "python3.11 p.py", "listen": "1.2.3.4:5", "connect": "1.2.3.4:5"}],
    "unknown key": [{"node": "python3.11 p.py", "listen": "1.2.3.4:5", "allow": "/"}],
    "no node": [{"listen": "1.2.3.4:5"}],
    "dots": [{"node": "python3.11 p.py", "trust": "/etc/../etc/passwd", "sha256": "0" * 64}],
    "no address": [{"node": "python3.11 p.py", "listen": "here"}],
    "a number": [{"node": "python3.11 p.py", "trust": 7, "sha256": "0" * 64}],
}


@pytest.mark.parametrize("name", WRONG_RULES)
def test_wrong_rules(sgxpy, tmp_path, name):
    text = WRONG_RULES[name]
    if isinstance(text, list):
        text = json.dumps({"format": "sgxpy-rules", "version": 1, "rules": text})
    (tmp_path / "rules.json").write_text(text)
    assert sgxpy("trace", "-o", "t", "--", "/bin/true", cwd=tmp_path).returncode == 0
    done = sgxpy("manifest", "t", "-o", "j", "--rules", "rules.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "rules" in done.stderr and not (tmp_path / "j").exists()


def test_rules_for_another_program(sgxpy, tree):
    text = (tree / "rules.json").read_text().replace("python3.11 child.py", "python3.11 other.py")
    (tree / "rules.json").write_text(text)
    done = make(sgxpy, tree, "--rules", "rules.json")
    assert done.returncode == 2
    assert "no program of the traces is called so" in done.stderr


CLIENT = """
import socket
if open("mode").read().strip() == "many":
    try:
        with socket.socket() as s:
            s.connect(("127.0.0.1", int(open("port").read())))
            print(s.recv(100).decode().strip())
    except OSError as e:
        print(e.strerror)
"""


def test_refused_connection_becomes_a_rule(sgxpy, tmp_path):
    """From EACCES by way of the audit file and the proposal to a connection."""
    (tmp_path / "p.py").write_text(CLIENT)
    (tmp_path / "mode").write_text("few")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        (tmp_path / "port").write_text(str(server.getsockname()[1]))

        def build(*options):
            for arguments in (["manifest", "t", "-o", "j", "--allow", "mode", "--allow", "port",
                               *options], ["sign", "j", "--key", sgxpy.key, "-o", "b.sgx"]):
                done = sgxpy(*arguments, cwd=tmp_path)
                assert done.returncode == 0, done.stderr

        assert sgxpy("trace", "-o", "t", "--", PYTHON, "p.py", cwd=tmp_path).returncode == 0
        build()
        (tmp_path / "mode").write_text("many")
        done = sgxpy("run", "--audit", "a.log", "b.sgx", cwd=tmp_path)
        assert done.stdout == "Permission denied\n", done.stderr
        done = sgxpy("manifest", "--from-audit", "a.log", "-o", "rules.json", cwd=tmp_path)
        assert f"+ --connect 127.0.0.1:{server.getsockname()[1]}/tcp" in done.stdout
        build("--rules", "rules.json")

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"hello\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = sgxpy("run", "b.sgx", cwd=tmp_path)
        assert done.stdout == "hello\n", done.stderr
        thread.join(60)
