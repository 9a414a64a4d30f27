"""Standard input, line by line and in blocks."""
# behave: stdin first line\nsecond\n\nünï
import sys

print(repr(input()))
print([line for line in sys.stdin])
print(repr(sys.stdin.read()))
try:
    input()
except EOFError:
    print("EOFError")
