"""os.execv: the pid stays; what goes on (environment, cwd, umask, mask, ignored signals, descriptors) and what not."""
# behave: with after_exec.py
import os
import signal
import sys
import tempfile
import threading

sys.stdout.flush()
r, w = os.pipe()
os.set_inheritable(r, True)
os.write(w, b"in the pipe")
folder = tempfile.mkdtemp()
file = os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT)
os.write(file, b"0123456789")
os.lseek(file, 4, os.SEEK_SET)
os.set_inheritable(file, True)
child = os.fork()
if child == 0:
    os._exit(21)
script = os.path.abspath("after_exec.py")
os.chdir("/usr")
os.umask(0o027)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, lambda *a: None)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
os.kill(os.getpid(), signal.SIGHUP)
stop = threading.Event()
threading.Thread(target=stop.wait, daemon=True).start()
state = [os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0), child, r, w, file]
environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "ADDED": "by exec",
               "FOLDER": folder}
os.execve(sys.executable, ["renamed", script, repr(state)], environment)
