"""Root's supplementary groups: set, listed in order, inherited by forks and programs, a vfork child's own."""
import os
import subprocess
import sys

if os.getuid() != 0:  # nobody else may
    try:
        os.setgroups([0])
    except PermissionError as e:
        print(e.strerror)
    sys.exit()


def of_status():
    with open("/proc/self/status") as f:
        return next(line.split()[1:] for line in f if line.startswith("Groups:"))


LOOK = "import os; print(os.getgroups())"
os.setgroups([7, 3, 5])
print(os.getgroups(), of_status())
pid = os.fork()
if pid == 0:
    os.setgroups([1])
    os._exit(os.getgroups() == [1] and of_status() == ["1"])
print(os.waitpid(pid, 0)[1] >> 8, os.getgroups())
print(subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True).stdout)
print(subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, extra_groups=[9, 8]).stdout)
print(os.getgroups())
os.initgroups("root", 21)
print(21 in os.getgroups())
os.setgroups([])
print(os.getgroups(), of_status())
