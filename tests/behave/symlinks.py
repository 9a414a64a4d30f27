"""Links of every kind below /tmp: relative, absolute, through folders, dangling, loops."""
import os
import tempfile

with tempfile.TemporaryDirectory() as top:
    os.chdir(top)
    os.makedirs("real/inner")
    open("real/inner/file", "w").write("content")
    os.symlink("real", "folder")
    os.symlink(top + "/real/inner/file", "absolute")
    os.symlink("../real/inner", "real/up")
    os.symlink("nowhere", "dangling")
    os.symlink("loop2", "loop1")
    os.symlink("loop1", "loop2")
    print(open("folder/inner/file").read(), open("absolute").read(), open("real/up/file").read())
    print(os.listdir("folder/up"), os.path.exists("dangling"), os.path.lexists("dangling"))
    for name in ("dangling", "loop1", "loop1/x"):
        try:
            open(name)
        except OSError as e:
            print(name, e.errno, e.strerror)
    for flags in (os.O_RDONLY | os.O_NOFOLLOW,):
        try:
            os.open("absolute", flags)
        except OSError as e:
            print("nofollow", e.errno)
    print(os.path.realpath("folder/up/../inner") == top + "/real/inner")
    open("dangling", "w").write("made through the link")
    print(open("nowhere").read())
    os.rename("folder", "moved")
    print(os.readlink("moved"), os.listdir("moved/inner"))
    os.unlink("moved")
    print(os.path.exists("real/inner/file"))
    print(os.lstat("dangling").st_size, os.stat("dangling").st_size)
    os.chdir("/")
