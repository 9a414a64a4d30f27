"""Sockets of the network across processes: prefork, fork per request, inherited by exec, shared after fork."""
import errno
import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time


def child(work):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work() or 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid


def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def prefork():
    """Two workers accept on one socket; the parent has closed it, and is a client."""
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()

    def work():
        for _ in range(5):
            c, _ = server.accept()
            with c:
                while data := c.recv(1000):
                    c.sendall(data.upper())
    workers = [child(work) for _ in range(2)]
    server.close()
    answers = []
    for i in range(10):
        with socket.create_connection(address) as c:
            c.sendall(b"request %d" % i)
            c.shutdown(socket.SHUT_WR)
            answers.append(c.recv(100))
    print(answers)
    print([status(w) for w in workers])
    # The last one has gone: nobody listens.
    try:
        socket.create_connection(address)
    except OSError as e:
        print(errno.errorcode[e.errno])


def nonblocking():
    """gunicorn's way: workers that wait with select, and find that another was faster."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    address = server.getsockname()
    r, w = os.pipe()

    def work():
        os.close(w)
        served = 0
        while True:
            ready = select.select([server, r], [], [])[0]
            if server in ready:
                try:
                    c, _ = server.accept()
                except BlockingIOError:
                    continue
                c.setblocking(True)
                c.sendall(c.recv(100)[::-1])
                c.close()
                served += 1
            elif r in ready:
                return 0
    workers = [child(work) for _ in range(3)]
    for i in range(12):
        with socket.create_connection(address) as c:
            c.sendall(b"abc%d" % i)
            print(c.recv(100), end=" ")
    print()
    os.close(w)
    print([status(p) for p in workers])
    os.close(r)
    server.close()


def per_request():
    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            line = self.rfile.readline()
            self.wfile.write(b"%d %s" % (os.getpid() != parent, line))

    class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
        pass
    parent = os.getpid()
    with Server(("127.0.0.1", 0), Handler) as server:
        t = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        t.start()
        for i in range(3):
            with socket.create_connection(server.server_address) as c:
                c.sendall(b"line %d\n" % i)
                print(c.makefile("rb").read())
        server.shutdown()
        t.join()


def one_connection():
    """Both write to it; the peer sees the end when both have closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        a = socket.create_connection(server.getsockname())
        b, _ = server.accept()
    r, w = os.pipe()

    def work():
        b.close()
        os.close(w)
        a.sendall(b"child\n")
        os.read(r, 1)
        a.sendall(b"child again\n")
    pid = child(work)
    f = b.makefile("rb")
    print(f.readline())
    a.sendall(b"parent\n")
    print(f.readline())
    a.close()
    os.write(w, b"x")
    print(f.readline(), f.readline(), status(pid))
    os.close(r), os.close(w)
    f.close(), b.close()


def inherited():
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    code = ("import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); c, a = s.accept(); "
            "print(s.family.name, s.type.name, s.getsockopt(1, 9), c.recv(100)); c.sendall(b'served')")
    p = subprocess.Popen([sys.executable, "-c", code, str(server.fileno())], pass_fds=[server.fileno()],
                         stdout=subprocess.PIPE)
    with socket.create_connection(server.getsockname()) as c:
        c.sendall(b"to the child")
        print(c.recv(100))
    print(p.communicate()[0], p.returncode)
    # A connection as standard input and output.
    client = socket.create_connection(server.getsockname())
    c, _ = server.accept()
    p = subprocess.Popen(["/bin/cat"], stdin=c, stdout=c)
    c.close()
    client.sendall(b"through cat")
    print(client.recv(100))
    client.shutdown(socket.SHUT_WR)
    print(client.recv(100), p.wait())
    client.close()
    server.close()


def killed():
    """A connection of a process that is killed is closed."""
    server = socket.create_server(("127.0.0.1", 0))

    def work():
        c, _ = server.accept()
        c.sendall(b"here")
        signal.pause()
    pid = child(work)
    with socket.create_connection(server.getsockname()) as c:
        print(c.recv(100))
        os.kill(pid, signal.SIGKILL)
        print(c.recv(100), status(pid))
    server.close()


def waiting():
    """SIGTERM ends an accept; a child's end (SIGCHLD) goes on with one."""
    server = socket.create_server(("127.0.0.1", 0))

    def work():
        def leave(*_):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise SystemExit
        signal.signal(signal.SIGTERM, leave)
        try:
            os.write(w, b"x")
            server.accept()
        except SystemExit:
            return 7
    r, w = os.pipe()
    pid = child(work)
    os.read(r, 1)
    # More than one: Python sees a signal that comes right before the call only after it.
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.001)
    print(os.waitstatus_to_exitcode(ended[1]))
    seen = []
    signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))

    def connect():
        os.read(r, 1)
        socket.create_connection(server.getsockname()).sendall(b"late")
    pid = child(lambda: None)

    def late():
        os.waitpid(pid, 0)
        while not seen:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGCHLD)
            time.sleep(0.001)
        socket.create_connection(server.getsockname()).sendall(b"late")
    t = threading.Thread(target=late)
    t.start()
    c, _ = server.accept()
    print(c.recv(100), len(seen) > 0)
    t.join()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    c.close(), server.close()


for f in (prefork, nonblocking, per_request, one_connection, inherited, killed, waiting):
    print("--", f.__name__)
    f()
    sys.stdout.flush()
