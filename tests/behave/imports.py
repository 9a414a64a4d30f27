"""Where modules come from: packages, namespace packages, absent modules, zip files, reload, the path."""
import importlib
import importlib.util
import os
import pathlib
import sys
import zipfile

ARCHIVE = f"/tmp/behave_imports_{os.getpid()}.zip"

for name in ("no_such_module", "json.no_such", "numpy_no_such"):
    try:
        importlib.import_module(name)
    except ImportError as e:
        print(type(e).__name__, e)
try:
    import _not_there_either
except ImportError:
    print("optional import is absent")
print(importlib.util.find_spec("json").origin, importlib.util.find_spec("nope"))
print(sys.path[0] == str(pathlib.Path().resolve()), "/usr/lib/python3.11" in sys.path)
import json.decoder
print(json.decoder.__cached__, importlib.reload(json.decoder).__name__)
with zipfile.ZipFile(ARCHIVE, "w") as z:
    z.writestr("zipped_module.py", "value = 'from the zip'\n")
sys.path.insert(0, ARCHIVE)
import zipped_module
print(zipped_module.value, zipped_module.__file__ == ARCHIVE + "/zipped_module.py")
pathlib.Path(ARCHIVE).unlink()
exec(compile("print('compiled text', 6 * 7)", "<text>", "exec"))
