"""Which descriptors a child has: inheritance, pass_fds, close_fds, dup2, standard streams closed."""
# behave: with descriptors.py
import os
import subprocess
import sys


def shown(*numbers, **options):
    """What the program sees at these numbers."""
    done = subprocess.run([sys.executable, "descriptors.py", *map(str, numbers)], stdout=subprocess.PIPE, **options)
    return done.stdout.decode().strip()


r, w = os.pipe()
kept, kept_w = os.pipe()
os.set_inheritable(kept, True)
print("new ones:", os.get_inheritable(r), os.get_inheritable(w), os.get_inheritable(kept))
print("subprocess closes:", shown(r, w, kept))
print("unless told:", shown(r, w, kept, close_fds=False))
print("pass_fds:", shown(r, w, kept, pass_fds=[r, w]))
print("not changed here:", os.get_inheritable(r))
print("both ends of one pipe:", shown(r, r, pass_fds=[r]))

os.write(w, b"through the pipe")
os.close(w)
done = subprocess.run([sys.executable, "-c", "import os, sys; print(os.read(int(sys.argv[1]), 100))", str(r)],
                      pass_fds=[r], stdout=subprocess.PIPE)
print(done.stdout, os.read(r, 10))
os.close(r)

# After fork everything is there, close-on-exec or not; after exec it is not.
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(w, b"forked ")
    os.dup2(w, 1)
    os.execv(sys.executable, [sys.executable, "descriptors.py", str(w), str(r), str(kept), "1"])
os.close(w)
os.waitpid(pid, 0)
print(os.fdopen(r).read().strip())

# A low number that is busy: the number asked for wins.
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.dup2(w, 20)
    os.dup2(w, 21, inheritable=False)
    os.dup2(w, 1)
    os.execv(sys.executable, [sys.executable, "descriptors.py", "20", "21"])
os.close(w)
os.waitpid(pid, 0)
print(os.fdopen(r).read().strip())

# Without standard streams.
r, w = os.pipe()
for closed in ((0,), (0, 2)):
    pid = os.fork()
    if pid == 0:
        for number in closed:
            os.close(number)
        os.dup2(w, 1)
        os.execv("/bin/sh", ["sh", "-c", "for i in 0 2; do if [ -e /proc/self/fd/$i ]; then echo $i; fi; done; echo end"])
    os.waitpid(pid, 0)
    print(os.read(r, 100))
