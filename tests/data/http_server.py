"""A web server with bad habits, for the download tests.

usage: http_server.py FOLDER

Serves FOLDER on 127.0.0.1 and prints its port. The first part of a path says how it behaves (see
`habits`), the second names the file. Every request adds a line "PATH RANGE" to FOLDER/requests.
Ends when its standard input does, so that it never outlives the test.
"""

import http.server
import os
import sys
import threading
import time

folder = sys.argv[1]
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        _, habit, name = self.path.split("/", 2)
        wanted = self.headers.get("Range", "")
        with lock, open(os.path.join(folder, "requests"), "a") as log:
            log.write(f"{self.path} {wanted or '-'}\n")
        path = os.path.join(folder, os.path.basename(name))
        data = open(path, "rb").read() if os.path.exists(path) else None
        if habit not in habits or data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        try:
            habits[habit](self, data, start)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send(self, data, start, ranges=True, stop=None):
        """The bytes from `start`, up to `stop` although all are promised."""
        if start and ranges:
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            data = data[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:stop])

    def redirect(self, to):
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def stall(self, data, start):
        self.send(data, start, stop=100)
        self.wfile.flush()
        time.sleep(60)


habits = {
    "good": lambda h, data, start: h.send(data, start),
    "no-range": lambda h, data, start: h.send(data, start, ranges=False),
    "cut": lambda h, data, start: h.send(data, start, stop=30000),
    "wrong": lambda h, data, start: h.send(bytes(255 - b for b in data), start),
    "long": lambda h, data, start: h.send(data + b"more", start),
    "short": lambda h, data, start: h.send(data[:-1], start),
    "stall": lambda h, data, start: h.stall(data, start),
    "silent": lambda h, data, start: time.sleep(60),
    "redirect": lambda h, data, start: h.redirect(h.path.replace("/redirect/", "/good/")),
    "to-file": lambda h, data, start: h.redirect("file://" + os.path.join(folder, "one")),
}

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
