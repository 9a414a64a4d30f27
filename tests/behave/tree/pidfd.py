"""Processes as files: pidfd_open, pidfd_send_signal, waitid(P_PIDFD), readiness in poll, select and epoll, of children,
of others, and of ourselves."""
import errno
import os
import select
import signal

O_NONBLOCK = os.O_NONBLOCK


def refused(what, *args):
    try:
        return what(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def child():
    """A child that ends when the pipe's other end is closed."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(w)
        os.read(r, 1)
        os._exit(7)
    os.close(r)
    return pid, w


print("flags:", refused(os.pidfd_open, os.getpid(), 1), refused(os.pidfd_open, 0), refused(os.pidfd_open, -3))
print("nobody:", refused(os.pidfd_open, 2**30))

pid, gate = child()
fd = os.pidfd_open(pid)
print("close on exec:", not os.get_inheritable(fd))
poll = select.poll()
poll.register(fd, select.POLLIN)
print("running:", poll.poll(0), select.select([fd], [], [], 0)[0], refused(os.read, fd, 1), refused(os.write, fd, b"x"))
print("by its link:", os.readlink(f"/proc/self/fd/{fd}").startswith("anon_inode:["))
print("fdinfo:", [l.split() for l in open(f"/proc/self/fdinfo/{fd}") if l.startswith("Pid:")] == [["Pid:", str(pid)]])
print("signal 0:", signal.pidfd_send_signal(fd, 0))
print("not yet:", os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG))
os.close(gate)
print("ended:", poll.poll() == [(fd, select.POLLIN)], select.select([fd], [], [])[0] == [fd])
print("a zombie:", signal.pidfd_send_signal(fd, signal.SIGTERM))
seen = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOWAIT)
print("seen:", seen.si_pid == pid, seen.si_code == os.CLD_EXITED, seen.si_status)
print("waited for:", os.waitid(os.P_PIDFD, fd, os.WEXITED).si_status)
print("gone:", refused(os.waitid, os.P_PIDFD, fd, os.WEXITED), refused(signal.pidfd_send_signal, fd, 0))
print("still readable:", poll.poll(0)[0][1] & select.POLLIN)
print("fdinfo:", [l.split()[1] for l in open(f"/proc/self/fdinfo/{fd}") if l.startswith("Pid:")])
os.close(fd)

# By a signal; epoll, in every mode, put on before and after the end.
pid, gate = child()
fd = os.pidfd_open(pid)
epoll = select.epoll()
epoll.register(fd, select.EPOLLIN | select.EPOLLET)
print("epoll:", epoll.poll(0))
print("send:", signal.pidfd_send_signal(fd, signal.SIGKILL))
print("epoll:", epoll.poll() == [(fd, select.EPOLLIN)])
os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOWAIT)
epoll.poll(0)  # under a tracer its parent is told once more: an edge of its own, by now
print("epoll:", epoll.poll(0))
late = select.epoll()
late.register(fd, select.EPOLLIN)
print("late:", late.poll() == [(fd, select.EPOLLIN)])
got = os.waitid(os.P_PIDFD, fd, os.WEXITED)
print("killed:", got.si_code == os.CLD_KILLED, got.si_status)
os.close(gate)
os.close(fd)

# No waiting where the descriptor says so.
pid, gate = child()
fd = os.pidfd_open(pid, O_NONBLOCK)
print("nonblocking:", refused(os.waitid, os.P_PIDFD, fd, os.WEXITED))
os.close(gate)
select.select([fd], [], [])
while (got := refused(os.waitid, os.P_PIDFD, fd, os.WEXITED)) == "EAGAIN":
    pass  # a tracer is told first
print("nonblocking:", got.si_status)
os.close(fd)

# Not a pidfd, not a child.
r, w = os.pipe()
print("no pidfd:", refused(os.waitid, os.P_PIDFD, r, os.WEXITED), refused(signal.pidfd_send_signal, r, 0),
      refused(os.waitid, os.P_PIDFD, 99, os.WEXITED))
me = os.pidfd_open(os.getpid())
print("ourselves:", select.select([me], [], [], 0)[0], refused(os.waitid, os.P_PIDFD, me, os.WEXITED))
hits = []
signal.signal(signal.SIGUSR1, lambda number, frame: hits.append(number))
signal.pidfd_send_signal(me, signal.SIGUSR1)
print("to ourselves:", hits)

proc = os.open(f"/proc/{os.getpid()}", os.O_RDONLY | os.O_DIRECTORY)
signal.pidfd_send_signal(proc, signal.SIGUSR1)
print("by /proc:", hits, refused(os.waitid, os.P_PIDFD, proc, os.WEXITED))
hits.pop()
os.close(proc)

# A child watches its parent's other child, gets descriptors over fork, and sends a signal to its parent.
a, gate = child()
fd = os.pidfd_open(a)
pid = os.fork()
if pid == 0:
    os.close(gate)
    os.write(w, b"ready")
    select.select([fd], [], [])
    own = os.pidfd_open(a)
    same = select.select([own], [], [], 0)[0] == [own]
    ok = refused(os.waitid, os.P_PIDFD, fd, os.WEXITED) == "ECHILD"
    signal.pidfd_send_signal(me, signal.SIGUSR1)
    os._exit(ok * 2 + same)
print(os.read(r, 5))
os.close(gate)
print("another one saw it:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), hits)
print("and we wait:", os.waitid(os.P_PIDFD, fd, os.WEXITED).si_status)
