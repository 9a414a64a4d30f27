"""Shared mappings of files that are written: stores show in reads, writes show in the mapping."""
import mmap
import os
import tempfile


def same_content(path, mapped):
    with open(path, "rb") as file:
        return file.read() == mapped[:]


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "data")
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 40)
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
        print(len(mapped), mapped[:4])
        mapped[0:5] = b"hello"
        mapped[5000] = 7
        print("stores show in reads:", same_content(path, mapped))
        os.pwrite(file.fileno(), b"WORLD", 4094)
        print("writes show in stores:", mapped[4090:4102])
        mapped[1] = 0
        os.pwrite(file.fileno(), b"x", 2)
        print("both kept:", mapped[:5])
        mapped.flush()
        mapped.close()
    with open(path, "rb") as file:
        content = file.read()
    print("after close:", content[:5], content[5000], content[4094:4099], len(content))

    with open(path, "r+b") as file:
        readable = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        os.pwrite(file.fileno(), b"again", 0)
        print("read-only mapping sees writes:", readable[:5])
        readable.close()
        copy = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        copy[:5] = b"mine!"
        print("private stays private:", os.pread(file.fileno(), 5, 0), copy[:5])
        copy.close()

    unnamed = tempfile.TemporaryFile()
    unnamed.write(b"\0" * 8192)
    unnamed.flush()
    mapped = mmap.mmap(unnamed.fileno(), 0)
    unnamed.close()
    mapped[100] = 1
    print("outlives its descriptor:", mapped[100], sum(mapped[:]))
    mapped.close()

    grown = os.path.join(folder, "grown")
    with open(grown, "w+b") as file:
        file.truncate(4096)
        mapped = mmap.mmap(file.fileno(), 4096)
        mapped[:3] = b"abc"
        file.truncate(2)
        file.truncate(4096)
        print("cut and grown:", mapped[:4])
        mapped.close()
