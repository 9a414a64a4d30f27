"""/proc/PID of other processes: that they are there, what they are called, their state, their family."""
import os
import signal
import subprocess
import sys


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def stat(pid):
    with open(f"/proc/{pid}/stat") as f:
        head, _, rest = f.read().rpartition(")")
    return head.split(" (", 1)[1], rest.split()


def describe(pid):
    name, fields = stat(pid)
    s = status(pid)
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        line = f.read().split(b"\0")
    with open(f"/proc/{pid}/comm") as f:
        comm = f.read().strip()
    print(name == comm == s["Name"], comm, line, int(s["Pid"]) == int(s["Tgid"]) == pid, len(fields),
          [int(x) for x in s["Uid"].split()] == [os.getuid()] * 4)
    print(" ", int(fields[1]) == int(s["PPid"]) == os.getpid(), int(fields[2]) == os.getpgid(pid),
          int(fields[3]) == os.getsid(pid), os.path.basename(os.readlink(f"/proc/{pid}/exe")))


def started(*args, **keywords):
    """Popen returns when exec closes its pipe, which Linux does before the new arguments are there."""
    p = subprocess.Popen(args, **keywords)
    while True:
        with open(f"/proc/{p.pid}/cmdline", "rb") as f:
            if f.read().startswith(args[0].encode()):
                return p


def listed(pid):
    return str(pid) in os.listdir("/proc")


cat = started("cat", "-", "/dev/null", stdin=subprocess.PIPE)
describe(cat.pid)
print("there:", os.path.isdir(f"/proc/{cat.pid}"), listed(cat.pid), {"cmdline", "stat"} <= set(os.listdir(f"/proc/{cat.pid}")))
os.kill(cat.pid, signal.SIGSTOP)
os.waitid(os.P_PID, cat.pid, os.WSTOPPED)
print("stopped:", stat(cat.pid)[1][0].upper(), status(cat.pid)["State"][0].upper())  # t: traced
os.kill(cat.pid, signal.SIGCONT)
os.waitid(os.P_PID, cat.pid, os.WCONTINUED)
cat.stdin.close()
os.waitid(os.P_PID, cat.pid, os.WEXITED | os.WNOWAIT)
print("zombie:", stat(cat.pid)[1][0], status(cat.pid)["State"], stat(cat.pid)[0], listed(cat.pid))
with open(f"/proc/{cat.pid}/cmdline", "rb") as f:
    print("and its arguments:", f.read())
cat.wait()
print("gone:", os.path.exists(f"/proc/{cat.pid}"), os.path.exists(f"/proc/{cat.pid}/stat"), listed(cat.pid))

# A fork is called as its parent; children see parent and sibling.
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(w)
    os.read(r, 1)
    os._exit(0)
os.close(r)
with open(f"/proc/{pid}/cmdline", "rb") as a, open("/proc/self/cmdline", "rb") as b:
    print("a fork:", a.read() == b.read(), stat(pid)[0] == stat("self")[0])
LOOK = """
import os, sys
for pid in (os.getppid(), int(sys.argv[1])):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        print(os.path.isdir(f"/proc/{pid}"), f.read().split(b"\\0")[1:])
    print(str(pid) in os.listdir("/proc"), os.path.exists(f"/proc/{pid}/task/1"))
"""
print(subprocess.run([sys.executable, "-c", LOOK, str(pid)], capture_output=True, text=True).stdout)
os.close(w)
os.waitpid(pid, 0)
print("ours:", listed(os.getpid()), os.listdir("/proc/self/task") == [str(os.getpid())],
      int(stat("self")[1][1]) == os.getppid())
# procps' way to find processes, by hand.
subprocess.run(["sleep", "0"])  # one that is killed while it starts would be in no trace
child = started("sleep", "100")
mine = []
for name in os.listdir("/proc"):
    if name.isdigit():
        try:
            if int(stat(name)[1][1]) == os.getpid():
                mine.append(stat(name)[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
print("children:", mine)
child.kill()
child.wait()
