"""A walk through the standard library's C extensions: each loads a shared library."""
import array
import binascii
import bisect
import bz2
import collections
import csv
import ctypes
import datetime
import decimal
import fractions
import hashlib
import heapq
import io
import itertools
import json
import lzma
import math
import pickle
import random
import re
import sqlite3
import statistics
import struct
import unicodedata
import uuid
import xml.etree.ElementTree as ElementTree
import zlib

data = b"some data, " * 500
for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "sha3_256"):
    print(name, hashlib.new(name, data).hexdigest())
for module in (zlib, bz2, lzma):
    packed = module.compress(data)
    print(module.__name__, len(packed) < 300, module.decompress(packed) == data)
print(binascii.crc32(data), zlib.adler32(data))
print(decimal.Decimal(2).sqrt(), fractions.Fraction(22, 7) + 1, math.gamma(5.5), math.fsum([0.1] * 10))
print(json.loads(json.dumps({"a": [1, 2.5, None, True, "ü"]})))
print(re.findall(r"(\w+)@(\w+)\.com", "a@b.com, c@d.com"), struct.pack("<IhQ", 1, -2, 3))
random.seed(7)
print(random.random(), random.sample(range(100), 5), random.gauss(0, 1))
print(pickle.loads(pickle.dumps(collections.OrderedDict(a=1, b=[2]))))
print(statistics.stdev([1, 2, 3, 4]), list(itertools.accumulate(range(6))), heapq.nsmallest(2, [5, 1, 4]))
db = sqlite3.connect(":memory:")
db.execute("create table t (a integer, b text)")
db.executemany("insert into t values (?, ?)", [(i, str(i) * 2) for i in range(1000)])
print(db.execute("select count(*), sum(a), max(b) from t where a % 7 = 0").fetchall())
print(unicodedata.name("ß"), unicodedata.normalize("NFD", "é").encode())
print(ElementTree.fromstring("<a><b x='1'/>t</a>").find("b").attrib, uuid.uuid5(uuid.NAMESPACE_DNS, "a.b"))
print(list(csv.reader(io.StringIO('a,"b,c"\n1,2'))), array.array("d", [1, 2]).tobytes().hex())
print(datetime.date(2024, 2, 29).isoformat(), bisect.bisect([1, 3, 5], 4))
libc = ctypes.CDLL("libc.so.6", use_errno=True)
print(libc.abs(-5), libc.strlen(b"four"), ctypes.sizeof(ctypes.c_long))
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 5)(5, 2, 4, 1, 3)
libc.qsort(numbers, 5, 4, compare(lambda a, b: a[0] - b[0]))
print(list(numbers))
