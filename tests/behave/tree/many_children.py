"""200 children one after the other, 20 at once, of fork and of exec; the numbers are arguments."""
# behave: args 40 10
import os
import subprocess
import sys

row, at_once = map(int, sys.argv[1:])
print(sum(subprocess.run(["true"]).returncode for _ in range(row)))
print(sum(subprocess.run(["sh", "-c", "exit 1"]).returncode for _ in range(row // 4)))
codes = []
for i in range(row):
    pid = os.fork()
    if pid == 0:
        os._exit(i % 256)
    codes.append(os.waitpid(pid, 0)[1] >> 8)
print(codes == [i % 256 for i in range(row)])

# Each reads a line once all are there.
running = [subprocess.Popen(["sh", "-c", "echo up; read line; echo got $line"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True) for _ in range(at_once)]
print([p.stdout.readline() for p in running] == ["up\n"] * at_once, len({p.pid for p in running}))
for i, p in enumerate(running):
    p.stdin.write(f"line {i}\n")
    p.stdin.close()
print([p.stdout.read() for p in running] == [f"got line {i}\n" for i in range(at_once)], sum(p.wait() for p in running))
for p in running:
    p.stdout.close()

gate_r, gate_w = os.pipe()
out_r, out_w = os.pipe()
pids = []
for i in range(at_once):
    pid = os.fork()
    if pid == 0:
        os.close(gate_w)
        os.write(out_w, b"u")
        os.read(gate_r, 1)
        os._exit(i)
    pids.append(pid)
up = b""
while len(up) < at_once:
    up += os.read(out_r, 100)
os.close(gate_w)
print(sorted(os.wait()[1] >> 8 for _ in pids) == list(range(at_once)))


def nest(depth):
    if depth == 0:
        return 0
    pid = os.fork()
    if pid == 0:
        os._exit(nest(depth - 1) + 1)
    return os.waitpid(pid, 0)[1] >> 8


print("nested:", nest(12))
