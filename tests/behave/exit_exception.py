"""SystemExit with a text: exit code 1, the text on stderr."""
import sys

print("before")
sys.exit("text for stderr")
