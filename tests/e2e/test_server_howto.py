"""docs/howto-server.md as a new user reads it: each command at a terminal, requests, ^C, requests to the enclave, ^C."""

import os
import re
import shlex
import shutil
import signal
import ssl
import urllib.request

import pytest
from conftest import ROOT
from processes import WAIT, Terminal, free_port, run
from servers import PYTHON, need, need_module
from test_server_examples import RedisServer

TEXT = (ROOT / "docs/howto-server.md").read_text()
SHORT = re.search(r"^    \$ sgxpy run -- (.*)$", TEXT, re.M)[1]
EXAMPLES = re.search(r"## The examples\n\n((?:    .*\n)+)", TEXT)[1]
COMMANDS = [SHORT] + [line.partition("#")[0].strip() for line in EXAMPLES.splitlines()]
NEEDS = {"gunicorn": "flask", "aiohttp_app.py": "aiohttp"}


def ask(port, tls):
    context = ssl._create_unverified_context() if tls else None
    with urllib.request.urlopen(f"http{'s' if tls else ''}://127.0.0.1:{port}/", timeout=WAIT, context=context) as answer:
        assert answer.status == 200
        return answer.read()


def answers(port, tls):
    try:
        ask(port, tls)
        return True
    except (OSError, ConnectionError):
        return False


@pytest.mark.parametrize("command", COMMANDS)
def test_command(sgxpy, tmp_path, command):
    for word, module in NEEDS.items():
        if word in command:
            need_module(module)
    folder = tmp_path / "server"
    shutil.copytree(ROOT / "examples/server", folder)
    (folder / "data").mkdir()
    port = str(free_port())
    words = shlex.split(command)
    need(words[0])
    tls = "tls_server.py" in words
    if tls:
        need("openssl")
        made = re.search(r"openssl req .*\\\n.*$", (folder / "tls_server.py").read_text(), re.M)[0]
        run(["sh", "-c", made], cwd=folder, check=True)
    redis = RedisServer(tmp_path) if "counter.py" in words else None
    database = f"/tmp/sgxpy-howto-{port}.db"
    swap = {"8080": port, "8443": port, "127.0.0.1:8080": f"127.0.0.1:{port}", "/tmp/notes.db": database,
            "6379": str(redis.port) if redis else ""}
    words = [swap.get(w, w) for w in words]
    options = ["--allow", "data/"] if "data/notes.db" in words else []
    if "site" in words:
        options = ["--deny", "site"]
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    try:
        with Terminal([sgxpy.path, "run", *options, "--", *words], folder, environment) as t:
            t.until(lambda text: answers(port, tls), "an answer while tracing")
            for _ in range(20):
                ask(port, tls)
            t.until(lambda text: "sgxpy: tracing; Ctrl-C starts the enclave" in text, "the line about ^C")
            t.interrupt()
            t.until(lambda text: "running in the enclave" in text or "rewritten by the program" in text,
                    "the enclave")
            if database in words:
                os.unlink(database)  # it was a real one while tracing
            t.until(lambda text: answers(port, tls), "an answer from the enclave")
            for _ in range(20):
                ask(port, tls)
            t.interrupt()
            assert t.wait() in (0, 128 + signal.SIGINT), t.text()
            assert "refused" not in t.text()
    finally:
        if redis:
            redis.__exit__()
        if os.path.exists(database):
            os.unlink(database)


def test_names_of_the_page():
    """What the page names is there."""
    for name in re.findall(r"`(tests/[^`]*|docs/[^`]*|examples/[^`]*)`", TEXT):
        assert (ROOT / name.partition(",")[0]).exists(), name
    assert PYTHON and len(COMMANDS) == 8
