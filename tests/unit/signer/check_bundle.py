"""A real bundle against the independent script (tests/data/vectors.py): a program is traced, compiled
and signed with the test key; MRENCLAVE is computed again from the library OS file and manifest.bin, the
SIGSTRUCT is verified with integers alone, and signing again gives the same bytes.

Usage: check_bundle.py SGXPY LIBRARY_OS TEST_DATA
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

SGXPY, LIBRARY_OS, TEST_DATA = map(os.path.abspath, sys.argv[1:])
sys.dont_write_bytecode = True
sys.path.insert(0, TEST_DATA)
import vectors  # noqa: E402

DATE = "1795305600"  # 2026-11-22
ENCLAVE_SIZE = 64 << 30


def sgxpy(*arguments, expect=0):
    done = subprocess.run([SGXPY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": DATE})
    text = done.stderr.decode(errors="replace")
    if done.returncode != expect:
        sys.exit(f"sgxpy {' '.join(arguments)}: exit {done.returncode}, want {expect}: {text}")
    return text


def node_limits(manifest):
    """abi/manifest.h: section 2 is the node; thread_count stands at 0x68, heap_size at 0x70."""
    for i in range(10):
        kind, _, offset, _ = struct.unpack_from("<IIQQ", manifest, 0x18 + 24 * i)
        if kind == 2:
            threads, = struct.unpack_from("<I", manifest, offset + 0x68)
            heap, = struct.unpack_from("<Q", manifest, offset + 0x70)
            return threads, heap
    sys.exit("manifest.bin has no node section")


def tree(folder):
    """{path: bytes} of all files below folder."""
    files = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            files[os.path.relpath(path, folder)] = vectors.read(path)
    return files


def check_measurement(files):
    manifest, sigstruct = files["nodes/0/manifest.bin"], files["nodes/0/sigstruct.bin"]
    threads, heap = node_limits(manifest)
    library_os = vectors.read(LIBRARY_OS)
    pages = vectors.enclave_pages(library_os, manifest, threads, heap, ENCLAVE_SIZE)
    want = vectors.mrenclave(ENCLAVE_SIZE, 4, pages)
    assert sigstruct[960:992] == want, "MRENCLAVE is not what the independent script computes"
    assert json.loads(files["bundle.json"])["library_os"] == hashlib.sha256(library_os).hexdigest()


def check_signature(files):
    sigstruct = files["nodes/0/sigstruct.bin"]
    vectors.verify(sigstruct)
    n, _ = vectors.read_key(os.path.join(TEST_DATA, "test_key.pem"))
    assert sigstruct[128:512] == vectors.little(n), "another key's modulus"
    assert sigstruct[20:24] == bytes.fromhex("22112620"), "another date"
    # 64-bit, no DEBUG; masks: all FLAGS, all of XFRM but AVX and AVX-512; EXINFO, all MISCSELECT.
    assert struct.unpack_from("<QQQQ", sigstruct, 928) == (
        4, 0xE7, vectors.ALL, vectors.ALL & ~0xE4), "other attributes"
    assert struct.unpack_from("<II", sigstruct, 900) == (1, 0xFFFFFFFF), "other MISCSELECT"


def check_refusals():
    """Wrong input is exit code 2, and nothing is overwritten."""
    shutil.copy("key.pem", "open.pem")
    os.chmod("open.pem", 0o644)
    assert "0644" in sgxpy("sign", "c.json", "--key", "open.pem", "-o", "no.sgx", expect=2)
    assert not os.path.exists("no.sgx")
    os.mkdir("mine")
    with open("mine/file", "w", encoding="ascii") as file:
        file.write("x")
    assert "not overwritten" in sgxpy("sign", "c.json", "--key", "key.pem", "-o", "mine", expect=2)
    assert os.listdir("mine") == ["file"]
    assert "not overwritten" in sgxpy("keygen", "-o", "key.pem", expect=2)


def main():
    with tempfile.TemporaryDirectory(prefix="sgxpy-bundle-") as folder:
        os.chdir(folder)
        shutil.copy(os.path.join(TEST_DATA, "test_key.pem"), "key.pem")
        os.chmod("key.pem", 0o600)
        sgxpy("trace", "-o", "t", "--", "/bin/true")
        sgxpy("manifest", "t", "-o", "c.json")
        for name in ("a.sgx", "b.sgx", "a.sgx"):
            sgxpy("sign", "c.json", "--key", "key.pem", "--libos", LIBRARY_OS, "-o", name)
        files = tree("a.sgx")
        assert files == tree("b.sgx"), "signing twice gives two bundles"
        assert files["cascade.json"] == vectors.read("c.json")
        assert sorted(files) == ["bundle.json", "cascade.json", "nodes/0/manifest.bin",
                                 "nodes/0/sigstruct.bin"]
        check_measurement(files)
        check_signature(files)
        check_refusals()
        os.chdir("/")


if __name__ == "__main__":
    main()
