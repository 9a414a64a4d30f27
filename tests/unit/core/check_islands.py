"""The code that runs in the enclave with the program's vector state around it must use legacy SSE
encodings only: a VEX or EVEX instruction would clear or change the upper halves of ymm and zmm, which
the caller does not save.

One function may use them, and what is inlined there: the bulk of AES-GCM for long texts, around which arch/crypto.c
saves everything.

Usage: check_islands.py ARCHIVE...   exit code 1 and one line for each finding.
"""

import re
import subprocess
import sys

WIDE = {"aes_gcm_bulk_wide"}

findings = 0
vectors = 0
for archive in sys.argv[1:]:
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", archive], check=True,
                          stdout=subprocess.PIPE, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
                          ).stdout.decode()
    function = None
    for line in text.splitlines():
        label = re.match(r"[0-9a-f]+ <(\S+)>:$", line)
        if label:
            function = label.group(1)
        instruction = re.match(r"\s+[0-9a-f]+:\s+(\S+)\s*(.*)", line)
        if not instruction:
            continue
        name, operands = instruction.groups()
        vectors += "%xmm" in operands
        if function in WIDE:
            continue
        if name.startswith("v") or re.search(r"%[yz]mm|%k[0-7]", operands):
            print(f"{archive}: {line.strip()}")
            findings += 1
if vectors == 0:
    print("no vector instruction at all: were these the right archives?")
sys.exit(findings > 0 or vectors == 0)
