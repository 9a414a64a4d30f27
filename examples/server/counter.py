"""A counter in Redis, over TCP: python3 counter.py REDIS_PORT [PORT]. Each GET adds one.

The enclave protects the program, not the database: what Redis answers is Redis's word.
"""

import http.server
import socket
import sys


class Redis:
    """As much of the protocol RESP as a counter needs."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return rest

    def close(self):
        self.file.close()
        self.socket.close()


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait to be accepted; Python's 5 are few when many come at once


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        redis = Redis("127.0.0.1", self.server.redis_port)
        body = b"%d\n" % redis("INCR", "count")
        redis.close()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    server = Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 8080), Handler)
    server.redis_port = int(sys.argv[1])
    print("port", server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
