"""A host with few descriptors: the program is told EMFILE, and goes on; nothing that is trusted is missing for it."""

import resource
import subprocess

import pytest
from servers import PYTHON

PROGRAM = """
import errno, select, socket
listener = socket.create_server(("127.0.0.1", 0))
held = []
def fill():
    try:
        while True:
            held.append(socket.socket())
    except OSError as e:
        return errno.errorcode[e.errno]
print(fill())
for s in held[-4:]:
    s.close()
del held[-4:]
client = socket.create_connection(listener.getsockname(), 10)
print(fill())
try:
    listener.accept()
except OSError as e:
    print(errno.errorcode[e.errno])
poll = select.poll()
poll.register(listener, select.POLLIN)
print(poll.poll(10000)[0][1])
held.pop().close()  # natively an import needs one itself
import bisect, calendar, colorsys, statistics
print("imported", len(held) > 4)
for s in held:
    s.close()
server, _ = listener.accept()
server.sendall(b"hello")
print(client.recv(5, socket.MSG_WAITALL))
"""
EXPECTED = "EMFILE\nEMFILE\nEMFILE\n1\nimported True\nb'hello'\n"


@pytest.fixture(scope="module")
def bundle(sgxpy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    (folder / "program.py").write_text(PROGRAM)

    def done(*arguments):
        out = sgxpy(*arguments, cwd=folder)
        assert out.returncode == 0, out.stderr

    # Natively accept() would wait for ever where there are descriptors enough: the trace has none left.
    native = subprocess.run([sgxpy.path, "trace", "-o", "t.trace", "--", PYTHON, "program.py"], cwd=folder,
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
    assert native.returncode == 0 and native.stdout.endswith(EXPECTED), native.stdout + native.stderr
    done("manifest", "t.trace", "-o", "t.json")
    done("sign", "t.json", "--key", sgxpy.key, "-o", "t.sgx")
    return folder / "t.sgx"


@pytest.mark.parametrize("limit", [40, 100, 400])
def test_few_descriptors(sgxpy, bundle, limit):
    done = sgxpy("run", bundle, cwd=bundle.parent,
                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr
