"""Pipes with several writers and readers: ends, whole small writes, EPIPE, O_NONBLOCK, partial reads, sizes."""
import collections
import errno
import fcntl
import os
import signal
import struct


def child(work, *closing):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for fd in closing:
                os.close(fd)
            code = work() or 0
        finally:
            os._exit(code)
    return pid


def ends(*pids):
    return [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]


# An empty pipe whose writer ends without a word.
r, w = os.pipe()
pid = child(lambda: 0, r)
os.close(w)
print("empty:", os.read(r, 10), os.read(r, 10), ends(pid))
os.close(r)

# The end of file comes with the last writer.
r, w = os.pipe()
gate_r, gate_w = os.pipe()
pids = [child(lambda i=i: (os.close(gate_w), os.read(gate_r, 1), os.write(w, b"%d" % i), 0)[-1], r) for i in range(4)]
os.close(w)
os.close(gate_r)
os.set_blocking(r, False)
try:
    print(os.read(r, 10))
except BlockingIOError:
    print("writers are there, nothing written")
os.set_blocking(r, True)
os.close(gate_w)
got = b""
while block := os.read(r, 10):
    got += block
print("last writer:", sorted(got.decode()), ends(*pids))
os.close(r)


# Records up to PIPE_BUF stay whole, whoever writes at once.
def write_records(number, w):
    for i in range(100):
        os.write(w, struct.pack("<HHI", number, i, 0) + bytes([number]) * 292)


r, w = os.pipe()
pids = [child(lambda n=n: write_records(n, w), r) for n in range(1, 6)]
os.close(w)
content = b""
while block := os.read(r, 65536):
    content += block
records = [content[i:i + 300] for i in range(0, len(content), 300)]
whole = all(len(set(x[8:])) == 1 and x[8] == x[0] for x in records)
order = collections.defaultdict(list)
for record in records:
    order[record[0]].append(record[2])
print("records:", len(records), whole, all(v == list(range(100)) for v in order.values()), ends(*pids))
os.close(r)


# Several readers: each byte goes to one of them.
def count(r, out_w):
    total = 0
    while block := os.read(r, 1000):
        total += sum(block)
    os.write(out_w, struct.pack("<Q", total))


r, w = os.pipe()
out_r, out_w = os.pipe()
pids = [child(lambda: count(r, out_w), w, out_r) for _ in range(3)]
os.close(r)
os.close(out_w)
data = bytes(range(256)) * 1000
view = memoryview(data)
while view:
    view = view[os.write(w, view[:7000]):]
os.close(w)
totals = b""
while block := os.read(out_r, 100):
    totals += block
print("readers:", sum(struct.unpack("<3Q", totals)) == sum(data), ends(*pids))
os.close(out_r)


# No reader is left: EPIPE; a full pipe: EAGAIN; partial writes and reads.
def pushes(w, told):
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.set_blocking(w, False)
    written = 0
    try:
        while True:
            written += os.write(w, b"x" * 1000)
    except BlockingIOError:
        os.write(told, b"full" if written > 60_000 else b"%d" % written)
    os.set_blocking(w, True)
    try:
        while True:
            os.write(w, b"y" * 5000)  # blocks until the reader is gone
    except BrokenPipeError as e:
        return e.errno


r, w = os.pipe()
told_r, told_w = os.pipe()
pid = child(lambda: pushes(w, told_w), r)
os.close(w)
print(os.read(told_r, 10))
print("partial:", os.read(r, 3), len(os.read(r, 500)))
os.close(r)
print("EPIPE:", ends(pid) == [errno.EPIPE])

r, w = os.pipe()
print("small:", os.read(r, 2) if os.write(w, b"abc") else None, os.read(r, 5))
pid = child(lambda: os.write(w, b"x" * 200_000) != 200_000, r)
os.close(w)
sizes = 0
while block := os.read(r, 300_000):
    sizes += len(block)
print("large write:", sizes, ends(pid))
os.close(r)

# O_NONBLOCK belongs to the description: a child sets it for all.
r, w = os.pipe()
print(ends(child(lambda: os.set_blocking(r, False))), os.get_blocking(r))
try:
    os.read(r, 1)
except BlockingIOError as e:
    print(e.strerror)
print(fcntl.fcntl(w, fcntl.F_GETPIPE_SZ))
