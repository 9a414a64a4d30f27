"""Starting a program that is not there; waiting without a child."""
import os

print(os.path.exists("/bin/true"), os.access("/bin/true", os.X_OK))
try:
    os.execv("/nonexistent/program", ["program"])
except FileNotFoundError as e:
    print(e.strerror)
try:
    os.waitpid(-1, 0)
except ChildProcessError as e:
    print(e.strerror)
