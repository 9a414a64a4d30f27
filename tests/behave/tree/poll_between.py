"""Readiness of what other processes write: select, poll, epoll, asyncio; hang-up; a full pipe that drains."""
import asyncio
import os
import select
import selectors
import socket
import sys
import time


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


BITS = [(select.POLLIN, "IN"), (select.POLLOUT, "OUT"), (select.POLLHUP, "HUP"), (select.POLLERR, "ERR")]


def named(bits):
    return "|".join(name for bit, name in BITS if bits & bit)


# Nothing yet, then something, then the end.
r, w = os.pipe()
go_r, go_w = os.pipe()
pid = child(lambda: (os.read(go_r, 1), os.write(w, b"now"), os.read(go_r, 1), 0)[-1], r, go_w)
os.close(w)
poll = select.poll()
poll.register(r, select.POLLIN)
print(poll.poll(0), select.select([r], [], [], 0.01))
os.write(go_w, b"1")
print([named(b) for _, b in poll.poll(60000)], select.select([r], [], [], 60) == ([r], [], []))
print(os.read(r, 10), poll.poll(0))
os.write(go_w, b"2")
print([named(b) for _, b in poll.poll(60000)], os.read(r, 10), os.waitpid(pid, 0)[1])
os.close(r)

# Writers see their reader.
r, w = os.pipe()
go_r, go_w = os.pipe()
os.set_blocking(w, False)
pid = child(lambda: (os.read(go_r, 1), len(os.read(r, 60_000)), os.read(go_r, 1), 0)[-1], w, go_w)
os.close(r)
poll = select.poll()
poll.register(w, select.POLLOUT)
print([named(b) for _, b in poll.poll(0)])
try:
    while True:
        os.write(w, b"x" * 4096)
except BlockingIOError:
    print("full", poll.poll(0))
os.write(go_w, b"1")
print([named(b) for _, b in poll.poll(60000)])
os.write(go_w, b"2")
os.waitpid(pid, 0)
print([named(b & select.POLLERR) for _, b in poll.poll(60000)])
os.close(w)

# Ten children, each through its own pipe; in the order in which they are let go.
gates, outs = [], {}
for i in range(10):
    gate_r, gate_w = os.pipe()
    r, w = os.pipe()
    child(lambda: (os.read(gate_r, 1), os.write(w, b"%d" % i), 0)[-1], gate_w, r)
    os.close(gate_r)
    os.close(w)
    gates.append(gate_w)
    outs[r] = i
order = [7, 2, 9, 0, 4, 1, 8, 3, 6, 5]
with selectors.DefaultSelector() as selector:
    for r in outs:
        selector.register(r, selectors.EVENT_READ)
    seen = []
    for i in order:
        os.write(gates[i], b"x")
        (key, _), = selector.select(60)
        seen.append((outs[key.fd], os.read(key.fd, 10)))
        selector.unregister(key.fd)
    print([i for i, _ in seen] == order, all(b == b"%d" % i for i, b in seen))
print(sorted(os.wait()[1] for _ in order))

# epoll from before the fork is shared; edge-triggered ones are told once.
a, b = socket.socketpair()
ep = select.epoll()
ep.register(a, select.EPOLLIN | select.EPOLLET)
pid = child(lambda: (b.send(b"one"), 0)[-1])
print([named(bits) for _, bits in ep.poll(60)], ep.poll(0), os.waitpid(pid, 0)[1], a.recv(10))


async def asynchronous():
    async def one(i):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"print(input() * {i})", stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate(b"ab\n")
        return out, process.returncode
    print(await asyncio.gather(*(one(i) for i in range(3))))
    process = await asyncio.create_subprocess_shell("read x; exit 5", stdin=asyncio.subprocess.PIPE)
    process.stdin.close()
    print(await process.wait())
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE,
                                                   stdout=asyncio.subprocess.PIPE)
    process.stdin.write(b"it runs\n")
    print(await process.stdout.readline())
    process.kill()
    print(await process.wait())

asyncio.run(asynchronous())
# A wait with a time limit.
start = time.monotonic()
r, w = os.pipe()
pid = child(lambda: (os.read(r, 1), 0)[-1], w)
print(select.select([], [], [], 0.02), time.monotonic() - start >= 0.02, os.waitpid(pid, os.WNOHANG))
os.close(w)
print(os.waitpid(pid, 0)[1])
