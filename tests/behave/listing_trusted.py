"""A listing of a folder that was there before: the names, types, sizes and modes that it had."""
import os
import stat

print(sorted(os.listdir(".")))
for entry in sorted(os.scandir("."), key=lambda e: e.name):
    s = entry.stat(follow_symlinks=False)
    print(entry.name, entry.is_file(), stat.filemode(s.st_mode), s.st_size, s.st_nlink, s.st_mtime_ns,
          s.st_uid == os.getuid(), entry.inode() == s.st_ino)
print(sorted(os.listdir("/usr/lib/python3.11/json")))
print(os.path.isdir("/"), os.path.isdir("/usr"), os.path.ismount("/"))
