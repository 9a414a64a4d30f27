"""stat, lstat, fstat, access and their errors on trusted files, links and folders."""
import os
import stat

for path in ("stat_fields.py", "/usr/bin/python3.11", "/usr/lib/python3.11/os.py", "/lib", "/bin", "/usr/bin/python3"):
    s, l = os.stat(path), os.lstat(path)
    if stat.S_ISREG(s.st_mode):
        print(path, oct(s.st_mode), s.st_size, s.st_mtime_ns, s.st_nlink, s.st_uid == os.stat("/usr").st_uid)
    else:
        print(path, oct(s.st_mode))
    print(path, oct(l.st_mode), stat.S_ISLNK(l.st_mode) and os.readlink(path))
    with open(path) if stat.S_ISREG(s.st_mode) else os.scandir(path) as opened:
        if hasattr(opened, "fileno"):
            f = os.fstat(opened.fileno())
            print((f.st_ino, f.st_dev, f.st_size) == (s.st_ino, s.st_dev, s.st_size))
print(os.access("stat_fields.py", os.R_OK), os.access("/usr/bin/python3.11", os.X_OK),
      os.access("not there", os.F_OK))
for path in ("absent", "stat_fields.py/below", "absent/below", "x" * 300, "", "a" * 5000):
    for call in (os.stat, os.lstat, os.open):
        try:
            call(path, os.O_RDONLY) if call is os.open else call(path)
            print("no error", path)
        except OSError as e:
            print(path[:20], call.__name__, e.errno, e.strerror)
try:
    os.stat("nul\0byte")
except ValueError as e:
    print(e)
print(os.path.realpath("/bin/../usr/./bin//python3"), os.path.samefile("/bin/python3", "/usr/bin/python3.11"))
