"""Says what each of the descriptors in the arguments is."""
import os
import stat
import sys


def kind(number):
    try:
        mode = os.fstat(number).st_mode
    except OSError as e:
        return e.strerror
    return {stat.S_IFIFO: "pipe", stat.S_IFREG: "file", stat.S_IFSOCK: "socket",
            stat.S_IFCHR: "device"}[stat.S_IFMT(mode)]


print([kind(int(word)) for word in sys.argv[1:]])
