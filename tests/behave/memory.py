"""Memory by the megabyte: growth and return, big arrays, mmap of every kind, MemoryError."""
# behave: options --heap 512M
import gc
import mmap

blocks = [bytearray(1 << 20) for _ in range(100)]
print(sum(len(b) for b in blocks), any(any(b[::4096]) for b in blocks))
for i, b in enumerate(blocks):
    b[i * 100] = i
print(all(b[i * 100] == i for i, b in enumerate(blocks)))
del blocks
gc.collect()
for _ in range(20):
    x = bytearray(50 << 20)
    x[-1] = 1
print(len(x))
del x
with mmap.mmap(-1, 10 << 20) as m:
    m[5 << 20] = 7
    m.seek(5 << 20)
    print(m.read_byte(), m[0], len(m))
    m.madvise(mmap.MADV_DONTNEED)
with mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ) as m:
    try:
        m[0] = 1
    except TypeError as e:
        print(e)
try:
    bytearray(1 << 50)
except MemoryError:
    print("MemoryError")
items = [str(i) * 3 for i in range(300_000)]
print(len(set(items)), items[-1])
