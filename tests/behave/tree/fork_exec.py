"""fork and exec by hand, os.system, os.popen, os.spawn*, and what a child inherits of the surroundings."""
import os
import resource
import signal
import sys

r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(r)
    os.dup2(w, 1)
    os.execvp("sh", ["sh", "-c", "echo $0 $1; exit 9", "zero", "one"])
os.close(w)
with os.fdopen(r) as out:
    print(repr(out.read()), os.waitpid(pid, 0)[1] >> 8)

sys.stdout.flush()
print(os.system("echo from system; exit 3") >> 8)
with os.popen("cat; echo done", "r") as out:
    print(repr(out.read()))
pipe = os.popen("cat > /dev/null; exit 2", "w")
pipe.write("text")
print(pipe.close())
print(os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "exit 7"), os.spawnl(os.P_WAIT, "/nonexistent", "x"))
pid = os.spawnvpe(os.P_NOWAIT, "sh", ["sh", "-c", "test \"$X\" = y"], {"X": "y", "PATH": os.environ["PATH"]})
print(os.waitpid(pid, 0) == (pid, 0))

# The surroundings.
r, w = os.pipe()
os.set_inheritable(w, True)
os.umask(0o031)
os.chdir("/usr/lib")
os.environ["GIVEN"] = "by the parent"
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
pid = os.fork()
if pid == 0:
    os.dup2(w, 1)
    code = ("import os, resource, signal; print(os.getcwd(), oct(os.umask(0)), os.environ['GIVEN'], "
            "resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE), "
            "os.getuid(), os.getgid(), sorted(os.sched_getaffinity(0)) != [])")
    os.execv(sys.executable, [sys.executable, "-c", code])
os.close(w)
with os.fdopen(r) as out:
    print(out.read().replace(f"{os.getuid()} {os.getgid()}", "same ids"), os.waitpid(pid, 0)[1])

# Pids: one's own, the parent's, those of children; not reused at once.
pids = set()
for _ in range(20):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, f"{os.getpid()} {os.getppid()}".encode())
        os._exit(0)
    own, parent = map(int, os.read(r, 100).split())
    pids.add(pid)
    assert own == pid and parent == os.getpid()
    os.waitpid(pid, 0)
    os.close(r)
    os.close(w)
print(len(pids), os.getpid() not in pids)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
with open("/proc/self/stat") as stat:
    fields = stat.read().rpartition(")")[2].split()
    print([int(f) for f in fields[1:4]] == [os.getppid(), os.getpgrp(), os.getsid(0)])
print(os.readlink("/proc/self") == str(os.getpid()))
with os.popen("readlink /proc/self/exe; grep -c . /proc/self/maps > /dev/null && echo maps", "r") as out:
    print(out.read().split())
