"""Killed by its own signal: 128 + 15."""
import os
import signal
import sys

print("before", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("not reached")
sys.exit(1)
