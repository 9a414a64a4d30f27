"""Notes in SQLite: python3 notes.py DATABASE [PORT]. POST / adds one, GET / lists them.

A database below /tmp is in the enclave, and gone with it. One elsewhere lies on the host, unprotected: --allow DATABASE.
"""

import http.server
import sqlite3
import sys


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait to be accepted; Python's 5 are few when many come at once


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def open(self):
        return sqlite3.connect(self.server.database, timeout=30)

    def do_GET(self):
        with self.open() as db:
            rows = db.execute("SELECT text FROM notes ORDER BY id").fetchall()
        db.close()
        self.answer("".join(text + "\n" for text, in rows))

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.open() as db:
            db.execute("INSERT INTO notes (text) VALUES (?)", (text,))
        db.close()
        self.answer("added\n")


def main():
    server = Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 8080), Handler)
    server.database = sys.argv[1]
    db = sqlite3.connect(server.database)
    with db:
        db.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)")
    db.close()
    print("port", server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
