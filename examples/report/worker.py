"""Lines of `uniq -c` in, the most frequent words out. May read weights.txt, which its parent may not."""

import sys

with open("weights.txt", encoding="utf-8") as file:
    weights = dict(line.split() for line in file)
rows = [(int(count) * int(weights.get(word, 1)), word)
        for count, word in (line.split() for line in sys.stdin)]
for count, word in sorted(rows, reverse=True)[:3]:
    print(f"{word}: {count}")
