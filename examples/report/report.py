"""Counts words with other programs' help: a shell, a pipe of sort and uniq, and a Python worker."""

import platform
import subprocess
import sys

print("processor:", platform.processor() or "unknown")

with open("words.txt", "rb") as words:
    sort = subprocess.Popen(["sort"], stdin=words, stdout=subprocess.PIPE)
    uniq = subprocess.Popen(["uniq", "-c"], stdin=sort.stdout, stdout=subprocess.PIPE, text=True)
sort.stdout.close()
counts = uniq.communicate()[0]

done = subprocess.run([sys.executable, "worker.py"], input=counts, capture_output=True, text=True,
                      check=True)
print(done.stdout, end="")
