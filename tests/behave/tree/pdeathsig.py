"""prctl(PR_SET_PDEATHSIG): a signal when the parent ends; not inherited by fork."""
import ctypes
import os
import signal

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
prctl = ctypes.CDLL(None, use_errno=True).prctl


def asked():
    value = ctypes.c_int(-1)
    prctl(PR_GET_PDEATHSIG, ctypes.byref(value))
    return value.value


print(asked())
out_r, out_w = os.pipe()
alive_r, alive_w = os.pipe()
middle = os.fork()
if middle == 0:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        ready_r, ready_w = os.pipe()
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            prctl(PR_SET_PDEATHSIG, int(number))
            set_to = asked()
            if os.fork() == 0:  # not inherited
                os.write(out_w, f"grandchild {asked()}\n".encode())
                os._exit(0)
            os.wait()
            os.write(ready_w, str(set_to).encode())
            if number == signal.SIGUSR1:
                info = signal.sigwaitinfo({signal.SIGUSR1})
                os.write(out_w, f"told {info.si_signo}\n".encode())
                os._exit(0)
            while True:
                signal.pause()
        os.write(out_w, b"set " + os.read(ready_r, 10) + b"\n")
    os._exit(0)
os.close(out_w)
os.close(alive_w)
print(os.waitpid(middle, 0)[1])
out = os.fdopen(out_r)
for line in out:  # ends when the last of them has ended
    print(line.strip())
print("all ended:", os.read(alive_r, 1))
