"""The tamper matrix: each kind of file that a run reads, changed in each way, is refused; and what the
manifest says that it does not depend on makes no difference. All on a tree of this test's own."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from processes import Background

# Everything the program prints; stdout of a refused run never holds the last line.
LAST_LINE = "program ended"

APP = f"""
import os, sys
import helper
import _queue
import compiled
print(helper.VALUE, compiled.VALUE, _queue.__name__, len(sys.path) > 1)
print(sorted(os.listdir("listed")))
with open("data.bin", "rb") as f:
    print(sum(f.read()))
print("{LAST_LINE}")
"""

# Opens each file, waits for a line on stdin, reads: the host changes it in between.
LATE = f"""
import sys
path = sys.argv[1]
f = open(path, "rb", buffering=0)
print("opened", flush=True)
sys.stdin.readline()
size = 0
while block := f.read(4096):
    size += len(block)
    last = block[-1]
print(size, last)
print("{LAST_LINE}")
"""

C_PROGRAM = f"""
#include <stdio.h>
int library_value(void);
int main(void)
{{
    FILE *f = fopen("data.bin", "rb");
    printf("%d %d\\n", library_value(), f ? getc(f) : -1);
    puts("{LAST_LINE}");
    return 0;
}}
"""


class Tree:
    """Programs in a folder, traced and signed: python (a copied interpreter, own modules and data) and
    native (an own ld.so and library)."""

    def __init__(self, folder, sgxpy):
        self.folder, self.sgxpy = folder, sgxpy
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(folder / "lib"),
        }
        self.make_files()
        self.python = [str(folder / "bin/python3.11"), "app.py"]
        self.commands = {
            "python": self.python,
            "native": ["./native"],
            **{f"late-{name}": [str(folder / "bin/python3.11"), "late.py", str(path)]
               for name, path in self.late_files().items()},
        }
        self.native_output = {}
        for name, command in self.commands.items():
            self.build(name, command)

    def make_files(self):
        f = self.folder
        for name in ("bin", "lib", "listed", "spare"):
            (f / name).mkdir()
        shutil.copy2("/usr/bin/python3.11", f / "bin/python3.11")
        extension = next(pathlib.Path("/usr/lib/python3.11/lib-dynload").glob("_queue.*.so"))
        shutil.copy2(extension, f / "lib" / extension.name)
        self.extension = f / "lib" / extension.name
        (f / "app.py").write_text(APP)
        (f / "late.py").write_text(LATE)
        (f / "lib/helper.py").write_text("VALUE = 'from the helper'\n" + "# filler\n" * 50)
        (f / "lib/compiled.py").write_text("VALUE = 'from the compiled'\n")
        code = "import py_compile; py_compile.compile('lib/compiled.py')"
        subprocess.run(["/usr/bin/python3.11", "-c", code], cwd=f, check=True,
                       env={"PATH": "/usr/bin"})
        self.pyc = next((f / "lib/__pycache__").glob("compiled.*.pyc"))
        (f / "data.bin").write_bytes(bytes(range(256)) * 1000)  # four chunks
        for name in ("one", "two"):
            (f / "listed" / name).write_text(name)
        self.make_native()

    def make_native(self):
        f = self.folder
        linker = subprocess.run(["gcc", "-print-file-name=ld-linux-x86-64.so.2"], check=True,
                                stdout=subprocess.PIPE).stdout.decode().strip()
        if not os.path.isabs(linker):
            linker = "/lib64/ld-linux-x86-64.so.2"
        shutil.copy2(os.path.realpath(linker), f / "lib/ld.so")
        (f / "library.c").write_text("int library_value(void) { return 42; }\n")
        (f / "native.c").write_text(C_PROGRAM)
        subprocess.run(["gcc", "-shared", "-fPIC", "library.c", "-o", "lib/libvalue.so"], cwd=f, check=True)
        subprocess.run(["gcc", "native.c", "-o", "native", "lib/libvalue.so", f"-Wl,-rpath,{f}/lib",
                        f"-Wl,--dynamic-linker={f}/lib/ld.so"], cwd=f, check=True)

    def late_files(self):
        return {"py": self.folder / "lib/helper.py", "pyc": self.pyc, "so": self.extension,
                "data": self.folder / "data.bin"}

    def bundle(self, name):
        return self.folder / f"{name}.sgx"

    def build(self, name, command):
        def must(*arguments, **options):
            done = self.sgxpy(*arguments, cwd=self.folder, env=self.environment, **options)
            assert done.returncode == 0, done.stderr
            return done
        traced = must("trace", "-o", f"{name}.trace", "--", *command, input="\n")
        assert LAST_LINE in traced.stdout
        self.native_output[name] = traced.stdout
        rules = ["--deny", "data.bin"] if name == "deny" else []
        must("manifest", f"{name}.trace", "-o", f"{name}.json", *rules)
        must("sign", f"{name}.json", "--key", self.sgxpy.key, "-o", f"{name}.sgx")

    def run(self, name, poison, *options, **more):
        flags = ["--device", "soft", *(["--poison"] if poison else []), *options]
        return self.sgxpy("run", *flags, self.bundle(name), cwd=self.folder, env=self.environment,
                          **more)

    @contextlib.contextmanager
    def kept(self, path):
        """Whatever happens to path inside, afterwards it is as it was."""
        aside = self.folder / "spare" / "kept"
        if path.is_dir():
            shutil.copytree(path, aside)
        else:
            shutil.copy2(path, aside)
        try:
            yield
        finally:
            remove(path)
            # The original's own times, mode and content; a new inode is no difference.
            shutil.move(aside, path)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


@pytest.fixture(scope="module")
def tree(sgxpy, tmp_path_factory):
    return Tree(tmp_path_factory.mktemp("tree").resolve(), sgxpy)


@pytest.fixture(params=[False, True], ids=["", "poison"])
def poison(request):
    return request.param


# ---- which file ---------------------------------------------------------------------------------

KINDS = {
    # kind: (program, file)
    "py": ("python", lambda t: t.folder / "lib/helper.py"),
    "script": ("python", lambda t: t.folder / "app.py"),
    "pyc": ("python", lambda t: t.pyc),
    "so": ("python", lambda t: t.extension),
    "data": ("python", lambda t: t.folder / "data.bin"),
    "interpreter": ("python", lambda t: t.folder / "bin/python3.11"),
    "ld.so": ("native", lambda t: t.folder / "lib/ld.so"),
    "library": ("native", lambda t: t.folder / "lib/libvalue.so"),
    "program": ("native", lambda t: t.folder / "native"),
}

# ---- what happens to it -------------------------------------------------------------------------


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def become_directory(path):
    path.unlink()
    path.mkdir()


def become_fifo(path):
    path.unlink()
    os.mkfifo(path)


def become_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


REFUSED = {
    "first byte": lambda p: flip(p, 0),
    "byte in the middle": lambda p: flip(p, 60),
    "one byte shorter": lambda p: os.truncate(p, p.stat().st_size - 1),
    "empty": lambda p: os.truncate(p, 0),
    "one byte longer": lambda p: p.write_bytes(p.read_bytes() + b"\n"),
    "a directory": become_directory,
    "a fifo": become_fifo,
    "a device": become_device,
    "deleted": lambda p: p.unlink(),
    "other content": lambda p: p.write_bytes(b"X" * p.stat().st_size),
}


def check_refusal(done, path, expect_hashes):
    assert done.returncode == 3, done.stderr
    assert LAST_LINE not in done.stdout
    lines = [line for line in done.stderr.splitlines() if str(path) in line]
    assert lines, done.stderr
    assert "Traceback" not in done.stderr
    if expect_hashes:
        assert len(set(re.findall(r"\b[0-9a-f]{64}\b", done.stderr))) >= 2, done.stderr
    assert "edited it yourself? trace and sign again" in done.stderr and "--retrace" not in done.stderr, done.stderr


@pytest.mark.parametrize("change", REFUSED)
@pytest.mark.parametrize("kind", KINDS)
def test_refused(tree, kind, change, poison):
    program, where = KINDS[kind]
    path = where(tree)
    with tree.kept(path):
        REFUSED[change](path)
        done = tree.run(program, poison)
    check_refusal(done, path, change in ("first byte", "byte in the middle", "other content"))


@pytest.mark.parametrize("program", ["python", "native"])
def test_unchanged_tree_runs(tree, program, poison):
    done = tree.run(program, poison)
    assert done.returncode == 0, done.stderr
    assert done.stdout == tree.native_output[program]


# ---- changed between open and read --------------------------------------------------------------

def replace(path):
    """The name now leads to another file; the open one is as it was."""
    other = path.with_name("other")
    other.write_bytes(b"Y" * path.stat().st_size)
    os.replace(other, path)


LATE_CHANGES = {
    "byte changed": lambda p: flip(p, p.stat().st_size // 2),
    "last byte changed": lambda p: flip(p, p.stat().st_size - 1),
    "truncated": lambda p: os.truncate(p, 10),
    "replaced": replace,
    "deleted": lambda p: p.unlink(),
}


@pytest.mark.parametrize("change", LATE_CHANGES)
@pytest.mark.parametrize("kind", ["py", "pyc", "so", "data"])
def test_changed_between_open_and_read(tree, kind, change, poison):
    """Refused, or the signed bytes: what was verified before the change may be used."""
    name, path = f"late-{kind}", tree.late_files()[kind]
    flags = ["--device", "soft", *(["--poison"] if poison else [])]
    with tree.kept(path):
        with Background([tree.sgxpy.path, "run", *flags, tree.bundle(name)], tree.folder, merged=False,
                        env=tree.environment) as process:
            assert process.line() == "opened\n", process.error_output
            LATE_CHANGES[change](path)
            process.write("\n")
            process.close_input()
            code = process.wait()
            out, errors = process.output, process.error_output
    if code == 0:
        assert out == tree.native_output[name], errors
    else:
        assert code == 3, errors
        assert str(path) in errors and LAST_LINE not in out


# ---- the bundle ---------------------------------------------------------------------------------

BUNDLE_FILES = ["nodes/0/manifest.bin", "nodes/0/sigstruct.bin"]


@pytest.mark.parametrize("change", [name for name in REFUSED if name != "a device"])
@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_bundle_is_refused(tree, name, change, poison):
    path = tree.bundle("python") / name
    with tree.kept(path):
        REFUSED[change](path)
        done = tree.run("python", poison)
    assert done.returncode in (2, 3), done.stderr
    assert done.stdout == ""
    assert path.name in done.stderr


def positions(size, count):
    return [size * i // count for i in range(count)] + [size - 1]


def test_no_byte_of_the_manifest_can_change(tree):
    path = tree.bundle("python") / "nodes/0/manifest.bin"
    for position in positions(path.stat().st_size, 40):
        with tree.kept(path):
            flip(path, position)
            done = tree.run("python", False)
        assert done.returncode in (2, 3), (position, done.stderr)
        assert done.stdout == "", position


def test_no_byte_of_the_sigstruct_can_change(tree):
    path = tree.bundle("python") / "nodes/0/sigstruct.bin"
    for position in positions(path.stat().st_size, 60):
        with tree.kept(path):
            flip(path, position)
            done = tree.run("python", False)
        assert done.returncode in (2, 3), (position, done.stderr)
        assert done.stdout == "", position


def test_another_signers_sigstruct(tree, tmp_path):
    """Same enclave otherwise: the manifest names its signer, so even a valid other one is refused."""
    key = tmp_path / "other.pem"
    assert tree.sgxpy("keygen", "-o", key).returncode == 0
    done = tree.sgxpy("sign", "python.json", "--key", key, "-o", tmp_path / "other.sgx",
                      cwd=tree.folder, env=tree.environment)
    assert done.returncode == 0, done.stderr
    path = tree.bundle("python") / "nodes/0/sigstruct.bin"
    with tree.kept(path):
        shutil.copy(tmp_path / "other.sgx/nodes/0/sigstruct.bin", path)
        done = tree.run("python", False)
    assert done.returncode == 3 and done.stdout == "", done.stderr


def test_manifests_of_two_programs_swapped(tree):
    path = tree.bundle("python") / "nodes/0/manifest.bin"
    with tree.kept(path):
        shutil.copy(tree.bundle("native") / "nodes/0/manifest.bin", path)
        done = tree.run("python", False)
    assert done.returncode == 3 and done.stdout == "", done.stderr


# ---- no difference ------------------------------------------------------------------------------

def touch(path):
    os.utime(path, (1_000_000_000, 1_000_000_000))


def link_to_equal(path):
    other = path.with_name(path.name + ".equal")
    shutil.copy2(path, other)
    path.unlink()
    path.symlink_to(other)


SAME = {
    "time": touch,
    "future time": lambda p: os.utime(p, (4_000_000_000, 4_000_000_000)),
    "mode": lambda p: p.chmod(0o700),
    "a link to equal content": link_to_equal,
}


@pytest.mark.parametrize("change", SAME)
@pytest.mark.parametrize("kind", KINDS)
def test_no_difference(tree, kind, change, poison):
    program, where = KINDS[kind]
    path = where(tree)
    with tree.kept(path):
        SAME[change](path)
        done = tree.run(program, poison)
        remove(path.with_name(path.name + ".equal"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == tree.native_output[program]


PLANTED = {
    "an entry in a listed folder": "listed/three",
    "a module earlier on the path": "helper.py",
    "a package earlier on the path": "helper/__init__.py",
    "an extension earlier on the path": "_queue.so",
    "a shadow of the standard library": "os.py",
    "sitecustomize": "sitecustomize.py",
    "usercustomize": "lib/usercustomize.py",
    "a newer .pyc": "lib/__pycache__/helper.cpython-311.pyc",
    "a pyvenv.cfg": "pyvenv.cfg",
    "a ._pth file": "bin/python3.11._pth",
}


@pytest.mark.parametrize("what", PLANTED)
def test_planted_file_does_not_exist(tree, what, poison):
    path = tree.folder / PLANTED[what]
    made = not path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    try:
        path.write_text("raise SystemExit('planted code ran')\n")
        done = tree.run("python", poison)
    finally:
        path.unlink()
        if made:
            path.parent.rmdir()
    assert done.returncode == 0, done.stderr
    assert done.stdout == tree.native_output["python"]


def test_removed_entry_of_a_listed_folder(tree, poison):
    """The listing is the signed one; the program never reads the file, so nothing is missed."""
    path = tree.folder / "listed/two"
    with tree.kept(path):
        path.unlink()
        done = tree.run("python", poison)
    assert done.returncode == 0 and done.stdout == tree.native_output["python"], done.stderr


@pytest.mark.parametrize("name, value", [
    ("LD_PRELOAD", "/lib/x86_64-linux-gnu/libm.so.6"), ("LD_LIBRARY_PATH", "/tmp"),
    ("PYTHONPATH", "/tmp"), ("PYTHONHOME", "/nowhere"), ("PYTHONSTARTUP", "/tmp/x"), ("PATH", "/nowhere"),
    ("LD_AUDIT", "/tmp/x.so"), ("PYTHONINSPECT", "1"),
])
def test_hostile_environment(tree, name, value):
    done = tree.sgxpy("run", "--device", "soft", tree.bundle("python"), cwd=tree.folder,
                      env={**tree.environment, name: value})
    assert done.returncode == 0, done.stderr
    assert done.stdout == tree.native_output["python"]


def test_runs_from_anywhere(tree):
    done = tree.sgxpy("run", "--device", "soft", tree.bundle("python"), cwd="/", env=tree.environment)
    assert done.returncode == 0 and done.stdout == tree.native_output["python"], done.stderr


# ---- --deny -------------------------------------------------------------------------------------

DENY = f"""
import errno
try:
    with open("data.bin", "rb") as f:
        print(sum(f.read()))
except OSError as e:
    print(errno.errorcode[e.errno])
print("{LAST_LINE}")
"""


@pytest.fixture(scope="module")
def deny_tree(tree):
    (tree.folder / "deny.py").write_text(DENY)
    tree.build("deny", [str(tree.folder / "bin/python3.11"), "deny.py"])
    return tree


@pytest.mark.parametrize("change", REFUSED)
def test_denied_file_is_an_error_to_the_program(deny_tree, change, poison, tmp_path):
    path = deny_tree.folder / "data.bin"
    audit = tmp_path / "audit.jsonl"
    with deny_tree.kept(path):
        REFUSED[change](path)
        done = deny_tree.run("deny", poison, "--audit", audit)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"EIO\n{LAST_LINE}\n"
    assert str(path) in audit.read_text()
