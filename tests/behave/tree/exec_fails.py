"""Programs that cannot be started: the errors, and that the caller goes on unharmed."""
import os
import subprocess


def attempt(what, *args, **options):
    try:
        return what(*args, **options)
    except OSError as e:
        return f"{type(e).__name__}: {e.strerror}"


for path in ("/nonexistent/program", "/etc/passwd", "/usr", "/etc/passwd/program", "relative-absent", ""):
    print(repr(path), attempt(os.execv, path, ["x"]), "|", attempt(subprocess.run, [path]))
print(attempt(os.execvp, "absent-program-of-no-path", ["x"]))
print(attempt(subprocess.run, ["true"], cwd="/nonexistent"))
print(attempt(os.posix_spawn, "/nonexistent/program", ["x"], {}))
print(subprocess.run("absent-program-of-no-path", shell=True, stderr=subprocess.DEVNULL).returncode)
print(subprocess.run("/etc/passwd", shell=True, stderr=subprocess.DEVNULL).returncode)
print(subprocess.run(["true"]).returncode, subprocess.run(["false"]).returncode, os.system("exit 6") >> 8)
try:
    os.waitpid(-1, 0)
except ChildProcessError as e:
    print(e.strerror)
