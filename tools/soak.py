#!/usr/bin/python3
"""Long runs of servers in the enclave: memory, descriptors, host threads and mappings do not grow.

Each server answers a tenth of the requests, is looked at, answers the rest, then as many new connections, and is looked at
again. All processes of its tree count together. Prints a table; the last line is "N passed, N failed".
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/e2e")]
sys.dont_write_bytecode = True

from conftest import Sgxpy  # noqa: E402
from servers import PYTHON, Example  # noqa: E402

CONNECTIONS = 8
DATABASE = f"/tmp/sgxpy-soak-{os.getpid()}.db"  # scratch in the enclave; while tracing a real file
GROWTH = 1.05  # resident memory
SLACK = {"descriptors": CONNECTIONS, "threads": CONNECTIONS, "mappings": 100}  # what more work at one time explains

NOTES = """
import http.server, sqlite3, sys
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        db = sqlite3.connect(sys.argv[1], timeout=60)
        with db:
            db.execute("CREATE TABLE IF NOT EXISTS hits (n INTEGER)")
            if db.execute("UPDATE hits SET n = n + 1").rowcount == 0:
                db.execute("INSERT INTO hits VALUES (1)")
            n = db.execute("SELECT n FROM hits").fetchone()[0]
        db.close()
        body = b"%09d" % n
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass
server = Server(("127.0.0.1", 0), Handler)
print("port", server.server_address[1], flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
"""


def application(name):
    """As a server's files."""
    return {"app.py": (ROOT / "bench/programs" / name).read_text()}


# Name, files, command, pattern of the port, path, whether connections are kept, share of the requests.
SERVERS = [
    ("http.server", {}, [PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "--directory", "site", "0"], r"port (\d+)",
     "/page.html", False, 1.0),
    ("aiohttp", application("hello_aiohttp.py"), [PYTHON, "app.py"], r"port (\d+)", "/", True, 1.0),
    ("gunicorn", application("hello_flask.py"), ["gunicorn", "-b", "127.0.0.1:0", "-w", "2", "app:app"],
     r"Listening at: http://127\.0\.0\.1:(\d+)", "/", False, 0.25),
    ("sqlite3", {"app.py": NOTES}, [PYTHON, "app.py", DATABASE], r"port (\d+)", "/", False, 0.05),
]


def tree(pid):
    """The process and all below it."""
    parents = {}
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            parents[int(status.parent.name)] = int(re.search(r"PPid:\t(\d+)", status.read_text())[1])
        except OSError:
            pass
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def look(pid):
    """What the tree holds; once it is at rest (two looks a second apart that agree), or after ten."""
    last = None
    for _ in range(10):
        sums = {"memory": 0, "descriptors": 0, "threads": 0, "mappings": 0}
        for p in tree(pid):
            folder = pathlib.Path(f"/proc/{p}")
            try:
                rollup = (folder / "smaps_rollup").read_text()
                sums["memory"] += sum(int(n) for n in re.findall(r"^Pss:\s+(\d+) kB", rollup, re.M))
                sums["descriptors"] += len(list((folder / "fd").iterdir()))
                sums["threads"] += len(list((folder / "task").iterdir()))
                sums["mappings"] += len((folder / "maps").read_text().splitlines())
            except OSError:
                pass
        if last and all(sums[k] == last[k] for k in SLACK):
            return sums
        last = sums
        time.sleep(1)
    return last


def load(port, path, requests, kept):
    """Requests that were answered wrongly or not at all; the answer is how many a second."""
    if requests == 0:
        return 0, 0.0
    done = subprocess.run(["ab", "-q", *(["-k"] if kept else []), "-n", str(requests), "-c", str(CONNECTIONS), "-s",
                           "60", f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    complete = re.search(r"Complete requests:\s*(\d+)", done.stdout)
    failed = re.search(r"Failed requests:\s*(\d+)", done.stdout)
    rate = re.search(r"Requests per second:\s*([\d.]+)", done.stdout)
    if done.returncode or not complete or not failed or not rate:
        raise RuntimeError(f"ab: {done.stdout}")
    return requests - int(complete[1]) + int(failed[1]), float(rate[1])


def soak(sgxpy, folder, server, requests, reconnects):
    name, files, command, pattern, path, kept, share = server
    (folder / "site").mkdir()
    (folder / "site/page.html").write_bytes(b"x" * 4096)
    for file, text in files.items():
        (folder / file).write_text(text)
    example = Example(sgxpy, folder, command, pattern)

    def drive(s):
        for _ in range(30):
            assert s.get(path)[0] == 200

    try:
        example.trace(drive)
    finally:
        pathlib.Path(DATABASE).unlink(missing_ok=True)
    example.sign()
    requests = int(requests * share)
    with example.enclave("--quiet") as s:
        drive(s)
        start = time.monotonic()
        bad, _ = load(s.port, path, requests // 10, kept)
        first = look(s.process.pid)
        more, rate = load(s.port, path, requests - requests // 10, kept)
        bad += more
        second = look(s.process.pid)
        more, _ = load(s.port, path, reconnects, False)
        bad += more
        third = look(s.process.pid)
        seconds = time.monotonic() - start
        code = s.stop(signal.SIGTERM)
    problems = [f"{bad} requests failed"] if bad else []
    for when, sums in (("requests", second), ("reconnects", third)):
        if sums["memory"] > first["memory"] * GROWTH:
            problems.append(f"memory grew by {100 * (sums['memory'] / first['memory'] - 1):.1f}% ({when})")
        problems += [f"{what}: {first[what]} -> {sums[what]} ({when})" for what in SLACK
                     if sums[what] > first[what] + SLACK[what]]
    if code not in (0, 128 + signal.SIGTERM):
        problems.append(f"exit code {code}")
    return {"server": name, "requests": requests, "reconnects": reconnects, "seconds": round(seconds), "rate": round(rate),
            "after a tenth": first, "after all": second, "after reconnects": third, "problems": problems}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--reconnects", type=int, default=1_000)
    parser.add_argument("--only", action="append", help="a server's name; may be repeated")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    arguments = parser.parse_args()
    results = []
    print(f"{'server':<12} {'requests':>8} {'a second':>8}  {'memory MB':<18} {'descriptors':<14} {'threads':<12} mappings")
    with tempfile.TemporaryDirectory(prefix="sgxpy-soak-", dir="/var/tmp") as folder:
        folder = pathlib.Path(folder)
        key = folder / "key.pem"
        subprocess.run([arguments.build / "sgxpy", "keygen", "-o", key], check=True, stdout=subprocess.DEVNULL)
        sgxpy = Sgxpy(arguments.build.resolve(), key)
        for server in SERVERS:
            if arguments.only and server[0] not in arguments.only:
                continue
            (folder / server[0]).mkdir()
            r = soak(sgxpy, folder / server[0], server, arguments.requests, arguments.reconnects)
            results.append(r)
            looks = [r["after a tenth"], r["after all"], r["after reconnects"]]
            columns = [" ".join(f"{x['memory'] / 1024:.1f}" for x in looks)]
            columns += [" ".join(str(x[what]) for x in looks) for what in SLACK]
            print(f"{r['server']:<12} {r['requests']:>8} {r['rate']:>8}  {columns[0]:<18} {columns[1]:<14} "
                  f"{columns[2]:<12} {columns[3]}", flush=True)
            for problem in r["problems"]:
                print(f"  {problem}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    failed = sum(bool(r["problems"]) for r in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
