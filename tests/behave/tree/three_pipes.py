"""Pipes on all three descriptors and megabytes through each at once; the amount is the argument."""
# behave: args 5
import hashlib
import subprocess
import sys

megabytes = int(sys.argv[1])
CHILD = """
import sys
total = 0
while block := sys.stdin.buffer.read1(65536):
    total += len(block)
    sys.stdout.buffer.write(block)
    sys.stderr.buffer.write(block[::-1])
sys.stdout.flush()
sys.stderr.flush()
sys.exit(total % 251)
"""
data = bytes(range(256)) * 4096 * megabytes
p = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
out, err = p.communicate(data)
print(p.returncode == len(data) % 251, out == data, len(err) == len(data), sum(err[:256]) == sum(range(256)))
print(hashlib.sha256(out).hexdigest())
done = subprocess.run("cat | cat", shell=True, input=data, stdout=subprocess.PIPE)
print(hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(data).hexdigest())
