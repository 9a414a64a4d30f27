"""What /proc/self says in a child, /proc/PID of one's own, and what a child sees after exec."""
import os
import subprocess
import sys

LOOK = """
import os
def field(name):
    with open("/proc/self/status") as f:
        return next(line.split()[1] for line in f if line.startswith(name + ":"))
own = str(os.getpid())
print(field("Pid") == own, field("Tgid") == own, int(field("PPid")) == os.getppid(), field("Name"), field("Threads"))
with open("/proc/self/cmdline", "rb") as f:
    print(f.read().split(b"\\0")[0], end=" ")
with open("/proc/self/comm") as f:
    print(f.read().strip(), os.readlink("/proc/self/exe"), os.readlink("/proc/self/cwd"))
print(os.path.exists("/proc/" + own), os.path.exists("/proc/self/fd/0"), os.readlink("/proc/self/fd/1").split(":")[0])
with open("/proc/self/stat") as f:
    rest = f.read().rpartition(")")[2].split()
print([int(x) for x in rest[1:4]] == [os.getppid(), os.getpgrp(), os.getsid(0)])
"""
os.chdir("/usr")
done = subprocess.run([sys.executable, "-c", LOOK], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
print(done.stdout)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.dup2(w, 1)
    sys.stdout = os.fdopen(1, "w")
    exec(LOOK)
    sys.stdout.flush()
    os._exit(0)
os.close(w)
with os.fdopen(r) as out:
    print(out.read())
print(os.waitpid(pid, 0)[1])
print(subprocess.run("cat /proc/self/comm; readlink /proc/self/exe; test -d /proc/$$ && echo own",
                     shell=True, stdout=subprocess.PIPE, text=True).stdout)
