"""Where modules come from: packages, namespace packages, absent modules, zip files, reload, the path."""
import importlib
import importlib.util
import pathlib
import sys
import zipfile

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
with zipfile.ZipFile("/tmp/behave_imports.zip", "w") as z:
    z.writestr("zipped_module.py", "value = 'from the zip'\n")
sys.path.insert(0, "/tmp/behave_imports.zip")
import zipped_module
print(zipped_module.value, zipped_module.__file__)
pathlib.Path("/tmp/behave_imports.zip").unlink()
exec(compile("print('compiled text', 6 * 7)", "<text>", "exec"))
