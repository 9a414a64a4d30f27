"""No (key, nonce) repeats on the channels of a tree: a recorder at the host (host/record.h) writes down every message
of a run with many forks. The nonce is the message's number in its direction of a slot's epoch, so a number must not
come twice or go back. Keys the host cannot see; but under an equal key and nonce, equal plaintext is equal ciphertext:
each process says the same hello as the first message on its channel, so an equal key of two epochs would show, as would
one key for both directions where both say the same. No tag and no ciphertext block may ever come twice."""

import collections
import os

import pytest

PYTHON = "/usr/bin/python3"
ROUNDS = 40

PROGRAM = f"""
import os, subprocess, threading
def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid
def grandchild():
    os.waitpid(child(lambda: None), 0)
def talk():
    r, w = os.pipe()
    pid = child(lambda: os.write(w, b"x" * 100000))
    os.close(w)
    size = 0
    while piece := os.read(r, 65536):
        size += len(piece)
    os.close(r)
    os.waitpid(pid, 0)
    assert size == 100000
for i in range({ROUNDS}):
    os.waitpid(child(lambda: None), 0)
    if i % 8 == 0:
        grandchild()
        os.waitpid(child(grandchild), 0)
        talk()
        subprocess.run(["/bin/true"], check=True)
pids = [child(lambda: open("/tmp/recorded", "a").close()) for i in range(8)]
for pid in pids:
    assert os.waitpid(pid, 0)[1] == 0
threads = [threading.Thread(target=talk) for i in range(3)]
for t in threads:
    t.start()
for t in threads:
    t.join()
os.unlink("/tmp/recorded")
print("done")
"""

SPAWN = 3  # enum tree_slot_kind
PLAIN = 2  # a spawn slot's first messages of each direction: M0 to M3, before there are keys
BLOCK = 32  # hexadecimal digits


def findings(lines):
    """What is wrong with a record: a list of texts. And how much there was to look at."""
    bad = []
    epochs = collections.Counter()
    last = {}
    seen = {}
    counts = collections.Counter()
    for number, line in enumerate(lines, 1):
        what, slot, *rest = line.split(" ")
        if what == "free":
            epochs[slot] += 1
            continue
        assert what == "post" and len(rest) == 6, line
        kind, direction, sequence, size = map(int, rest[:4])
        tag, text = rest[4:]
        way = (slot, epochs[slot], direction)
        if sequence <= last.get(way, -1):
            bad.append(f"line {number}: message {sequence} of {way} after {last[way]}")
        elif sequence > last.get(way, -1) + 1:
            bad.append(f"line {number}: message {sequence} of {way}, {last.get(way)} was the last: not recorded?")
        last[way] = sequence
        counts["messages"] += 1
        if kind == SPAWN and sequence < PLAIN:
            counts["plain"] += 1
            continue
        if sequence == 0:
            counts["first"] += 1
        assert size > 16 and len(tag) == BLOCK, line
        blocks = [text[at:at + BLOCK] for at in range(0, len(text), BLOCK)]
        for value in [tag] + [block for block in blocks if len(block) == BLOCK]:
            counts["blocks"] += 1
            if value in seen:
                bad.append(f"line {number}: {value} of {way}, message {sequence}, as in line {seen[value]}")
            seen[value] = number
    return bad, counts


@pytest.fixture(scope="module")
def record(sgxpy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorder").resolve()
    (folder / "program.py").write_text(PROGRAM)
    for arguments in (["trace", "-o", "p.trace", "--", PYTHON, "program.py"], ["manifest", "p.trace", "-o", "p.json"],
                      ["sign", "p.json", "--key", sgxpy.key, "-o", "p.sgx"]):
        done = sgxpy(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    done = sgxpy("run", "--device", "soft", "p.sgx", cwd=folder,
                 env={**os.environ, "SGXPY_RECORD_CHANNELS": str(folder / "record")})
    assert done.returncode == 0 and done.stdout == "done\n", done.stderr
    return (folder / "record").read_text().splitlines()


def test_nothing_repeats(record):
    bad, counts = findings(record)
    assert not bad, "\n".join(bad[:20])
    # There was something to find: two first messages of each process and more of threads.
    assert counts["first"] >= 3 * ROUNDS, counts
    assert counts["messages"] > 20 * ROUNDS and counts["blocks"] > 2 * counts["messages"], counts


def posts(record, slot=None):
    return [i for i, line in enumerate(record) if line.startswith("post ") and slot in (None, line.split()[1])]


def firsts(record):
    """Sealed first messages to the hub: what would be equal if two epochs had one key."""
    return [i for i in posts(record) if record[i].split()[2] != str(SPAWN) and record[i].split()[3:5] == ["0", "0"]]


def same_message(record):
    at = posts(record)[50]
    return record[:at + 1] + record[at:]


def going_back(record):
    way, last = None, {}
    for i in posts(record):
        way = tuple(record[i].split()[1:4])
        if way in last and last[way] == i - 1:
            return record[:i - 1] + [record[i], record[i - 1]] + record[i + 1:]
        last[way] = i
    raise AssertionError("no two messages of one direction in a row")


def used_again(record):
    """As if the second of two slots, used after the first was free, were the first one again; its number."""
    freed = next(i for i, line in enumerate(record) if line.startswith("free "))
    first = record[freed].split()[1]
    before = {line.split()[1] for line in record[:freed]}
    second = next(line.split()[1] for line in record[freed:] if line.split()[1] not in before)
    return first, [" ".join([line.split(" ")[0], first, *line.split(" ")[2:]]) if line.split(" ")[1] == second else line
                   for line in record]


def free_forgotten(record):
    """As if a slot's numbers had begun again under the same key."""
    slot, record = used_again(record)
    at = record.index(f"free {slot}")
    return record[:at] + record[at + 1:]


def changed(record, position, word, value):
    words = record[position].split(" ")
    words[word] = value
    return record[:position] + [" ".join(words)] + record[position + 1:]


def one_key_for_two_epochs(record):
    """The hello of one epoch has the ciphertext of another's."""
    a, b = firsts(record)[2:4]
    return changed(record, b, 7, record[a].split(" ")[7])


def second_block(record):
    a, b = firsts(record)[0], posts(record)[-1]
    text = record[b].split(" ")[7]
    return changed(record, b, 7, text[:BLOCK] + record[a].split(" ")[7][BLOCK:])


def same_tag(record):
    a, b = posts(record)[100], posts(record)[-2]
    return changed(record, b, 6, record[a].split(" ")[6])


def missing(record):
    at = firsts(record)[5]
    return record[:at] + record[at + 1:]


def test_a_new_epoch_begins_at_0(record):
    assert not findings(used_again(record)[1])[0]


@pytest.mark.parametrize("doctor", [same_message, going_back, free_forgotten, one_key_for_two_epochs, second_block,
                                    same_tag, missing], ids=lambda f: f.__name__)
def test_the_check_can_fail(record, doctor):
    assert findings(doctor(list(record)))[0]
