"""tempfile in all its forms."""
import os
import tempfile

print(tempfile.gettempdir())
with tempfile.TemporaryFile() as f:
    f.write(b"x" * 100_000)
    f.seek(0)
    print(len(f.read()))
with tempfile.NamedTemporaryFile("w+", suffix=".txt") as f:
    f.write("named")
    f.flush()
    print(open(f.name).read(), os.path.dirname(f.name))
with tempfile.SpooledTemporaryFile(max_size=10) as f:
    f.write(b"y" * 100)
    f.seek(0)
    print(len(f.read()))
fd, name = tempfile.mkstemp()
print(os.write(fd, b"z"), oct(os.fstat(fd).st_mode))
os.close(fd)
os.unlink(name)
folder = tempfile.mkdtemp()
print(oct(os.stat(folder).st_mode), os.listdir(folder))
os.rmdir(folder)
