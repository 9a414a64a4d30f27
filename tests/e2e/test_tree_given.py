"""What a parent that was taken over gives to a measured child: the child runs its own code all the same. Every attack here
also runs against the same programs signed with --insecure_given, where it must work: else it would show nothing."""

import json
import os
import shutil
import subprocess

import pytest

PYTHON = "/usr/bin/python3"

# Does what its standard input says, so that a run can differ from the trace.
PARENT = """
import json, os, subprocess, sys
for line in sys.stdin:
    what = json.loads(line)
    try:
        for path, text in what.get("put", {}).items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        done = subprocess.run(what["args"], executable=what.get("executable"), cwd=what.get("cwd"),
                              env={**os.environ, **what.get("env", {})}, input=what.get("input", ""),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        said = done.stdout
    except OSError as e:
        said = f"refused {e.errno}"
    print(json.dumps({"name": what["name"], "said": said}), flush=True)
"""

# Three programs with a file that only they may read.
FILES = {
    "parent.py": PARENT,
    "child.py": "print('child', len(open('inner/secret').read()))\n",
    "module.py": "print('child', len(open('inner/secret').read()))\n",
    "child.sh": "read line < inner/secret\necho child ${#line}\n",
    "inner/secret": "treasure",
}

THEFT = "print('stolen', open({secret!r}).read())\n"

PLAIN = {
    "script": {"args": [PYTHON, "child.py"]},
    "module": {"args": [PYTHON, "-m", "module"]},
    "shell": {"args": ["bash", "child.sh"]},
    "perl": {"args": ["perl", "-e", "open(F, '<', 'inner/secret'); print 'child ', length(<F>)"]},
}


def attacks(folder):
    secret = str(folder / "inner/secret")
    theft = THEFT.format(secret=secret)
    shm = "/dev/shm/attack"
    site = "lib/python{}/site-packages".format(subprocess.run(
        [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], stdout=subprocess.PIPE, encoding="utf-8",
        check=True).stdout.strip())
    pth = f"import sys; {theft}"
    script, perl = PLAIN["script"]["args"], PLAIN["perl"]["args"]
    return {
        "PYTHONPATH": {"args": script, "env": {"PYTHONPATH": f"{shm}/a"}, "put": {f"{shm}/a/sitecustomize.py": theft}},
        "HOME": {"args": script, "env": {"HOME": f"{shm}/b"}, "put": {f"{shm}/b/.local/{site}/x.pth": pth}},
        "BASH_ENV": {"args": PLAIN["shell"]["args"], "env": {"BASH_ENV": f"{shm}/c/x.sh"},
                     "put": {f"{shm}/c/x.sh": f"read line < {secret}\necho stolen $line\n"}},
        "function": {"args": PLAIN["shell"]["args"],
                     "env": {"BASH_FUNC_read%%": f"() {{ builtin read x < {secret}; echo stolen $x; }}"}},
        "folder": {"args": PLAIN["module"]["args"], "cwd": f"{shm}/d", "put": {f"{shm}/d/module.py": theft}},
        "-i": {"args": [PYTHON, "-i", "child.py"], "input": theft},
        "PYTHONUSERBASE": {"args": script, "env": {"PYTHONUSERBASE": f"{shm}/g"}, "put": {f"{shm}/g/{site}/x.pth": pth}},
        "-rcfile": {"args": ["bash", "-rcfile", f"{shm}/e", "-i", "child.sh"], "executable": "/usr/bin/bash"},
        "argv[0]": {"args": [f"{shm}/f/bin/python3", "child.py"], "executable": PYTHON,
                    "put": {f"{shm}/f/pyvenv.cfg": "home = /usr/bin\n", f"{shm}/f/{site}/x.pth": pth}},
        "second text": {"args": [*perl, "-e", f"; open(F, '<', '{secret}'); print 'stolen ', <F>"]},
    }


WORKS = {"-rcfile": False}  # it is another program for the parent's manifest already


@pytest.fixture(scope="module")
def bundles(sgxpy, tmp_path_factory):
    """The folder with t.sgx and i.sgx: the same trace, once with the check off."""
    folder = tmp_path_factory.mktemp("given").resolve()
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    lines = "".join(json.dumps({"name": name, **what}) + "\n" for name, what in PLAIN.items())
    for arguments in (["trace", "-o", "t.trace", "--", PYTHON, "parent.py"], ["manifest", "t.trace", "-o", "t.json"],
                      ["manifest", "t.trace", "-o", "i.json", "--insecure_given", "all"],
                      ["sign", "t.json", "--key", sgxpy.key, "-o", "t.sgx"],
                      ["sign", "i.json", "--key", sgxpy.key, "-o", "i.sgx"]):
        done = sgxpy(*arguments, cwd=folder, input=lines)
        assert done.returncode == 0, done.stderr
    return folder


def run(sgxpy, folder, bundle, starts, *options):
    """What each start said, by its name, and the run."""
    lines = "".join(json.dumps({"name": name, **what}) + "\n" for name, what in starts.items())
    done = sgxpy("run", "--device", "soft", *options, bundle, cwd=folder, input=lines)
    assert done.returncode == 0, done.stderr
    return {said["name"]: said["said"] for said in map(json.loads, done.stdout.splitlines())}, done


def test_attacks(sgxpy, bundles, tmp_path):
    audit = tmp_path / "audit.jsonl"
    starts = {**PLAIN, **attacks(bundles)}
    said, done = run(sgxpy, bundles, "t.sgx", starts, "--audit", audit)
    assert said.keys() == starts.keys()
    assert all(said[name].startswith("child 8") for name in PLAIN), said
    stolen = {name for name, text in said.items() if "treasure" in text}
    assert not stolen, said
    assert "insecure:" not in done.stderr

    # what a child does without still runs it; other arguments are another program
    refused = {"-i", "-rcfile", "argv[0]", "second text"}
    assert {name for name, text in said.items() if text == "refused 13"} == refused, said
    assert all(text == "child 8\n" for name, text in said.items() if name not in refused | {"perl"}), said
    events = [json.loads(line) for line in audit.read_text().splitlines()]
    given = {(e.get("variable") or e.get("path"), e["action"], e["option"]) for e in events if e["event"] == "given"}
    assert given == {("PYTHONPATH", "dropped", "--insecure_given PYTHONPATH"), ("HOME", "dropped", "--insecure_given HOME"),
                     ("HOME", "put-in", "--insecure_given HOME"), ("BASH_ENV", "dropped", "--insecure_given BASH_ENV"),
                     ("BASH_FUNC_read%%", "dropped", "--insecure_given BASH_FUNC_read%%"),
                     ("PYTHONUSERBASE", "dropped", "--insecure_given PYTHONUSERBASE"),
                     ("/dev/shm/attack/d", "traced-folder", "--insecure_given all")}
    assert "--insecure_given PYTHONPATH, lets it" in done.stderr and "does not start: the options" in done.stderr


def test_attacks_work_without_the_check(sgxpy, bundles):
    starts = attacks(bundles)
    said, done = run(sgxpy, bundles, "i.sgx", starts)
    working = {name for name, text in said.items() if "stolen treasure" in text}
    assert working == {name for name in starts if WORKS.get(name, True)}, said
    assert "insecure: 'python3.11 child.py' takes variables, folder and options" in done.stderr.replace(os.path.basename(os.path.realpath(PYTHON)), "python3.11")


def test_one_variable(sgxpy, bundles, tmp_path):
    """--insecure_given NAME opens that one."""
    for arguments in (["manifest", "t.trace", "-o", tmp_path / "n.json", "--insecure_given", "PYTHONPATH"],
                      ["sign", tmp_path / "n.json", "--key", sgxpy.key, "-o", tmp_path / "n.sgx"]):
        done = sgxpy(*arguments, cwd=bundles)
        assert done.returncode == 0, done.stderr
    all_of_them = attacks(bundles)
    said, done = run(sgxpy, bundles, tmp_path / "n.sgx", {name: all_of_them[name] for name in ("PYTHONPATH", "HOME")})
    assert "stolen treasure" in said["PYTHONPATH"] and said["HOME"] == "child 8\n"
    assert "takes the variable 'PYTHONPATH' from its parent with any value" in done.stderr
    shown = sgxpy("show", tmp_path / "n.sgx", "child.py", cwd=bundles).stdout
    assert "insecure PYTHONPATH" in shown and "options ''" in shown


def test_a_trace_widens(sgxpy, bundles, tmp_path):
    """What another trace of the same command had is the child's as well, and a line by hand does the same."""
    start = {"given": {**PLAIN["script"], "env": {"PYTHONPATH": "/dev/shm/lib", "BASH_ENV": "/x"}, "cwd": None}}
    lines = "".join(json.dumps({"name": name, **what}) + "\n" for name, what in start.items())
    for arguments in (["trace", "-o", tmp_path / "2.trace", "--", PYTHON, "parent.py"],
                      ["manifest", "t.trace", tmp_path / "2.trace", "-o", tmp_path / "2.json"]):
        done = sgxpy(*arguments, cwd=bundles, input=lines)
        assert done.returncode == 0, done.stderr
    cascade = json.loads((tmp_path / "2.json").read_text())
    child = next(n for n in cascade["nodes"] if n["label"].endswith(" child.py"))
    rows = [(g["what"], g.get("name"), g.get("value")) for g in child["given"]]
    assert ("variable", "PYTHONPATH", "/dev/shm/lib") in rows and ("unset", "PYTHONPATH", None) in rows
    assert ("variable", "BASH_ENV", "/x") in rows and ("options", None, "") in rows
    assert not any("given" in n for n in cascade["nodes"] if "root" in n.get("flags", []))

    done = sgxpy("sign", tmp_path / "2.json", "--key", sgxpy.key, "-o", tmp_path / "2.sgx", cwd=bundles)
    assert done.returncode == 0, done.stderr
    starts = {name: {**attacks(bundles)["PYTHONPATH"], "env": {"PYTHONPATH": path}}
              for name, path in (("traced", "/dev/shm/lib"), ("scratch", "/dev/shm/attack/a"), ("other", "/srv"))}
    said, _ = run(sgxpy, bundles, tmp_path / "2.sgx", starts)
    assert said["traced"] == "child 8\n" and "stolen treasure" in said["scratch"] and said["other"] == "child 8\n"


def test_no_folder_left(sgxpy, bundles, tmp_path):
    """A child whose traced folders are all gone starts in none that its parent has chosen."""
    where = {"args": [PYTHON, "-c", "import os; print(os.getcwd())"]}
    gone = f"/tmp/sgxpy-gone-{os.getpid()}"
    trace = json.dumps({"name": "where", **where, "put": {f"{gone}/x": ""}, "cwd": gone}) + "\n"
    try:
        done = sgxpy("trace", "-o", tmp_path / "w.trace", "--", PYTHON, "parent.py", cwd=bundles, input=trace)
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(gone, ignore_errors=True)
    for arguments in (["manifest", tmp_path / "w.trace", "-o", tmp_path / "w.json"],
                      ["sign", tmp_path / "w.json", "--key", sgxpy.key, "-o", tmp_path / "w.sgx"]):
        done = sgxpy(*arguments, cwd=bundles)
        assert done.returncode == 0, done.stderr
    starts = {"other": {**where, "cwd": "/dev/shm/attack", "put": {"/dev/shm/attack/x": ""}},
              "trusted": {**where, "cwd": str(bundles)},
              "scratch": {**where, "cwd": "/tmp/another/one", "put": {"/tmp/another/one/x": ""}}}
    said, _ = run(sgxpy, bundles, tmp_path / "w.sgx", starts)
    assert said == {"other": "/\n", "trusted": "/\n", "scratch": "/tmp/another/one\n"}


ORDINARY = """
import multiprocessing, os, subprocess, sys, tempfile

def twice(x):
    return 2 * x

def say(*arguments, **options):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", **options)
    print(done.returncode, done.stdout.strip())

if __name__ == "__main__":
    here = os.getcwd()
    say("/usr/bin/env", env={})
    say(sys.executable, "show.py", env={})
    say(sys.executable, "-I", "-X", "utf8", os.path.join(here, "show.py"), cwd="/")
    say("venv/bin/python", "-c", "import sys; print(sys.prefix != sys.base_prefix)")
    say("sh", "-c", "cd sub && ./script.sh")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "made.py"), "w") as file:
            file.write("NAME = 'made'\\n")
        say(sys.executable, os.path.join(here, "use.py"), env={**os.environ, "PYTHONPATH": folder})
        say(sys.executable, "-c", "import made; print(made.NAME)", cwd=folder)
        say(sys.executable, os.path.join(here, "show.py"), env={**os.environ, "HOME": folder, "PATH": folder + ":" + os.environ["PATH"]})
        say("env", "PYTHONPATH=" + folder, sys.executable, os.path.join(here, "use.py"))
    say(sys.executable, "show.py", env={**os.environ, "PYTHONHASHSEED": str(os.getpid()), "ANYTHING": folder})
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(twice, range(5)))
"""


def test_ordinary_programs_go_on(sgxpy, tmp_path):
    """Environments, folders and names that are made up anew in each run."""
    for name, text in {
            "ordinary.py": ORDINARY,
            "show.py": "import os, sys\nprint(sorted(k for k in os.environ if k in ('HOME', 'PATH', 'PYTHONPATH')), sys.flags.isolated)\n",
            "use.py": "import made\nprint(made.NAME)\n",
            "sub/script.sh": "#!/bin/sh\necho a script\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "sub/script.sh").chmod(0o755)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", "venv"], cwd=tmp_path, check=True)
    native = subprocess.run([PYTHON, "ordinary.py"], cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8", check=True,
                            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).stdout
    for _ in range(2):
        done = sgxpy("run", "--", PYTHON, "ordinary.py", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.replace("PWD=", "") == native.replace("PWD=", ""), done.stderr
        assert not [l for l in done.stderr.splitlines() if "--insecure_given" in l or "not started" in l], done.stderr
