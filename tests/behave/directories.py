"""Listings: os.listdir, scandir, walk, glob, and names that are no ASCII. The tree is made below /tmp."""
import glob
import os
import pathlib
import tempfile

with tempfile.TemporaryDirectory() as top:
    os.chdir(top)
    for name in ("b", "a", "ü", "日本", ".hidden", "with space", "x" * 200):
        os.mkdir(name)
        pathlib.Path(name, "file").write_text(name)
    with open(b"\xff\xfe bytes", "wb") as f:
        f.write(b"1")
    print(sorted(os.listdir(".")))
    print(sorted(os.listdir(b".")))
    with os.scandir() as entries:
        print(sorted((e.name, e.is_dir(), e.is_file(), e.is_symlink(), e.stat().st_size if e.is_file() else 0)
                     for e in entries))
    print(sorted(glob.glob("*/f*")))
    print(sorted(str(p) for p in pathlib.Path().rglob("file")))
    for root, folders, files in sorted(os.walk(".")):
        print(root, sorted(folders), sorted(files))
    many = pathlib.Path("many")
    many.mkdir()
    for i in range(1500):
        (many / f"entry-{i:05}").touch()
    names = os.listdir("many")
    print(len(names), len(set(names)), min(names), max(names))
    fd = os.open("many", os.O_RDONLY | os.O_DIRECTORY)
    print(len(os.listdir(fd)), len(os.listdir(fd)))
    fd2 = os.open("entry-00007", os.O_RDONLY, dir_fd=fd)
    print(os.fstat(fd2).st_size, os.stat("entry-00007", dir_fd=fd).st_size)
    os.close(fd2)
    os.fchdir(fd)
    print(os.path.basename(os.getcwd()), os.path.exists("entry-01499"))
    os.close(fd)
    try:
        os.open("entry-00001", os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError as e:
        print(e.strerror)
    try:
        open(".")
    except IsADirectoryError as e:
        print(e.strerror)
    os.chdir("/")
print(os.getcwd(), os.path.exists(top))
