"""http.server with a static site, in the enclave: pages, load, tampering with and without --deny."""

import json
import signal

import pytest
from servers import PYTHON, Example, ab, wrk

PAGES = {"index.html": b"<h1>hello</h1>\n", "page.html": b"x" * 4096, "big.bin": b"y" * 300_000,
         "last.html": b"the last one\n"}
COMMAND = [PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "--directory", "site", "0"]


def example(sgxpy, folder):
    site = folder / "site"
    site.mkdir()
    for name, content in PAGES.items():
        (site / name).write_bytes(content)
    return Example(sgxpy, folder, COMMAND)


def drive(server):
    for name in ("", *PAGES):
        status, body = server.get("/" + name)
        assert status == 200 and body == PAGES[name or "index.html"]
    assert server.get("/not-there")[0] == 404


def test_pages_and_load(sgxpy, tmp_path):
    with example(sgxpy, tmp_path).build(drive).enclave() as server:
        drive(server)
        wrk(server.port, "/page.html")
        ab(server.port, "/page.html")
        drive(server)
        assert server.stop(signal.SIGINT) == 0, server.output
        assert "Keyboard interrupt received" in server.output


def test_poison(sgxpy, tmp_path):
    with example(sgxpy, tmp_path).build(drive).enclave("--poison") as server:
        drive(server)


TAMPER = {
    "other byte": lambda p: p.write_bytes(b"z" + p.read_bytes()[1:]),
    "shorter": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"z"),
    "gone": lambda p: p.unlink(),
}


@pytest.mark.parametrize("how", TAMPER)
@pytest.mark.parametrize("page", ["last.html", "big.bin"])
def test_tampered_page_is_refused_and_the_others_served(sgxpy, tmp_path, page, how):
    site = tmp_path / "site"
    with example(sgxpy, tmp_path).build(drive, "--deny", "site").enclave("--audit", "audit.log") as server:
        TAMPER[how](site / page)
        try:
            status, body = server.get("/" + page)
            assert status != 200 or body != (site / page).read_bytes()
            assert status in (200, 404) and (status == 404 or body == PAGES[page][:len(body)])
        except (ConnectionError, OSError, ValueError):
            pass
        except Exception as e:  # http.client's own
            assert type(e).__name__ in ("IncompleteRead", "RemoteDisconnected", "BadStatusLine")
        for other in PAGES:
            if other != page:
                assert server.get("/" + other) == (200, PAGES[other])
        assert server.stop(signal.SIGINT) == 0, server.output
        assert f"denied (EIO): '{site / page}'" in server.output
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    refused = [x for x in lines if x["event"] == "refused"]
    assert refused and all(x["path"] == str(site / page) and x["action"] == "deny" for x in refused)


def test_without_deny_the_whole_server_stops(sgxpy, tmp_path):
    with example(sgxpy, tmp_path).build(drive).enclave() as server:
        TAMPER["other byte"](tmp_path / "site/last.html")
        with pytest.raises(Exception):
            status, body = server.get("/last.html")
            assert body == (tmp_path / "site/last.html").read_bytes()
        assert server.wait() == 3
        assert "last.html' is not what was signed" in server.output


def test_deny_serves_pages_that_no_request_asked_for(sgxpy, tmp_path):
    def one(server):
        assert server.get("/page.html")[0] == 200

    server = example(sgxpy, tmp_path).build(one, "--deny", "site")
    (tmp_path / "site/new.html").write_text("added after signing")
    with server.enclave() as inside:
        for name in PAGES:
            assert inside.get("/" + name) == (200, PAGES[name])
        assert inside.get("/new.html")[0] == 404


def test_code_in_a_denied_folder_still_stops(sgxpy, tmp_path):
    server = example(sgxpy, tmp_path)
    (tmp_path / "site/tool.py").write_text("print('x')\n")
    server.trace(lambda s: s.get("/tool.py"))
    done = sgxpy("manifest", "server.trace", "-o", "server.json", "--deny", "site", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 file in it can be imported or executed and still ends the program" in done.stderr
    flags = {f["path"]: f.get("flags", []) for n in json.loads((tmp_path / "server.json").read_text())["nodes"]
             for f in n["files"]}
    assert "deny" not in flags[str(tmp_path / "site/tool.py")]
    assert "deny" in flags[str(tmp_path / "site/page.html")]


@pytest.mark.parametrize("path, message", [("empty", "no data file in it"), ("/dev/null", "library OS"),
                                           ("absent", "no regular file or folder")])
def test_wrong_deny(sgxpy, tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    assert sgxpy("trace", "-o", "t", "--", "/bin/true", cwd=tmp_path).returncode == 0
    done = sgxpy("manifest", "t", "-o", "j", "--deny", path, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
