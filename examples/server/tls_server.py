r"""A TLS server with Python's ssl: python3 tls_server.py [PORT]

Certificate and key are cert.pem and key.pem here. Made for trying out, so:
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
The enclave protects the code and what the key is used for, not the file that it is read from: whoever can read key.pem has the key.
"""

import http.server
import ssl
import sys


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait to be accepted; Python's 5 are few when many come at once


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"hello over {self.connection.version()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8443
    server = Server(("127.0.0.1", port), Handler)
    # The handshake is the thread's of the connection: a client that says nothing keeps nobody else waiting.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("port", server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
