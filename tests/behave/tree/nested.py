"""The programs about FIFOs, pidfds, subreapers, /proc and descriptors in flight once more, each in a process that is not
the tree's root: there all of it is asked of the hub.

behave: with pidfd.py
behave: with fifos.py
behave: with subreaper.py
behave: with proc_others.py
behave: with rights_in_flight.py
behave: with supplementary_groups.py
"""
import subprocess
import sys

for name in ("pidfd", "fifos", "subreaper", "proc_others", "rights_in_flight", "supplementary_groups"):
    p = subprocess.run([sys.executable, f"{name}.py"], capture_output=True, text=True)
    print(name, p.returncode, p.stdout, p.stderr)
