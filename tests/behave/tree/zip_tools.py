"""Files that Python writes and other programs read: tar, gzip, sha256sum, sort, diff, and the reverse."""
import gzip
import hashlib
import os
import subprocess
import tarfile
import tempfile
import zipfile


def run(*words, **options):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    return done.returncode, done.stdout.split()


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    content = "".join(f"line {i * 7919 % 1000}\n" for i in range(5000))
    with open("file.txt", "w") as file:
        file.write(content)
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write("file.txt")
    with zipfile.ZipFile("a.zip") as archive:
        print(os.path.getsize("a.zip") > 1000, archive.getinfo("file.txt").file_size, archive.testzip())
    with gzip.open("file.gz", "wt") as file:
        file.write(content)
    print(subprocess.run(["gzip", "-dc", "file.gz"], stdout=subprocess.PIPE, text=True).stdout == content)
    print(run("sha256sum", "file.txt")[1][0] == hashlib.sha256(content.encode()).hexdigest())
    print(run("tar", "cf", "a.tar", "file.txt"), tarfile.open("a.tar").getnames())
    with tarfile.open("b.tar.gz", "w:gz") as archive:
        archive.add("file.txt", "renamed/file.txt")
    print(run("tar", "xzf", "b.tar.gz"), os.path.getsize("renamed/file.txt") == len(content))
    print(run("diff", "file.txt", "renamed/file.txt"), run("wc", "-l", "file.txt"))
    with open("sorted", "w") as out:
        print(subprocess.run(["sort", "-u", "file.txt"], stdout=out).returncode)
    with open("sorted") as lines:
        print(sorted(set(content.splitlines())) == lines.read().splitlines())
    print(run("sh", "-c", "ls | sort | head -n 3; du -a . | wc -l"))
    os.chdir("/")
