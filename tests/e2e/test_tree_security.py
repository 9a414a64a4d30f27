"""What a hostile host can do to a tree of processes with files, bundles and signals: nothing that the parent takes
for a child's own doing. Attacks on the channel itself are unit tests (tests/unit/enclave)."""

import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess

import pytest
from processes import WAIT, Background

PYTHON = "/usr/bin/python3"

CHILD = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char line[200];
    FILE *f = fopen(argc > 1 ? argv[1] : "inner/child.txt", "r");
    if (!f) {
        perror("the child");
        return 9;
    }
    printf("the child read: %s", fgets(line, sizeof(line), f) ? line : "nothing\n");
    fflush(stdout);
    if (argc > 2) /* until someone ends it */
        while (read(0, line, 1) > 0)
            ;
    return 0;
}
"""

# What it does is the host's word, so that a run can differ from the trace.
PARENT = """
import os, subprocess, sys
for line in sys.stdin:
    what, *words = line.split()
    try:
        if what == "open":
            print("the parent read:", open(words[0]).read().strip())
        elif what == "put":
            with open(words[0], "w") as file:
                file.write(words[1] + "\\n")
        elif what == "remove":
            os.unlink(words[0])
        elif what == "run":
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            print("ended", done.returncode, done.stdout.decode().strip())
        elif what == "hold":
            p = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            print("up:", p.stdout.readline().decode().strip(), flush=True)
            print("ended", p.wait(), flush=True)
    except OSError as e:
        print("refused", e.errno)
    sys.stdout.flush()
print("the parent ended")
"""

WITH_CHILD = "open parent.txt\nrun ./child\n"
OUTPUT = "the parent read: of the parent\nended 0 the child read: of the child\nthe parent ended\n"


class Tree:
    """A traced and signed program of two nodes; text is what it does in the traced run."""

    def __init__(self, folder, sgxpy, text=WITH_CHILD):
        self.folder, self.sgxpy = folder, sgxpy
        (folder / "child.c").write_text(CHILD)
        subprocess.run(["gcc", "child.c", "-o", "child"], cwd=folder, check=True)
        (folder / "parent.py").write_text(PARENT)
        (folder / "inner").mkdir()  # Python lists the script's own folder, so that its names are known
        (folder / "parent.txt").write_text("of the parent\n")
        (folder / "inner/child.txt").write_text("of the child\n")
        done = self.must("trace", "-o", "t.trace", "--", PYTHON, "parent.py", input=text)
        assert "ended 0 the child read: of the child\nthe parent ended\n" in done.stdout
        self.must("manifest", "t.trace", "-o", "t.json")
        self.must("sign", "t.json", "--key", sgxpy.key, "-o", "t.sgx")
        self.bundle = folder / "t.sgx"

    def must(self, *arguments, **options):
        done = self.sgxpy(*arguments, cwd=self.folder, **options)
        assert done.returncode == 0, done.stderr
        return done

    def node(self, bundle=None):
        """The folder of the child's node: the one whose manifest names what only the child read."""
        found = [m.parent for m in sorted((bundle or self.bundle).glob("nodes/*/manifest.bin"))
                 if str(self.folder / "inner/child.txt").encode() in m.read_bytes()]
        assert len(found) == 1 and found[0].name != "0", found
        return found[0]

    def run(self, *options, bundle=None, text=WITH_CHILD):
        return self.sgxpy("run", "--device", "soft", *options, bundle or self.bundle, cwd=self.folder, input=text)

    @contextlib.contextmanager
    def running(self, text):
        """A run that has said `up`; ends with the test, whatever happens."""
        with Background([self.sgxpy.path, "run", "--device", "soft", "--quiet", self.bundle], self.folder,
                        merged=False) as process:
            process.write(text)
            assert process.line() == "up: the child read: of the child\n", process.error_output
            yield process


@pytest.fixture(scope="module")
def tree(sgxpy, tmp_path_factory):
    return Tree(tmp_path_factory.mktemp("security").resolve(), sgxpy)


@pytest.fixture
def copy(tree, tmp_path):
    """A bundle to spoil."""
    return pathlib.Path(shutil.copytree(tree.bundle, tmp_path / "copy.sgx"))


@pytest.fixture(params=[False, True], ids=["", "poison"])
def poison(request):
    return ["--poison"] if request.param else []


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def child_did_not_run(done):
    """The tree stopped with a message, at its start or when the child was wanted; or the parent was told that the
    child did not start."""
    assert "the child read" not in done.stdout, done.stdout
    if done.returncode in (2, 3, 4):
        assert "the parent ended" not in done.stdout
    else:
        assert re.search(r"^refused \d+$", done.stdout, re.M), done.stdout + done.stderr
        assert done.returncode == 0 and "the parent ended" in done.stdout
    lines = [l for l in done.stderr.splitlines() if "no protection against" not in l]
    assert lines and "Traceback" not in done.stderr, done.stderr


def test_unchanged(tree, poison):
    for _ in range(2):
        done = tree.run(*poison)
        assert (done.stdout, done.returncode) == (OUTPUT, 0), done.stderr


# ---- the bundle ---------------------------------------------------------------------------------

def test_node_of_another_signer(tree, copy, tmp_path):
    key = tmp_path / "other.pem"
    tree.must("keygen", "-o", key)
    tree.must("sign", "t.json", "--key", key, "-o", tmp_path / "other.sgx")
    node = tree.node(copy)
    shutil.rmtree(node)
    shutil.copytree(tree.node(tmp_path / "other.sgx"), node)
    child_did_not_run(tree.run(bundle=copy))


def test_sigstruct_of_another_signer(tree, copy, tmp_path):
    key = tmp_path / "other.pem"
    tree.must("keygen", "-o", key)
    tree.must("sign", "t.json", "--key", key, "-o", tmp_path / "other.sgx")
    shutil.copy(tree.node(tmp_path / "other.sgx") / "sigstruct.bin", tree.node(copy) / "sigstruct.bin")
    child_did_not_run(tree.run(bundle=copy))


def test_node_of_another_cascade(tree, copy, tmp_path):
    """The same program, signer and file paths, from a trace of its own: another cascade id."""
    tree.must("trace", "-o", tmp_path / "o.trace", "--", PYTHON, "parent.py", input="run ./child\n")
    tree.must("manifest", tmp_path / "o.trace", "-o", tmp_path / "o.json")
    tree.must("sign", tmp_path / "o.json", "--key", tree.sgxpy.key, "-o", tmp_path / "o.sgx")
    node = tree.node(copy)
    shutil.rmtree(node)
    shutil.copytree(tree.node(tmp_path / "o.sgx"), node)
    child_did_not_run(tree.run(bundle=copy))


def test_debug_node_under_a_production_parent(tree, copy, tmp_path):
    tree.must("manifest", "t.trace", "--debug", "-o", tmp_path / "debug.json")
    tree.must("sign", tmp_path / "debug.json", "--key", tree.sgxpy.key, "-o", tmp_path / "debug.sgx")
    node = tree.node(copy)
    shutil.rmtree(node)
    shutil.copytree(tree.node(tmp_path / "debug.sgx"), node)
    child_did_not_run(tree.run(bundle=copy))


def test_missing_node(tree, copy):
    shutil.rmtree(tree.node(copy))
    child_did_not_run(tree.run(bundle=copy))


@pytest.mark.parametrize("name", ["manifest.bin", "sigstruct.bin"])
def test_no_byte_of_a_child_can_change(tree, copy, name):
    path = tree.node(copy) / name
    content = path.read_bytes()
    for position in [len(content) * i // 12 for i in range(12)] + [len(content) - 1]:
        flip(path, position)
        child_did_not_run(tree.run(bundle=copy))
        path.write_bytes(content)


def test_child_in_the_place_of_the_root(tree, copy, poison):
    """A node that is not `root` runs only under an attested parent."""
    node = tree.node(copy)
    shutil.rmtree(copy / "nodes/0")
    shutil.copytree(node, copy / "nodes/0")
    done = tree.run(*poison, bundle=copy)
    assert done.returncode in (2, 3, 4) and done.stdout == "", done.stdout + done.stderr
    assert done.stderr.strip(), "refused without a word"


def test_child_alone_with_a_matching_cascade(tree, copy):
    """The same, with cascade.json saying that this node is the first: the measured manifest still says no."""
    node = tree.node(copy)
    cascade = json.loads((copy / "cascade.json").read_text())
    nodes = cascade.get("nodes")
    assert isinstance(nodes, list) and len(nodes) > int(node.name)
    number = int(node.name)
    nodes[0], nodes[number] = nodes[number], nodes[0]
    (copy / "cascade.json").write_text(json.dumps(cascade, sort_keys=True))
    (copy / "nodes/0").rename(copy / "nodes/other")
    node.rename(copy / "nodes/0")
    (copy / "nodes/other").rename(node)
    done = tree.run(bundle=copy)
    assert done.returncode in (2, 3, 4) and done.stdout == "", done.stdout + done.stderr


# ---- files --------------------------------------------------------------------------------------

@contextlib.contextmanager
def changed(path, change):
    content, mode = path.read_bytes(), path.stat().st_mode
    try:
        change(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)


CHANGES = {
    "a byte": lambda p: flip(p, 3),
    "shorter": lambda p: os.truncate(p, p.stat().st_size - 1),
    "deleted": lambda p: p.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["inner/child.txt", "child"])
def test_trusted_file_of_a_child(tree, name, change, poison):
    """A violation anywhere stops the tree: exit 3, the file is named, nothing of the child is used."""
    path = tree.folder / name
    with changed(path, CHANGES[change]):
        done = tree.run(*poison)
    assert "the child read" not in done.stdout, done.stdout
    assert done.returncode == 3, done.stdout + done.stderr
    assert any(str(path) in line for line in done.stderr.splitlines()), done.stderr
    if change == "a byte":
        assert len(set(re.findall(r"\b[0-9a-f]{64}\b", done.stderr))) >= 2, done.stderr


def test_untouched_child_is_not_looked_at(tree):
    """Files are verified when they are used: a parent that does not start it does not care."""
    with changed(tree.folder / "inner/child.txt", CHANGES["a byte"]):
        done = tree.run(text="open parent.txt\n")
    assert (done.stdout, done.returncode) == ("the parent read: of the parent\nthe parent ended\n", 0), done.stderr


def test_permissions_are_each_nodes_own(tree, tmp_path, poison):
    """What only the child touched is absent in the parent, and the reverse."""
    audit = tmp_path / "audit.jsonl"
    done = tree.run(*poison, "--audit", audit, text="open inner/child.txt\nrun ./child parent.txt\nrun ./child inner/child.txt\n")
    assert done.stdout == ("refused 2\nended 9 the child: No such file or directory\n"
                           "ended 0 the child read: of the child\nthe parent ended\n"), done.stderr
    events = [json.loads(line) for line in audit.read_text().splitlines()]
    absent = {pathlib.Path(e["path"]).name: e for e in events if e.get("path", "").endswith((".txt",))}
    assert absent.keys() == {"child.txt", "parent.txt"}
    assert absent["child.txt"]["node"] != absent["parent.txt"]["node"]
    assert absent["child.txt"]["pid"] != absent["parent.txt"]["pid"]


def test_scratch_files_are_granted_by_node(sgxpy, tmp_path):
    """What is in /tmp is for the nodes that used it in the trace; the host sees none of it."""
    name = f"/tmp/sgxpy-test-{os.getpid()}"
    tree = Tree(tmp_path, sgxpy, f"put {name} x\nrun cat {name}\nremove {name}\nrun ./child\n")
    assert not os.path.exists(name)
    done = tree.run(text=f"put {name} secret\nrun cat {name}\nrun ./child {name}\nrun ./child\nremove {name}\n")
    assert done.stdout == ("ended 0 secret\nended 9 the child: No such file or directory\n"
                           "ended 0 the child read: of the child\nthe parent ended\n"), done.stderr
    with tree.running(f"put {name} secret\nhold ./child inner/child.txt wait\n"):
        assert not os.path.exists(name)
    assert not os.path.exists(name)
    assert tree.run(text=f"run cat {name}\n").stdout.startswith("ended 1"), "it outlived its run"


STEERED = """
import os, subprocess, sys
for line in sys.stdin:
    environment = dict(os.environ)
    if line.strip() == "steer":
        environment["PYTHONPATH"] = "/dev/shm"
        with open("/dev/shm/sitecustomize.py", "w") as file:
            file.write("print('the code of the parent')\\n")
    print(subprocess.run([sys.executable, "child.py"], env=environment, stdout=subprocess.PIPE).stdout.decode(), end="")
"""


def test_parent_cannot_make_its_child_run_other_code(sgxpy, tmp_path):
    """The child is the node that was measured, with that node's rights; what it imports the parent has written."""
    (tmp_path / "parent.py").write_text(STEERED)
    (tmp_path / "child.py").write_text("print('the child')\n")
    for arguments in [("trace", "-o", "t.trace", "--", PYTHON, "parent.py"), ("manifest", "t.trace", "-o", "t.json"),
                      ("sign", "t.json", "--key", sgxpy.key, "-o", "t.sgx")]:
        if (done := sgxpy(*arguments, cwd=tmp_path, input="plain\n")).returncode:
            raise RuntimeError(done.stderr)  # not what is expected to fail
    done = sgxpy("run", "--device", "soft", "t.sgx", cwd=tmp_path, input="plain\nsteer\n")
    if not done.stdout.startswith("the child\n"):
        raise RuntimeError(done.stdout + done.stderr)
    assert done.stdout == "the child\nthe child\n"


def test_program_that_the_manifest_does_not_name(tree, tmp_path):
    audit = tmp_path / "audit.jsonl"
    done = tree.run("--audit", audit, text="run /bin/true\nrun sh -c true\nrun ./child\n")
    assert done.stdout.splitlines()[-2:] == ["ended 0 the child read: of the child", "the parent ended"], done.stderr
    assert re.fullmatch(r"refused (2|13)", done.stdout.splitlines()[0])
    assert re.fullmatch(r"refused (2|13)", done.stdout.splitlines()[1])
    assert "/bin/true" in audit.read_text()


def test_other_command_of_the_same_shell(sgxpy, tmp_path):
    """`sh -c TEXT` is its text: another one is another program."""
    (tmp_path / "p.py").write_text(
        "import subprocess, sys\ntry:\n    print(subprocess.getoutput(sys.stdin.read()))\n"
        "except OSError as e:\n    print('refused', e.errno)\n")
    command = [PYTHON, "p.py"]
    for arguments in (["trace", "-o", "p.trace", "--", *command], ["manifest", "p.trace", "-o", "p.json"],
                      ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
        assert sgxpy(*arguments, cwd=tmp_path, input="echo 12 times").returncode == 0
    assert sgxpy("run", "p.sgx", cwd=tmp_path, input="echo 12 times").stdout == "12 times\n"
    assert sgxpy("run", "p.sgx", cwd=tmp_path, input="echo 345 times").stdout == "345 times\n"  # digits are left out
    done = sgxpy("run", "p.sgx", cwd=tmp_path, input="echo otherwise")
    assert done.stdout == "refused 13\n", done.stdout + done.stderr


# ---- processes that were taken over ---------------------------------------------------------------

# Native code in the enclave can do what the library OS can: it calls its functions where they lie. It asks the hub for
# a child of the measurement that it is told to name, starts none, and speaks in that child's place.
TAKEN_OVER = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define _LINUX_SIGNAL_H
#include "tree/hub.h"

static int64_t (*ask_hub)(struct hub_ask *);
static void (*use_ticket)(const struct attest_ticket *, uint32_t, int32_t, uint8_t *);
static void (*init_greeted)(struct channel *, uint32_t, bool, const uint8_t *, const uint8_t *);
static int (*send_channel)(struct channel *, const void *, uint32_t);
static int64_t (*try_receive)(struct channel *, void *, uint32_t);
static uint8_t mrenclave[32], secret[32], greeting[32] = "hello", stack[1 << 16] __attribute__((aligned(4096)));
static struct attest_ticket ticket;
static struct channel channel;
static struct {
    struct hub_reply reply;
    uint8_t data[HUB_DATA_MAX];
} answer __attribute__((aligned(16)));

int main(int argc, char **argv)
{
    if (argc < 7)
        return 0;
    void **const functions[] = { (void **)&ask_hub, (void **)&use_ticket, (void **)&init_greeted,
                                 (void **)&send_channel, (void **)&try_receive };
    for (int i = 0; i < 5; i++)
        *functions[i] = (void *)strtoul(argv[1 + i], NULL, 16);
    for (int i = 0; i < 32; i++) {
        char byte[3] = { argv[6][2 * i], argv[6][2 * i + 1], 0 };
        mrenclave[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    /* The library OS takes no page faults on its own stack: bring in what it will use of this one, and all that it
     * writes to. */
    volatile uint8_t deep[1 << 16];
    for (size_t i = 0; i < sizeof(deep); i += 64)
        deep[i] = 0;
    memset(stack, 0, sizeof(stack));
    memset(&answer, 0, sizeof(answer));
    memset(&channel, 0, sizeof(channel));
    memset(&ticket, 0, sizeof(ticket));
    memset(secret, 0, sizeof(secret));

    struct hub_ask ask = { .op = HUB_NEW_PID, .args = { SIGCHLD } };
    int64_t pid = ask_hub(&ask);
    ask = (struct hub_ask){ .op = HUB_SPAWN, .args = { (uint64_t)pid }, .data = mrenclave, .size = sizeof(mrenclave),
                            .reply = &ticket, .room = sizeof(ticket) };
    int64_t r = ask_hub(&ask);
    uint32_t slot = (uint32_t)ask.out[0];
    printf("a ticket: %d", pid > 0 && r == 0 && ask.reply_size == sizeof(ticket));
    fflush(stdout);

    use_ticket(&ticket, slot, (int32_t)pid, secret);
    init_greeted(&channel, slot, true, secret, greeting);
    struct hub_request hello = { .op = HUB_HELLO, .self = (int32_t)pid };
    r = send_channel(&channel, &hello, sizeof(hello));
    for (int i = 0; i < 3; i++) /* when these are answered, the hub has been at that slot */
        (void)ask_hub(&(struct hub_ask){ .op = HUB_GETPPID });
    if (r == 0)
        r = try_receive(&channel, &answer, sizeof(answer));
    printf(", %s", r == sizeof(struct hub_reply) && answer.reply.ret == 0 ? "it is the child" : "nobody listens");

    ask = (struct hub_ask){ .op = HUB_SPAWN_DONE, .args = { (uint64_t)pid, argc > 7 ? EAGAIN : 0, 1 } };
    r = ask_hub(&ask);
    printf(", it %s\n", r == 0 ? "runs" : r == -EPROTO ? "does not run" : "?");
    return 0;
}
"""
FUNCTIONS = ["hub_ask", "attest_ticket_use", "channel_init_greeted", "channel_send", "channel_try_receive"]


def test_process_that_plays_its_child(sgxpy, tmp_path, poison):
    """It can do all that, but for a measurement that is not its own the hub does not listen."""
    libos = sgxpy.build / "src/enclave/sgxpy-libos.debug"
    names = dict(reversed(line.split()[::2]) for line in subprocess.run(
        ["nm", libos], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines() if len(line.split()) == 3)
    (tmp_path / "taken.c").write_text(TAKEN_OVER)
    source = pathlib.Path(__file__).resolve().parents[2] / "src"
    subprocess.run(["gcc", "-O1", "-std=gnu11", "-I", source, "-I", source / "enclave", "taken.c", "-o", "taken"],
                   cwd=tmp_path, check=True)
    tree = Tree(tmp_path, sgxpy, "run ./taken\nrun ./child\n")
    nodes = {node["label"].split()[0]: node for node in json.loads(tree.must("show", "--json", "t.sgx").stdout)["nodes"]}
    addresses = " ".join(names[name] for name in FUNCTIONS)

    def attack(node):
        done = tree.run(*poison, text=f"run ./taken {addresses} {nodes[node]['mrenclave']}\nrun ./child\n")
        assert done.returncode == 0 and done.stdout.endswith(OUTPUT[OUTPUT.index("ended"):]), done.stdout + done.stderr
        return done.stdout.splitlines()[0], done.stderr

    said, errors = attack("taken")
    assert said == "ended 0 a ticket: 1, it is the child, it runs", errors
    for other in ("child", "python3.11" if "python3.11" in nodes else "python3"):
        said, errors = attack(other)
        # This host kills who has spoken there, when the hub says so; another one need not.
        assert said in ("ended -9 a ticket: 1", "ended 0 a ticket: 1, nobody listens, it does not run"), errors
        assert "was not said by the program that it was to be" in errors


# ---- processes of the host ----------------------------------------------------------------------

def parents():
    """pid -> parent's pid, of every process of this machine."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                found[int(entry)] = int(pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
    return found


def descendants(pid):
    found, last = {pid}, set()
    family = parents()
    while found != last:
        last = set(found)
        found |= {p for p, parent in family.items() if parent in found}
    return found - {pid}


def send(pids, *numbers):
    """Sends these signals to those that are still there; whether there was one."""
    found = False
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            for number in numbers:
                os.kill(pid, number)
                found = True
    return found


def all_end(handles):
    """Whether each of these pidfds says within the time that its process has ended."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    waiting = set(handles)
    while waiting:
        events = poll.poll(WAIT * 1000)
        if not events:
            return False
        for handle, _ in events:
            waiting.discard(handle)
            poll.unregister(handle)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_root(tree, number):
    with tree.running("hold ./child inner/child.txt wait\n") as process:
        handles = []
        for pid in descendants(process.process.pid):
            with contextlib.suppress(ProcessLookupError):  # ended since
                handles.append(os.pidfd_open(pid))
        assert handles, "the child lives in no process of its own"
        process.signal(number)
        try:
            assert all_end(handles), "processes of the tree are left"
        finally:
            for handle in handles:
                os.close(handle)
        assert process.wait() != 0


def test_killed_child_reads_as_killed(tree):
    """The host may kill: the parent is told SIGKILL, never an exit code."""
    with tree.running("hold ./child inner/child.txt wait\n") as process:
        assert send(descendants(process.process.pid), signal.SIGKILL)
        assert process.line() == "ended -9\n"
        process.close_input()
        assert process.line() == "the parent ended\n"
        assert process.wait() == 0


def test_host_signals_do_not_reach_a_child(tree):
    """Signals between processes of the tree go through the tree: the host cannot say that one sent SIGUSR1 or SIGCHLD."""
    with tree.running("hold ./child inner/child.txt wait\n") as process:
        assert send(descendants(process.process.pid), signal.SIGUSR1, signal.SIGCHLD, signal.SIGURG)
        assert process.silent(0.3), "the child ended"


def test_stopped_child_only_waits(tree):
    with tree.running("hold ./child inner/child.txt wait\n") as process:
        children = descendants(process.process.pid)
        assert send(children, signal.SIGSTOP)
        assert process.silent(0.3), "the parent took it for an end"
        assert send(children, signal.SIGCONT, signal.SIGKILL)
        assert process.line() == "ended -9\n"


# ---- what people are shown ----------------------------------------------------------------------

def test_show_draws_the_tree(sgxpy, tmp_path):
    """As in the manual: a line a node, its measurement, its files; a program that starts itself is marked."""
    (tmp_path / "worker.py").write_text(
        "import subprocess, sys\nif len(sys.argv) < 2:\n    subprocess.run([sys.executable, 'worker.py', 'inner'])\n")
    (tmp_path / "report.py").write_text(
        "import subprocess, sys\nsubprocess.run(['sh', '-c', 'uname -p'])\n"
        "subprocess.run('sort data | uniq', shell=True)\nsubprocess.run([sys.executable, 'worker.py'])\n")
    (tmp_path / "data").write_text("b\na\n")
    for arguments in (["trace", "-o", "r.trace", "--", PYTHON, "report.py"], ["manifest", "r.trace", "-o", "r.json"],
                      ["sign", "r.json", "--key", sgxpy.key, "-o", "r.sgx"]):
        done = sgxpy(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    shown = sgxpy("show", "r.sgx", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    lines = [l for l in shown.stdout.splitlines() if "MRENCLAVE" in l]
    assert lines[0].startswith("python3") and "report.py" in lines[0] and "trusted" in lines[0]
    drawn = [l for l in lines if re.match(r"[ │]*[├└]─ ", l)]
    for name in ("uname", "sort", "uniq", "worker.py"):
        assert any(name in l for l in drawn), shown.stdout
    assert any("worker.py" in l and "↺" in l for l in drawn), shown.stdout
    assert not any("report.py" in l and "↺" in l for l in lines), shown.stdout
    assert len({re.search(r"MRENCLAVE ([0-9a-f]+)", l).group(1) for l in lines}) == len(lines)
    data = json.loads(sgxpy("show", "--json", "r.sgx", cwd=tmp_path).stdout)
    assert len(data["nodes"]) == len(lines)


def test_two_scripts_of_one_interpreter_are_two_nodes(sgxpy, tmp_path):
    (tmp_path / "a.py").write_text("import subprocess, sys\nsubprocess.run([sys.executable, 'b.py'], check=True)\n"
                                   "print(open('for-a/file').read())\n")
    (tmp_path / "b.py").write_text("print(open('for-b/file').read(), flush=True)\n")
    for name in ("a", "b"):
        (tmp_path / f"for-{name}").mkdir()
        (tmp_path / f"for-{name}/file").write_text(name)
    for arguments in (["trace", "-o", "t.trace", "--", PYTHON, "a.py"], ["manifest", "t.trace", "-o", "t.json"],
                      ["sign", "t.json", "--key", sgxpy.key, "-o", "t.sgx"]):
        done = sgxpy(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    manifests = [m.read_bytes() for m in sorted((tmp_path / "t.sgx").glob("nodes/*/manifest.bin"))]
    assert len(manifests) == 2
    for name in ("for-a/file", "for-b/file"):
        assert sum(str(tmp_path / name).encode() in m for m in manifests) == 1
    assert sgxpy("run", "t.sgx", cwd=tmp_path).stdout == "b\na\n"
