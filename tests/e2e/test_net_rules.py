"""Network rules: what the trace did not show is refused with an audit line that names the option, and works with
it; ports that the kernel chose are a class; names are resolved from measured files."""

import contextlib
import json
import os
import random
import socket
import threading

import pytest
from processes import WAIT, free_port, run

PYTHON = "/usr/bin/python3.11"

# Tries each "ACTION ADDRESS PORT" of its arguments and says how it went.
TRY = """
import encodings.idna, errno, socket, sys
for one in sys.argv[1:]:
    action, address, port = one.split()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if action == "send" else socket.SOCK_STREAM
    with socket.socket(family, kind) as s:
        try:
            if action == "listen":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, int(port)))
                s.listen()
            elif action == "send":
                s.sendto(b"x", (address, int(port)))
            else:
                s.connect((address, int(port)))
            print(one, "ok", flush=True)
        except OSError as e:
            print(one, errno.errorcode[e.errno], flush=True)
"""

# Serves itself over TCP and UDP on ports of the kernel's choice; a server without bind as well.
ITSELF = """
import socket, threading
def serve(listener):
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"hello")
bare = socket.socket()
bare.listen()
for listener in (socket.create_server(("127.0.0.1", 0)), bare):
    thread = threading.Thread(target=serve, args=(listener,))
    thread.start()
    with socket.socket() as client:
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        print(client.recv(10))
    thread.join()
server, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
server.bind(("127.0.0.1", 0))
client.sendto(b"question", server.getsockname())
question, whose = server.recvfrom(100)
server.sendto(b"answer to " + question, whose)
print(client.recvfrom(100)[0])
"""

NAMES = """
import socket
print(sorted({one[4][0] for one in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}))
print(socket.gethostbyname("localhost"), socket.gethostbyname("127.0.0.1"))
print(socket.getservbyname("https"), socket.getservbyport(53, "udp"))
for name in ("nobody.invalid",):
    try:
        print(socket.getaddrinfo(name, "http", flags=socket.AI_NUMERICHOST))
    except socket.gaierror as e:
        print(e.errno)
"""


class Bundle:
    """A traced program in a folder of its own; made again with other options from the same trace."""

    def __init__(self, sgxpy, folder, source, *arguments):
        self.sgxpy, self.folder = sgxpy, folder
        (folder / "program.py").write_text(source)
        self.do("trace", "-o", "run.trace", "--", PYTHON, "program.py", *arguments)

    def do(self, *arguments, code=0):
        done = self.sgxpy(*arguments, cwd=self.folder)
        assert done.returncode == code, done.stderr
        return done

    def sign(self, *options):
        self.do("manifest", "run.trace", "-o", "run.json", *options)
        self.do("sign", "run.json", "--key", self.sgxpy.key, "-o", "run.sgx")
        return json.loads((self.folder / "run.json").read_text())["nodes"]

    def run(self, *arguments, code=0):
        audit = self.folder / "audit.log"
        audit.unlink(missing_ok=True)
        done = self.do("run", "--audit", "audit.log", "run.sgx", *arguments, code=code)
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        return done, [line for line in lines if line["event"] == "net"], lines


@pytest.fixture
def bundle(sgxpy, tmp_path):
    return lambda source, *arguments: Bundle(sgxpy, tmp_path, source, *arguments)


def test_refused_and_allowed(bundle):
    b = bundle(TRY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = server.getsockname()[1]
        at, udp = free_port(), free_port(socket.SOCK_DGRAM)
        tries = [f"listen 127.0.0.1 {at}", f"connect 127.0.0.1 {to}", f"connect ::ffff:127.0.0.1 {to}",
                 f"send 127.0.0.1 {udp}", "listen 0.0.0.0 0"]

        nodes = b.sign("--args", "host")
        assert "net" not in nodes[0]
        done, net, _ = b.run(*tries)
        assert done.stdout.splitlines() == [f"{one} EACCES" for one in tries]
        told = [(line["action"], line["type"], line["address"]) for line in net]
        assert told == [("listen", "tcp", f"127.0.0.1:{at}"), ("connect", "tcp", f"127.0.0.1:{to}"),
                        ("connect", "tcp", f"127.0.0.1:{to}"), ("connect", "udp", f"127.0.0.1:{udp}"),
                        ("listen", "tcp", "0.0.0.0:0")]
        assert all(line["errno"] == 13 and line["node"] == nodes[0]["label"] for line in net)
        # What the line proposes is what it takes, no more.
        for line in net:
            assert line["option"] in done.stderr
        options = [word for line in net for word in line["option"].split()]
        nodes = b.sign("--args", "host", *options)
        assert nodes[0]["net"] == sorted({f"listen tcp 127.0.0.1:{at}", f"connect tcp 127.0.0.1:{to}",
                                          f"connect udp 127.0.0.1:{udp}", "listen tcp 0.0.0.0:ephemeral"})
        done, net, _ = b.run(*tries)
        assert done.stdout.splitlines() == [f"{one} ok" for one in tries]
        assert not net
        shown = b.do("show", "run.sgx").stdout
        assert all(rule in shown for rule in nodes[0]["net"])

        b.sign("--args", "host", "--connect", "127.0.0.0/8", "--listen", "*")
        done, net, _ = b.run(*tries, f"connect ::1 {to}")
        assert done.stdout.splitlines() == [f"{one} ok" for one in tries] + [f"connect ::1 {to} EACCES"]
        assert [line["address"] for line in net] == [f"[::1]:{to}"]


def test_traced_is_allowed(bundle):
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = server.getsockname()[1]
        b = bundle(TRY, f"connect 127.0.0.1 {to}")
        assert b.sign()[0]["net"] == [f"connect tcp 127.0.0.1:{to}"]
        done, net, _ = b.run()
        assert done.stdout.strip().endswith("ok") and not net


def test_why(bundle):
    """The traced sockets behind a rule, or that there are none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = server.getsockname()[1]
        b = bundle(TRY, f"connect 127.0.0.1 {to}")
        b.sign("--listen", "99")
        shown = b.do("show", "--trace", "run.trace", "--why", f"connect tcp 127.0.0.1:{to}", "run.sgx").stdout
        assert f"connected or sent to 127.0.0.1:{to}\n" in shown and "(pid" in shown
        shown = b.do("show", "--trace", "run.trace", "--why", "listen *:99", "run.sgx").stdout
        assert "by --listen or --connect" in shown and "(pid" not in shown
        assert "no node has this rule" in b.do("show", "--why", "listen *:98", "run.sgx").stdout
        assert f"127.0.0.1:{to}" in b.do("show", "--why", f"connect tcp 127.0.0.1:{to}", "run.trace").stdout
        shown = json.loads(b.do("show", "--json", "run.sgx").stdout)
        assert shown["nodes"][0]["net"] == ["listen *:99", f"connect tcp 127.0.0.1:{to}"]


@pytest.mark.parametrize("option", [("--listen", "host:80"), ("--connect", "443"), ("--connect", "10.0.0.0/33"),
                                    ("--listen", "80-70")])
def test_wrong_option(sgxpy, tmp_path, option):
    done = sgxpy("run", *option, "--", "/bin/true", cwd=tmp_path)
    assert done.returncode == 2 and f"{option[0]} '{option[1]}'" in done.stderr
    assert "traced" not in done.stderr, "said before the program runs"


def test_own_ports(bundle):
    b = bundle(ITSELF)
    native = run([PYTHON, "program.py"], cwd=b.folder, encoding="utf-8", check=True)
    first = b.sign()[0]["net"]
    assert first == ["connect tcp 127.0.0.1:ephemeral", "connect udp 127.0.0.1:ephemeral",
                     "listen tcp 0.0.0.0:ephemeral", "listen udp 127.0.0.1:ephemeral"]
    for _ in range(2):
        done, net, _ = b.run()
        assert done.stdout == native.stdout and not net
    # Another run's numbers are not in it, also beside this one's.
    (b.folder / "run.trace").rename(b.folder / "one.trace")
    b.do("trace", "-o", "run.trace", "--", PYTHON, "program.py")
    assert b.sign("one.trace")[0]["net"] == first


def test_each_node_its_own(bundle, tmp_path):
    """A child's connections are not its parent's."""
    (tmp_path / "child.py").write_text(TRY)
    parent = TRY + """
import subprocess
if len(sys.argv) == 1:
    subprocess.run([sys.executable, "child.py", open("where").read()], check=True)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        to = f"connect 127.0.0.1 {port}"
        (tmp_path / "where").write_text(to)
        b = bundle(parent)
        nodes = b.sign("--args", "host")
        assert [node.get("net", []) for node in nodes] == [[], [f"connect tcp 127.0.0.1:{port}"]]
        done, net, _ = b.run()
        assert done.stdout.splitlines() == [f"{to} ok"] and not net
        done, net, _ = b.run(to)
        assert done.stdout.splitlines() == [f"{to} EACCES"]
        assert [line["node"] for line in net] == [nodes[0]["label"]]


# ---- names ----


def test_names(bundle):
    b = bundle(NAMES)
    native = run([PYTHON, "program.py"], cwd=b.folder, encoding="utf-8", check=True)
    files = {f["path"]: f["class"] for f in b.sign()[0]["files"]}
    assert [files.get(path) for path in ("/etc/hosts", "/etc/nsswitch.conf", "/etc/services")] == ["trusted"] * 3
    done, net, lines = b.run()
    assert done.stdout == native.stdout
    assert not net
    assert not [line for line in lines if "nscd" in line.get("path", "")], "known to be absent: no line"


class NameServer(threading.Thread):
    """Answers each question for an address of IPv4 with 10.11.12.13, others with nothing; until closed."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.questions = 0

    def run(self):
        while True:
            question, whose = self.socket.recvfrom(512)
            if question == b"end":
                break
            self.questions += 1
            end = question.index(b"\0", 12) + 5
            count = 1 if question[end - 4:end - 2] == b"\0\1" else 0
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\x0b\x0c\x0d" * count
            self.socket.sendto(question[:2] + b"\x81\x80\0\1" + bytes([0, count]) + bytes(4) +
                               question[12:end] + answer, whose)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"end", self.socket.getsockname())
        self.join(WAIT)
        self.socket.close()


@pytest.fixture
def name_servers():
    """Two, on loopback addresses of their own."""
    if os.geteuid() != 0:
        pytest.skip("needs root: port 53, and a /etc/resolv.conf of its own")
    servers = []
    try:
        for _ in range(20):
            address = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(2, 255)}"
            with contextlib.suppress(OSError):  # used by another one
                servers.append(NameServer(address))
                servers[-1].start()
            if len(servers) == 2:
                break
        else:
            pytest.skip("port 53 of all loopback addresses is taken here")
        yield servers
    finally:
        for server in servers:
            server.close()


def test_dns(sgxpy, tmp_path, name_servers):
    """The name servers of the traced resolv.conf; another one only with options."""
    (tmp_path / "ask.py").write_text("import socket, sys\n"
                                     "print(socket.gethostbyname('host.sgxpy.test'))\n")
    for number, server in enumerate(name_servers):
        (tmp_path / f"resolv{number}").write_text(f"nameserver {server.socket.getsockname()[0]}\n")

    def inside(server, *arguments, code=0):
        conf = tmp_path / f"resolv{name_servers.index(server)}"
        before = server.questions
        done = run(["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', conf, sgxpy.path,
                    *arguments], cwd=tmp_path, encoding="utf-8")
        if done.stderr.startswith("unshare:") or "mount:" in done.stderr:
            pytest.skip("no mount namespaces here")
        assert done.returncode == code, done.stderr
        return done, server.questions - before

    one, two = name_servers
    command = ["--", PYTHON, "ask.py"]
    done, asked = inside(one, "trace", "-o", "t.trace", *command)
    assert asked
    for options, server, code in (((), one, 0), ((), two, 3),
                                  (("--allow", "/etc/resolv.conf", "--connect", "127.0.0.0/8:53/udp"), two, 0)):
        inside(one, "manifest", "t.trace", "-o", "t.json", *options)
        inside(one, "sign", "t.json", "--key", sgxpy.key, "-o", "t.sgx")
        done, asked = inside(server, "run", "t.sgx", code=code)
        if code:
            assert "/etc/resolv.conf" in done.stderr and not asked
        else:
            assert done.stdout == "10.11.12.13\n" and asked
    rules = json.loads((tmp_path / "t.json").read_text())["nodes"][0]["net"]
    assert rules == ["connect udp 127.0.0.0/8:53"]
