import os
import sys

print("launched", os.environ.get("LAUNCHED"), sys.argv[1:], os.path.basename(sys.argv[0]))
print("input", sys.stdin.read())
sys.exit(5)
