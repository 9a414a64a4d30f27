"""Shell scripts that exec Python, env scripts, scripts without a first line, launchers of launchers."""
# behave: with launcher
# behave: with launched.py
# behave: with env_script
# behave: with noshebang
import os
import subprocess
import sys

done = subprocess.run(["./launcher", "one", "two words", ""], input=b"text", stdout=subprocess.PIPE)
print(done.returncode, done.stdout.decode())
done = subprocess.run("./launcher from a shell < /dev/null; echo $?", shell=True, stdout=subprocess.PIPE)
print(done.stdout.decode())
print(subprocess.run(["./env_script", "-x"], stdout=subprocess.PIPE).stdout)
try:
    subprocess.run(["./noshebang"])
except OSError as e:
    print(e.strerror)
print(subprocess.run("./noshebang arg", shell=True, stdout=subprocess.PIPE).stdout)
print(subprocess.run(["sh", "./noshebang", "arg"], stdout=subprocess.PIPE).stdout)
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    os.execl("./launcher", "renamed", "in place")
print(os.waitpid(pid, 0)[1] >> 8)
