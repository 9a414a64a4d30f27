"""fork among threads: the child has the one that called; locks, at-fork hooks, thread-local state."""
import os
import subprocess
import threading
import time

local = threading.local()
lock = threading.Lock()
results = {}
log = []
os.register_at_fork(before=lambda: log.append("before"), after_in_parent=lambda: log.append("parent"),
                    after_in_child=lambda: log.append("child"))


def spin(stop):
    while not stop.is_set():
        with lock:
            sum(range(100))
        time.sleep(0.0005)


def fork_here(name):
    local.name = name
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        more = threading.Thread(target=lambda: os.write(w, b"thread "))
        more.start()
        more.join()
        os.write(w, f"{local.name} {threading.active_count()} {threading.current_thread().name} "
                    f"{threading.get_native_id() == os.getpid()}".encode())
        os._exit(len(name))
    os.close(w)
    with os.fdopen(r) as out:
        results[name] = out.read(), os.waitpid(pid, 0)[1] >> 8


stop = threading.Event()
spinning = [threading.Thread(target=spin, args=(stop,)) for _ in range(3)]
for t in spinning:
    t.start()
for name in ("one", "second"):
    t = threading.Thread(target=fork_here, args=(name,), name=f"forker {name}")
    t.start()
    t.join()
fork_here("main thread")
print(results)
print(log)

# Forks and spawns in several threads at once.
codes = {}


def many(i):
    mine = []
    for n in range(5):
        pid = os.fork()
        if pid == 0:
            os._exit(i * 10 + n)
        mine.append(os.waitpid(pid, 0)[1] >> 8)
        mine.append(subprocess.run(["sh", "-c", f"exit {i}"]).returncode)
    codes[i] = mine


threads = [threading.Thread(target=many, args=(i,)) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
stop.set()
for t in spinning:
    t.join()
print([codes[i] == [x for n in range(5) for x in (i * 10 + n, i)] for i in range(4)])

# A thread that waits in a read goes on undisturbed by forks.
r, w = os.pipe()
reader = threading.Thread(target=lambda: results.update(read=os.read(r, 10)))
reader.start()
fork_here("x")
os.write(w, b"data")
reader.join()
print(results["read"])
