"""CPUs that a program gives up: of one thread, of those that it makes, of children; policies of others."""
import os
import subprocess
import sys
import threading

every = os.sched_getaffinity(0)
one = {max(every)}


def worker():
    os.sched_setaffinity(0, one)
    seen.append(os.sched_getaffinity(0) == one)
    inner = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0) == one))
    inner.start()
    inner.join()


seen = []
thread = threading.Thread(target=worker)
thread.start()
thread.join()
print(seen, os.sched_getaffinity(0) == every)
for cpus in (set(), {1000}):
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as e:
        print(e.strerror)
os.sched_setaffinity(0, one)
pid = os.fork()
if pid == 0:
    code = f"import os, sys; sys.exit(os.sched_getaffinity(0) != {one!r})"
    os._exit(subprocess.call([sys.executable, "-c", code]) + 2 * (os.sched_getaffinity(0) != one))
print(os.sched_getscheduler(pid), os.sched_getscheduler(os.getppid()) == os.SCHED_OTHER)
print(os.waitpid(pid, 0)[1])
try:
    os.sched_getscheduler(pid)
except OSError as e:
    print(e.strerror)
os.sched_setaffinity(0, every)
print(os.sched_getaffinity(0) == every)
