"""Output, arguments, environment, a module's own name, and stdout that is not a terminal."""
# behave: args one 'two words' ünï --flag=x ''
# behave: env GREETING=hej EMPTY= PATHLIKE=/a:/b
import os
import sys

print("hello", __name__)
print(sys.argv)
print(os.environ["GREETING"], repr(os.environ["EMPTY"]), os.environ["PATHLIKE"])
print(sorted(k for k in os.environ if k in ("GREETING", "EMPTY", "HOME", "PATH", "LANG")))
print(sys.executable, sys.flags.dont_write_bytecode, sys.stdin.read() == "")
print(sys.stdout.encoding, sys.getfilesystemencoding(), sys.stdout.isatty())
os.write(1, b"raw\n")
sys.stdout.flush()
sys.stderr.write("to stderr\n")
