"""A program's exit code is the run's; atexit handlers run."""
import atexit
import sys

atexit.register(print, "atexit ran")
sys.exit(7)
