"""subprocess: every option of Popen that says something about the child."""
import os
import pathlib
import signal
import subprocess
import sys

PY = sys.executable


def out(*args, **options):
    return subprocess.run(args[0] if len(args) == 1 else args, stdout=subprocess.PIPE, text=True, **options).stdout.strip()


def attempt(what, *args, **options):
    try:
        return what(*args, **options)
    except (OSError, subprocess.SubprocessError) as e:
        return f"{type(e).__name__}: {e}"


print(subprocess.run(["true"]), subprocess.call(["false"]), attempt(subprocess.run, ["false"], check=True))
print(subprocess.check_output(["echo", "text"]), subprocess.getstatusoutput("echo both >&2; exit 3"))
print(subprocess.run(["cat"], input=b"input", stdout=subprocess.PIPE).stdout)
done = subprocess.run("echo out; echo err >&2", shell=True, capture_output=True)
print(done.stdout, done.stderr)
done = subprocess.run("echo out; echo err >&2; echo out", shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
print(done.stdout)
print(subprocess.run(["sh", "-c", "echo lost; echo kept >&2"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr)
print(out("pwd", cwd="/usr/share"), out("sh", "-c", "echo $A-$HOME", env={"A": "a"}), out("sh", "-c", "umask", umask=0o077))
print(out(PY, "-c", "import sys; print(sys.argv)", "", "ü", "a b", "'"), out("echo $0 $1", shell=True))
print(out([PY, "-c", "print('list')"]), out(["ignored", "-c", "print('other name')"], executable=PY))
print(attempt(subprocess.run, ["no-such-program"]))
subprocess.run(["sleep", "0"])  # one that is killed while it starts would be in no trace
try:
    subprocess.run(["sleep", "100"], timeout=0.05)
except subprocess.TimeoutExpired as e:
    print(e.cmd, e.stdout)
for seconds in (1, 4, 16):  # it may take long to write, with much else to do
    try:
        subprocess.run(["sh", "-c", "echo part; exec sleep 100"], stdout=subprocess.PIPE, timeout=seconds)
    except subprocess.TimeoutExpired as e:
        part = e.stdout
    if part:
        break
print(part)

ids = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())"
print(out(PY, "-c", ids), out(PY, "-c", ids, start_new_session=True), out(PY, "-c", ids, process_group=0))
print(out(["sh", "-c", "echo $HOOK; pwd; umask"], env={"HOOK": "h"},
          preexec_fn=lambda: (os.chdir("/usr"), os.umask(0o055))))
print(attempt(subprocess.run, ["true"], preexec_fn=lambda: 1 / 0))
print(out("sh", "-c", "trap '' PIPE; trap", restore_signals=False), out(
    PY, "-c", "import signal; print(signal.getsignal(signal.SIGXFSZ).name)", restore_signals=False))
print(out(PY, "-c", "import signal; print(signal.getsignal(signal.SIGXFSZ) in (0, 1))"))
print(subprocess.run(["sh", "-c", "kill -9 $$"]).returncode, subprocess.run("kill -TERM $$", shell=True).returncode)

# A conversation.
with subprocess.Popen(["python3", "-uc", "for line in iter(input, 'end'): print(line[::-1])"], stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE, text=True, bufsize=1) as p:
    for line in ("first", "second", "third"):
        p.stdin.write(line + "\n")
        print(p.stdout.readline().strip(), p.poll())
    print(p.communicate("end\n"), p.returncode)

# Pipes of three programs, joined by hand.
a = subprocess.Popen(["printf", "b\\na\\nb\\nc\\na\\nb\\n"], stdout=subprocess.PIPE)
b = subprocess.Popen(["sort"], stdin=a.stdout, stdout=subprocess.PIPE)
a.stdout.close()
c = subprocess.Popen(["uniq", "-c"], stdin=b.stdout, stdout=subprocess.PIPE)
b.stdout.close()
print(c.communicate()[0].split(), a.wait(), b.wait())

p = subprocess.Popen(["sh", "-c", "read x; exit $x"], stdin=subprocess.PIPE)
print(p.poll(), attempt(p.wait, timeout=0.02), p.communicate(b"12\n"), p.returncode)
p = subprocess.Popen(["sleep", "100"])
p.send_signal(signal.SIGSTOP)
p.send_signal(signal.SIGCONT)
p.terminate()
print(p.wait())
print(pathlib.Path(out("sh", "-c", "command -v sort")).name, out(["env", "-i", "A=1", "sh", "-c", "echo $A"]))
