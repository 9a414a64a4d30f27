"""A folder in /tmp that a child renames, with what is in it; then both go on with it."""
import os
import shutil
import subprocess
import tempfile

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.makedirs("a/b")
    with open("a/b/file", "w") as file:
        file.write("content")
    pid = os.fork()
    if pid == 0:
        os.rename("a", "moved")
        os._exit(0)
    print(os.waitpid(pid, 0)[1], os.path.exists("a"), os.listdir("moved/b"))
    with open("moved/b/file") as file:
        print(file.read())
    subprocess.run(["mv", "moved/b", "b"], check=True)
    print(sorted(os.listdir()), os.listdir("b"), os.listdir("moved"))
    shutil.rmtree("b")
    print(os.listdir())
    os.chdir("/")
