"""Deep recursion: the main stack grows as far as natively; RecursionError comes first."""
import sys


def down(n):
    return 0 if n == 0 else 1 + down(n - 1)


print(down(900))
try:
    down(100_000)
except RecursionError:
    print("RecursionError")
sys.setrecursionlimit(20_000)
print(down(15_000))


class Deep:
    def __repr__(self):
        return repr(self.inner) if self.inner else "end"


top = None
for _ in range(2000):
    d = Deep()
    d.inner = top
    top = d
print(repr(top))
