"""What `show` says about trees of programs: nodes, merges, evidence. Nothing runs in an enclave here."""
import json

import pytest

PYTHON = "/usr/bin/python3.11"


@pytest.fixture(scope="module")
def tree(sgxpy, tmp_path_factory):
    """a.py starts a shell, w.py and itself; the shell starts cat; w.py makes out.txt, which a.py reads."""
    folder = tmp_path_factory.mktemp("tree")
    (folder / "a.py").write_text(
        "import subprocess, sys\nif len(sys.argv) < 2:\n"
        f"    subprocess.run('cat data | cat', shell=True)\n    subprocess.run(['{PYTHON}', 'w.py'])\n"
        f"    subprocess.run(['{PYTHON}', 'a.py', 'x'])\n    print(open('out.txt').read())\n")
    (folder / "w.py").write_text("open('out.txt', 'w').write('w')\n")
    (folder / "data").write_text("d\n")
    assert sgxpy("trace", "-o", "t.trace", "--", PYTHON, "a.py", cwd=folder).returncode == 0
    for options, name in ([], "t"), (["--merge", "python3.11"], "merged"):
        done = sgxpy("manifest", "t.trace", "-o", f"{name}.json", *options, cwd=folder)
        assert done.returncode == 0, done.stderr
        done = sgxpy("sign", f"{name}.json", "--key", sgxpy.key, "-o", f"{name}.sgx", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def nodes(sgxpy, tree, name):
    return json.loads(sgxpy("show", "--json", f"{name}.sgx", cwd=tree).stdout)["nodes"]


def test_nodes(sgxpy, tree):
    found = {n["label"]: n for n in nodes(sgxpy, tree, "t")}
    assert set(found) == {"python3.11 a.py", "python3.11 w.py", "dash -c cat data | cat", "cat"}
    root = found["python3.11 a.py"]
    assert root["root"] and root["process_limit"] == 64
    assert [c["label"] for c in root["children"] if c["self"]] == ["python3.11 a.py"]
    assert {c["label"] for c in root["children"] if not c["self"]} == {"python3.11 w.py", "dash -c cat data | cat"}
    assert found["dash -c cat data | cat"]["forks"]
    assert not found["cat"]["children"] and not found["cat"]["root"]


def test_one_node(sgxpy, tree):
    for name in ("w.py", "python3.11 w.py"):
        done = sgxpy("show", "t.sgx", name, cwd=tree)
        assert done.returncode == 0 and "python3.11 w.py" in done.stdout and "MRSIGNER" in done.stdout
        assert "a.py" not in done.stdout
    assert sgxpy("show", "t.sgx", "0", cwd=tree).stdout.startswith("node 0: python3.11 a.py\n")
    for name, words in ("python", "several nodes"), ("perl", "no node"), ("9", "no node"):
        done = sgxpy("show", "t.sgx", name, cwd=tree)
        assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_merge(sgxpy, tree):
    assert "is one node whatever it is started with (--merge)" in sgxpy("show", "merged.sgx", cwd=tree).stdout
    assert [n["label"] for n in nodes(sgxpy, tree, "merged")] == ["python3.11", "cat", "dash -c cat data | cat"]


def test_why(sgxpy, tree):
    done = sgxpy("show", "t.sgx", "--why", tree / "out.txt", "--trace", "t.trace", cwd=tree)
    assert done.returncode == 0, done.stderr
    relative = sgxpy("show", "t.sgx", "--why", "out.txt", "--trace", "t.trace", cwd=tree)
    assert relative.stdout == done.stdout, relative.stderr
    lines = done.stdout.splitlines()
    reader = lines.index("node 0: python3.11 a.py: allowed")
    assert "t.trace" in lines[reader + 1] and lines[reader + 2].endswith("python3.11 a.py): read")
    writer = next(i for i, l in enumerate(lines) if l.endswith("python3.11 w.py: allowed, an output"))
    assert "python3.11 w.py): written created" in lines[writer + 2]
    assert not any("cat" in l for l in lines)
    alone = sgxpy("show", "t.sgx", "cat", "--why", "/usr/bin/cat", "--trace", "t.trace", cwd=tree).stdout
    assert "trusted, may be executed" in alone and alone.count("node ") == 1
    started = sgxpy("show", "t.json", "dash", "--why", "/usr/bin/cat", "--trace", "t.trace", cwd=tree).stdout
    assert "named" in started and "started it, as process" in started
    nothing = sgxpy("show", "t.sgx", "--why", "/no/such", cwd=tree)
    assert nothing.returncode == 0 and "no node has a record" in nothing.stdout and "--trace" in nothing.stderr


def test_words_that_were_not_signed(sgxpy, tree):
    """cascade.json beside the manifests is for people: one that was changed is not believed."""
    path = tree / "t.sgx/cascade.json"
    kept = path.read_text()
    try:
        path.write_text(kept.replace('"label": "cat"', '"label": "dog"'))
        done = sgxpy("show", "t.sgx", cwd=tree)
        assert "not the one that was signed" in done.stdout and "dog" not in done.stdout and "─ cat" in done.stdout
        assert sgxpy("show", "t.sgx", "--why", "/", cwd=tree).returncode == 2
    finally:
        path.write_text(kept)


def test_two_traces(sgxpy, tree):
    """Runs that started different programs, of one command: the union."""
    (tree / "b.py").write_text("import subprocess, sys\nsubprocess.run([sys.stdin.read()])\n")
    for which in "true", "false":
        assert sgxpy("trace", "-o", f"{which}.trace", "--", PYTHON, "b.py", cwd=tree,
                     input=f"/usr/bin/{which}").returncode == 0
    texts = []
    for order in ("true.trace", "false.trace"), ("false.trace", "true.trace"):
        done = sgxpy("manifest", *order, "-o", "both.json", cwd=tree)
        assert done.returncode == 0, done.stderr
        texts.append((tree / "both.json").read_text())
    assert texts[0] == texts[1]
    assert [n["label"] for n in json.loads(texts[0])["nodes"]] == ["python3.11 b.py", "false", "true"]
