"""An output of the program that several of its processes append to."""
import os
import subprocess

with open("out.txt", "wb", buffering=0) as out:
    out.write(b"one\n")
    pid = os.fork()
    if pid == 0:
        out.write(b"two\n")
        os._exit(0)
    os.waitpid(pid, 0)
    subprocess.run(["echo", "three"], stdout=out)
    print(out.tell())
    subprocess.run("echo four >> out.txt", shell=True)
    out.seek(0, os.SEEK_END)
    out.write(b"five\n")
with open("out.txt") as out:
    print(out.read())
# Written by a child alone, read by the parent.
subprocess.run("echo from the shell > other.txt", shell=True)
with open("other.txt") as file:
    print(file.read(), os.path.getsize("out.txt"))
