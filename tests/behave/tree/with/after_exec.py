"""What exec_in_place.py becomes."""
import ast
import os
import shutil
import signal
import sys
import threading

pid, parent, group, session, child, r, w, file = ast.literal_eval(sys.argv[1])
print("pid", os.getpid() == pid, os.getppid() == parent, os.getpgrp() == group, os.getsid(0) == session)
print("cwd", os.getcwd(), "umask", oct(os.umask(0o022)))
print("environment", sorted(os.environ.items() - [("FOLDER", os.environ["FOLDER"])]))
print("name", sys.orig_argv[0])
print("ignored", signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN, signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL)
print("mask", sorted(s.name for s in signal.pthread_sigmask(signal.SIG_BLOCK, ())))
print("pending", sorted(s.name for s in signal.sigpending()))
print("threads", threading.active_count(), len(os.listdir("/proc/self/task")))
print("pipe", os.read(r, 100), os.get_inheritable(r))
for closed in (w,):
    try:
        os.write(closed, b"x")
    except OSError as e:
        print("closed", e.strerror)
print("offset", os.read(file, 3), os.lseek(file, 0, os.SEEK_CUR))
print("child", os.waitpid(child, 0)[1] >> 8)
with open(f"{os.environ['FOLDER']}/file", "rb") as again:
    print("scratch", again.read())
shutil.rmtree(os.environ["FOLDER"])
if len(sys.argv) < 3:
    # And on, several times, to programs of other kinds.
    sys.stdout.flush()
    os.execvp("sh", ["sh", "-c", "echo $$ is $PPID; exec sh -c 'echo \"$0 $1\"; exec cat /dev/null' a b".replace(
        "$$ is $PPID", f"$(test $$ = {pid} && echo same pid)")])
