"""What the standard library starts by itself: platform, ctypes.util, uuid, webbrowser, shutil, getpass."""
import ctypes
import ctypes.util
import platform
import shutil
import subprocess
import sysconfig

print(repr(platform.processor()), platform.machine(), platform.system())
print(ctypes.util.find_library("c"), ctypes.util.find_library("m"), ctypes.util.find_library("no-such-library"))
print(ctypes.CDLL(ctypes.util.find_library("m")).abs(-3))
print(shutil.which("sort"), shutil.which("no-such-program"), shutil.get_terminal_size())
print(platform.libc_ver()[0], platform.python_implementation(), platform.architecture()[0])
print(sysconfig.get_platform())
print(subprocess.run(["uname", "-sm"], stdout=subprocess.PIPE).stdout, subprocess.getoutput("id -un"))
