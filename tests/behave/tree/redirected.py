"""Files that one program opens and another reads: a shell's redirections, and a descriptor given to subprocess."""
import os
import subprocess

me = os.path.basename(__file__)
print(subprocess.check_output(f"wc -l < {me}", shell=True))
print(subprocess.check_output(f"exec 5< {me}; head -n 1 <&5; tail -n 1 <&5", shell=True)[:40])
with open(me) as file:
    print(len(subprocess.check_output(["sort", "-r"], stdin=file)) == os.path.getsize(me))
with open(me) as file:
    code = f"import os; print(os.read({file.fileno()}, 12))"
    print(subprocess.check_output(["/usr/bin/python3", "-c", code], pass_fds=[file.fileno()]))
