"""A process whose parent has ended: another parent, no status for anyone, it goes on."""
import os
import signal

out_r, out_w = os.pipe()
gate_r, gate_w = os.pipe()
middle = os.fork()
if middle == 0:
    if os.fork() == 0:
        os.close(gate_w)
        os.close(out_r)
        os.write(out_w, f"{os.getppid()}\n".encode())
        os.read(gate_r, 1)
        parent = os.getppid()
        os.write(out_w, f"{parent}\n{os.getpid()}\n".encode())
        os._exit(33)
    os.close(gate_r)  # both ends: the orphan sees the end only when the first process closes its own
    os.close(gate_w)
    while True:
        signal.pause()
os.close(out_w)
os.close(gate_r)
out = os.fdopen(out_r)
print("its parent at first:", int(out.readline()) == middle)
os.kill(middle, signal.SIGTERM)
print("the parent ends:", os.waitpid(middle, 0) == (middle, signal.SIGTERM))
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError as e:
    print("not ours:", e.strerror)
os.close(gate_w)
print("another parent then:", int(out.readline()) not in (middle, 0))
orphan = int(out.readline())
print("ended:", out.read() == "", orphan != middle)
try:
    os.waitpid(orphan, 0)
except ChildProcessError as e:
    print("not ours:", e.strerror)

# A daemon as many programs make it: fork, setsid, fork.
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(r)
    leader = os.setsid()
    if os.fork() == 0:
        while os.getppid() == leader:
            pass
        os.write(w, f"{os.getpid() != leader} {os.getsid(0) == leader} {os.getpgrp() == leader}".encode())
        os._exit(0)
    os._exit(0)
os.close(w)
os.waitpid(pid, 0)
print("daemon:", os.fdopen(r).read())
