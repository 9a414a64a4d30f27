"""Paths that are not ASCII, and not even UTF-8, beside the program."""
import os

for name in ("ünïcode.txt", "日本語.txt", "emoji 🐍.txt", "combining é.txt"):
    with open(name, "w", encoding="utf-8") as f:
        f.write(name)
    print(ascii(name), ascii(open(name, encoding="utf-8").read()), os.path.getsize(name))
raw = b"raw \xff\x80.bin"
with open(raw, "wb") as f:
    f.write(b"raw")
print(open(raw, "rb").read(), ascii(os.fsdecode(raw)))
