"""ps and pgrep find the tree's processes by /proc."""
import os
import signal
import subprocess


def run(*args):
    p = subprocess.run(args, capture_output=True, text=True)
    return p.stdout.split(), p.stderr, p.returncode


child = subprocess.Popen(["cat", "/dev/stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
child.stdin.write(b"it runs\n")
print(child.stdout.readline())  # its name and arguments are its own now
print(run("ps", "-o", "comm=,args=", "-p", str(child.pid)))
print(run("ps", "-o", "ppid=", "-p", str(child.pid))[0] == [str(os.getpid())])
print(run("pgrep", "-x", "-P", str(os.getpid()), "cat")[0] == [str(child.pid)])
print(run("pgrep", "-f", "-P", str(os.getpid()), "dev/std")[0] == [str(child.pid)])
print(run("pkill", "-STOP", "-P", str(os.getpid()), "-x", "cat")[2])
os.waitid(os.P_PID, child.pid, os.WSTOPPED)
print(run("ps", "-o", "state=", "-p", str(child.pid))[0][0].upper())  # "t" where a tracer sees it first
print(run("pkill", "-CONT", "-P", str(os.getpid()), "-x", "cat")[2], run("pkill", "-P", str(os.getpid()), "-x", "cat")[2])
print(child.wait() == -signal.SIGTERM, run("ps", "-p", str(child.pid))[2])
