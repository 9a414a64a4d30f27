"""MRENCLAVE and SIGSTRUCT vectors, from the SDM alone.

Written from Intel SDM volume 3D (ECREATE, EADD, EEXTEND, EINIT, "Enclave Signature Structure") with
hashlib and integers only. It calls none of the project's code and shares none of its tables, so that
a mistake in them cannot hide here. Prints vectors.txt, whose lines the unit tests read:

    enclave NAME SIZE SSAFRAMESIZE      then, in the order of EADD:
    page OFFSET SECINFO_FLAGS measured|unmeasured SEED
    mrenclave HEX

    sigstruct NAME                      then "FIELD VALUE" lines: what goes in
    mrsigner HEX
    bytes HEX                           all 1,808 bytes
    end

    layout THREADS HEAP SIZE MANIFEST_SIZE      image.elf and a manifest of that many bytes, byte i
    mrenclave HEX                               being i mod 251; pages as abi/layout.h places them

A page's byte i is (SEED + 7 * i + (i >> 8)) mod 256; SEED 0 stands for a page of zeros.

Usage: python3 vectors.py > vectors.txt
       python3 vectors.py IMAGE MANIFEST THREADS HEAP SIZE      prints the MRENCLAVE of a real enclave
"""

import base64
import hashlib
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = 4096

R, W, X = 1, 2, 4
TCS = 1 << 8
REG = 2 << 8


def page_bytes(seed):
    if seed == 0:
        return bytes(PAGE)
    return bytes((seed + 7 * i + (i >> 8)) % 256 for i in range(PAGE))


def mrenclave(size, ssa_frame_size, pages):
    """SDM: every leaf adds 64-byte blocks to a plain SHA-256. A page's content is None if it is not
    measured."""
    # ECREATE: 64 bits "ECREATE\0", 32 bits SSAFRAMESIZE, 64 bits SIZE, 352 bits of zero.
    digest = hashlib.sha256(b"ECREATE\0" + struct.pack("<IQ", ssa_frame_size, size) + bytes(44))
    for offset, flags, content in pages:
        # EADD: "EADD\0\0\0\0", offset, the low 48 bytes of SECINFO.
        digest.update(b"EADD\0\0\0\0" + struct.pack("<QQ", offset, flags) + bytes(40))
        if content is None:
            continue
        assert len(content) == PAGE
        for at in range(0, PAGE, 256):
            # EEXTEND: "EEXTEND\0", offset, 48 bytes of zero; then the 256 bytes.
            digest.update(b"EEXTEND\0" + struct.pack("<Q", offset + at) + bytes(48))
            digest.update(content[at:at + 256])
    return digest.digest()


def padded(data):
    return data + bytes(-len(data) % PAGE)


def blob_pages(offset, flags, data):
    data = padded(data)
    for at in range(0, len(data), PAGE):
        yield offset + at, flags, data[at:at + PAGE]


def image_pages(image):
    """PT_LOAD segments of an ELF file, file bytes and the zeros after them."""
    phoff, = struct.unpack_from("<Q", image, 32)
    phentsize, phnum = struct.unpack_from("<HH", image, 54)
    for i in range(phnum):
        kind, permissions, offset, vaddr, _, filesz, memsz = struct.unpack_from(
            "<IIQQQQQ", image, phoff + i * phentsize)
        if kind != 1:
            continue
        flags = REG
        for elf_bit, sgx_bit in ((4, R), (2, W), (1, X)):
            if permissions & elf_bit:
                flags |= sgx_bit
        content = image[offset:offset + filesz] + bytes(memsz - filesz)
        yield from blob_pages(vaddr, flags, content)


def enclave_pages(image, manifest, threads, heap, size):
    """What abi/layout.h says, said again: parameters, image, manifest, thread areas."""
    entry, = struct.unpack_from("<Q", image, 24)
    of_image = list(image_pages(image))
    image_end = of_image[-1][0] + PAGE
    params = b"XPYPARAM" + struct.pack("<IIQQQQ", 1, threads, size, image_end, len(manifest), heap)
    yield 0x20000000, REG | R, padded(params)
    yield from of_image
    yield from blob_pages(0x21000000, REG | R, manifest)
    for i in range(threads):
        area = 0x25000000 + i * 32 * PAGE
        ssa, block = area + 2 * PAGE, area + 10 * PAGE
        # TCS: STAGE, FLAGS, OSSA, CSSA, NSSA, OENTRY, AEP, OFSBASE, OGSBASE, FSLIMIT, GSLIMIT.
        tcs = struct.pack("<QQQIIQQQQII", 0, 0, ssa, 0, 2, entry, 0, block, block,
                          0xFFFFFFFF, 0xFFFFFFFF)
        yield area + PAGE, TCS, padded(tcs)
        for page in range(2, 10):
            yield area + page * PAGE, REG | R | W, None
        yield block, REG | R | W, padded(struct.pack("<QQ", block, i))
        for page in (12, 13, *range(16, 32)):
            yield area + page * PAGE, REG | R | W, None


ENCLAVES = [
    ("empty", 0x2000, 1, []),
    ("profile-empty", 0x40000000, 4, []),
    ("one-zero-page", 0x2000, 1, [(0, REG | R, True, 0)]),
    ("one-page", 0x2000, 1, [(0x1000, REG | R | X, True, 11)]),
    ("unmeasured", 0x4000, 4, [(0, REG | R | W, False, 0)]),
    ("tcs", 0x8000, 4, [(0x0, TCS, True, 3), (0x1000, REG | R | W, False, 0),
                        (0x2000, REG | R | W, False, 0), (0x3000, REG | R | X, True, 200)]),
    ("same-pages-other-order", 0x8000, 4,
     [(0x3000, REG | R | X, True, 200), (0x1000, REG | R | W, False, 0),
      (0x2000, REG | R | W, False, 0), (0x0, TCS, True, 3)]),
    ("high-offsets", 1 << 40, 4, [((1 << 40) - PAGE, REG | R, True, 77)]),
    ("fifty-pages", 0x40000, 4,
     [(i * PAGE, REG | R | (W if i % 3 else X), i % 5 != 4, i * 37 % 256) for i in range(50)]),
]


def der_integers(data):
    """The integers of one DER SEQUENCE (a PKCS#1 RSAPrivateKey)."""
    def length(at):
        first = data[at]
        if first < 0x80:
            return first, at + 1
        n = first & 0x7F
        return int.from_bytes(data[at + 1:at + 1 + n], "big"), at + 1 + n

    assert data[0] == 0x30
    _, at = length(1)
    numbers = []
    while at < len(data):
        assert data[at] == 0x02
        n, at = length(at + 1)
        numbers.append(int.from_bytes(data[at:at + n], "big"))
        at += n
    return numbers


def read_key(path):
    with open(path, encoding="ascii") as file:
        text = file.read()
    body = text.split("-----BEGIN RSA PRIVATE KEY-----")[1].split("-----END")[0]
    _, n, e, d = der_integers(base64.b64decode(body))[:4]
    assert e == 3 and n.bit_length() == 3072
    return n, d


def little(number, size=384):
    return number.to_bytes(size, "little")


SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def pkcs1_sign(message, n, d):
    """RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2)."""
    info = SHA256_PREFIX + hashlib.sha256(message).digest()
    block = b"\x00\x01" + b"\xff" * (384 - 3 - len(info)) + b"\x00" + info
    return pow(int.from_bytes(block, "big"), d, n)


def sigstruct(f, n, d):
    """SDM, table "Layout of Enclave Signature Structure"; returns (bytes, MRSIGNER)."""
    year, month, day = f["date"].split("-")
    header = (
        bytes.fromhex("06000000E10000000000010000000000")         # HEADER
        + struct.pack("<I", 0)                                    # VENDOR
        + struct.pack("<I", int(year + month + day, 16))          # DATE, BCD
        + bytes.fromhex("01010000600000006000000001000000")       # HEADER2
        + struct.pack("<I", f["sw_defined"])                      # SWDEFINED
        + bytes(84)
    )
    body = (
        struct.pack("<II", f["misc_select"], f["misc_mask"])      # 900 MISCSELECT, MISCMASK
        + bytes(4)                                                # CET fields, reserved
        + bytes(16)                                               # 912 ISVFAMILYID
        + struct.pack("<QQ", f["flags"], f["xfrm"])               # 928 ATTRIBUTES
        + struct.pack("<QQ", f["flags_mask"], f["xfrm_mask"])     # 944 ATTRIBUTEMASK
        + bytes.fromhex(f["enclave_hash"])                        # 960 ENCLAVEHASH
        + bytes(16)                                               # 992
        + bytes(16)                                               # 1008 ISVEXTPRODID
        + struct.pack("<HH", f["isv_prod_id"], f["isv_svn"])      # 1024 ISVPRODID, ISVSVN
    )
    assert len(header) == 128 and len(body) == 128
    s = pkcs1_sign(header + body, n, d)
    q1 = s * s // n
    q2 = (s * s * s - q1 * s * n) // n
    whole = header + little(n) + struct.pack("<I", 3) + little(s) + body
    whole += bytes(12) + little(q1) + little(q2)
    verify(whole)
    return whole, hashlib.sha256(little(n)).digest()


def verify(whole):
    """EINIT's arithmetic: the signature from Q1 and Q2, without a division."""
    assert len(whole) == 1808
    n = int.from_bytes(whole[128:512], "little")
    s = int.from_bytes(whole[516:900], "little")
    q1 = int.from_bytes(whole[1040:1424], "little")
    q2 = int.from_bytes(whole[1424:1808], "little")
    square = s * s - q1 * n
    assert 0 <= square < n
    cube = square * s - q2 * n
    assert 0 <= cube < n
    info = SHA256_PREFIX + hashlib.sha256(whole[:128] + whole[900:1028]).digest()
    block = b"\x00\x01" + b"\xff" * (384 - 3 - len(info)) + b"\x00" + info
    assert cube == int.from_bytes(block, "big")


ALL = 0xFFFFFFFFFFFFFFFF
SIGSTRUCTS = [
    ("plain", dict(date="2026-11-22", sw_defined=0, misc_select=1, misc_mask=0xFFFFFFFF,
                   flags=4, flags_mask=ALL, xfrm=0xE7, xfrm_mask=ALL & ~0xE4,
                   enclave_hash="00" * 32, isv_prod_id=0, isv_svn=0)),
    ("debug", dict(date="1999-12-31", sw_defined=0, misc_select=1, misc_mask=0xFFFFFFFF,
                   flags=6, flags_mask=ALL, xfrm=0xE7, xfrm_mask=ALL & ~0xE4,
                   enclave_hash=bytes(range(32)).hex(), isv_prod_id=0x1234, isv_svn=0xFEDC)),
]


LAYOUTS = [
    # threads, heap, enclave size, manifest size
    (1, 0x1000, 1 << 30, 1),
    (4, 256 << 20, 64 << 30, 10000),
]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def measure_real(image, manifest, threads, heap, size):
    pages = enclave_pages(read(image), read(manifest), int(threads, 0), int(heap, 0), int(size, 0))
    print(mrenclave(int(size, 0), 4, pages).hex())


def main():
    if len(sys.argv) > 1:
        measure_real(*sys.argv[1:])
        return
    out = sys.stdout
    out.write("# Made by vectors.py; do not edit.\n")
    for name, size, ssa, pages in ENCLAVES:
        out.write(f"enclave {name} {size:#x} {ssa}\n")
        for offset, flags, measured, seed in pages:
            kind = "measured" if measured else "unmeasured"
            out.write(f"page {offset:#x} {flags:#x} {kind} {seed}\n")
        contents = [(offset, flags, page_bytes(seed) if measured else None)
                    for offset, flags, measured, seed in pages]
        out.write(f"mrenclave {mrenclave(size, ssa, contents).hex()}\n")
    image = read(os.path.join(HERE, "image.elf"))
    for threads, heap, size, manifest_size in LAYOUTS:
        manifest = bytes(i % 251 for i in range(manifest_size))
        pages = enclave_pages(image, manifest, threads, heap, size)
        out.write(f"layout {threads} {heap:#x} {size:#x} {manifest_size}\n")
        out.write(f"mrenclave {mrenclave(size, 4, pages).hex()}\n")
    n, d = read_key(os.path.join(HERE, "test_key.pem"))
    for name, fields in SIGSTRUCTS:
        whole, signer = sigstruct(fields, n, d)
        out.write(f"sigstruct {name}\n")
        for key, value in fields.items():
            text = value if isinstance(value, str) else f"{value:#x}"
            out.write(f"{key} {text}\n")
        out.write(f"mrsigner {signer.hex()}\n")
        out.write(f"bytes {whole.hex()}\n")
        out.write("end\n")


if __name__ == "__main__":
    main()
