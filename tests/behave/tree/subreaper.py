"""PR_SET_CHILD_SUBREAPER: orphans come to the nearest living ancestor that wants them, also those that have ended."""
import ctypes
import os
import signal

SET, GET = 36, 37
libc = ctypes.CDLL(None, use_errno=True)


def get():
    value = ctypes.c_int(-1)
    return libc.prctl(GET, ctypes.byref(value), 0, 0, 0), value.value


def in_child(what):
    pid = os.fork()
    if pid == 0:
        what()
        os._exit(0)
    return pid


print("at first:", get(), "set:", libc.prctl(SET, 1, 0, 0, 0), get())
r, w = os.pipe()
gate_r, gate_w = os.pipe()
me = os.getpid()


def orphan():
    os.write(w, b"%d\n" % os.getpid())
    os.close(gate_w)
    os.read(gate_r, 1)  # the middle one has ended
    os.write(w, b"%d\n" % (os.getppid() == me))
    os._exit(5)


def middle():
    os.write(w, b"%d\n" % (get() == (0, 0)))  # not inherited
    in_child(orphan)


seen = []
signal.signal(signal.SIGCHLD, lambda *a: seen.append(1))
pid = in_child(middle)
print("the middle one:", os.waitpid(pid, 0)[1])
out = os.fdopen(r)
print("not inherited:", out.readline().strip())
child = int(out.readline())
print("ours now:", os.waitpid(-1, os.WNOHANG))
os.close(gate_w)
print("its parent:", out.readline().strip())
print("waited for:", os.waitpid(child, 0) == (child, 5 << 8))


def ended_before():
    """Its child has ended, and nobody waited for it."""
    grandchild = in_child(lambda: os._exit(6))
    os.waitid(os.P_PID, grandchild, os.WEXITED | os.WNOWAIT)
    os.write(w, b"%d\n" % grandchild)


pid = in_child(ended_before)
os.waitpid(pid, 0)
child = int(out.readline())
print("a zombie:", os.waitpid(-1, 0) == (child, 6 << 8), len(seen) > 0)
print("off:", libc.prctl(SET, 0, 0, 0, 0), get())
try:
    os.waitpid(-1, 0)
except ChildProcessError as e:
    print(e.strerror)
