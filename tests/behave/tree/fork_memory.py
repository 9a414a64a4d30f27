"""fork: both have a copy of all memory, which then goes its own way; 50 MB of it; mappings of each kind."""
import gc
import hashlib
import mmap
import os
import random
import struct
import tempfile

SIZE = 50 << 20
block = bytearray(SIZE)
for i in range(0, SIZE, 4096):
    struct.pack_into("<Q", block, i, i * 2654435761 % (1 << 64))
before = hashlib.sha256(block).hexdigest()
anonymous = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
anonymous[5000:5005] = b"hello"
read_only = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
read_only[:3] = b"abc"
file = tempfile.TemporaryFile()
file.write(b"in the file" * 1000)
file.flush()
mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
mapped[:2] = b"IN"
objects = {f"key {i}": [i] * 3 for i in range(50_000)}


def in_child(work):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(r)
            os.write(w, repr(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(w)
    with os.fdopen(r) as out:
        text = out.read()
    return text, os.waitpid(pid, 0)[1]


def look():
    same = hashlib.sha256(block).hexdigest() == before
    seen = anonymous[5000:5005], read_only[:3], mapped[:11], len(objects), objects["key 49999"]
    block[:5] = b"child"
    anonymous[5000:5005] = b"CHILD"
    mapped[:2] = b"--"
    objects.clear()
    gc.collect()
    return same, seen, bytes(block[:5])


print(in_child(look))
print(hashlib.sha256(block).hexdigest() == before, anonymous[5000:5005], mapped[:11], len(objects))
# What was freed, grown, mapped anew after the first fork is right in the second.
del objects
anonymous.close()
block[SIZE // 2:SIZE // 2 + 4] = b"half"
grown = bytearray(random.Random(1).randbytes(8 << 20))
print(in_child(lambda: (bytes(block[SIZE // 2:SIZE // 2 + 4]), hashlib.sha256(grown).hexdigest())))
print(hashlib.sha256(grown).hexdigest())
# A child's child's child.
print(in_child(lambda: in_child(lambda: in_child(lambda: (hashlib.sha256(grown).hexdigest()[:8], mapped[:2])))))
# What is random differs in parent and child.
print(in_child(lambda: os.urandom(16)) != in_child(lambda: os.urandom(16)))
state = random.getrandbits(64)
print(len({in_child(lambda: random.SystemRandom().getrandbits(64))[0] for _ in range(5)}))
