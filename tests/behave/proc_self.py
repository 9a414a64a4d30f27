"""/proc/self as programs use it."""
import os
import sys

print(os.readlink("/proc/self/exe"), os.readlink("/proc/self/cwd") == os.getcwd())
print(open("/proc/self/cmdline", "rb").read())
print(open("/proc/self/comm").read().strip())
print(os.readlink(f"/proc/{os.getpid()}/exe") == os.readlink("/proc/self/exe"))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(status["Name"].strip(), int(status["Pid"]) == os.getpid(), int(status["Threads"]),
      [int(x) for x in status["Uid"].split()] == [os.getuid()] * 4)
maps = open("/proc/self/maps").read().splitlines()
print(any("[stack]" in line for line in maps), any("libc.so.6" in line for line in maps),
      any("[heap]" in line for line in maps))
starts = [int(line.split("-")[0], 16) for line in maps]
print(starts == sorted(starts), all(len(line.split()) >= 5 for line in maps))
f = open(__file__)
print(os.readlink(f"/proc/self/fd/{f.fileno()}") == os.path.abspath(__file__))
print({"0", "1", "2", str(f.fileno())} <= set(os.listdir("/proc/self/fd")))
print(open(f"/proc/self/fd/{f.fileno()}").read(3), os.path.exists("/proc/self/fd/99"))
print(len(open("/proc/self/stat").read().split()) >= 50, len(open("/proc/self/statm").read().split()))
print(os.path.isdir("/proc/self/task"), len(os.listdir("/proc/self/task")))
print(sys.executable == "/usr/bin/python3")
