"""Files that stay: created, replaced by rename, appended to; read back by the same run."""
import json
import os

with open("result.json", "w") as f:
    json.dump({"a": [1, 2.5, None], "ü": "ß"}, f, ensure_ascii=True)
print(json.load(open("result.json")))
with open("log.txt", "w") as f:
    f.write("first\n")
with open("log.txt", "a") as f:
    f.write("second\n")
print(open("log.txt").read().split(), os.stat("log.txt").st_size)
os.makedirs("made/below", exist_ok=True)
with open("made/below/deep.bin", "wb") as f:
    f.write(bytes(range(256)) * 300)
print(os.path.getsize("made/below/deep.bin"), sorted(os.listdir("made")))
with open("swap.tmp", "w") as f:
    f.write("new")
os.replace("swap.tmp", "swapped.txt")
print(open("swapped.txt").read(), os.path.exists("swap.tmp"))
