"""Who and where: ids, folder, umask, host name, limits that stay the same."""
import getpass
import os
import resource
import socket
import sys

print(os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getresuid(), os.getresgid())
print(os.getcwd(), oct(os.umask(0o22)), oct(os.umask(0o77)), oct(os.umask(0o22)))
print(os.uname().sysname, os.uname().machine, os.uname().nodename, socket.gethostname())
print(os.getpid() > 0, os.getppid() >= 0, os.getpgrp() >= 0, os.getsid(0) >= 0)
print(os.path.expanduser("~") == os.environ["HOME"], getpass.getuser() != "")
print(os.cpu_count() >= 1, len(os.sched_getaffinity(0)) >= 1)
print(os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK"), os.sysconf("SC_NPROCESSORS_ONLN") >= 1)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(soft >= 64, hard >= soft or hard == resource.RLIM_INFINITY)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
files = []
try:
    while True:
        files.append(os.dup(0))
except OSError as e:
    print(e.errno, e.strerror, files[-1])
for f in files:
    os.close(f)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0, sys.maxsize)
print(os.get_blocking(1) in (True, False), os.getpriority(os.PRIO_PROCESS, 0))
