"""A real HTTP server that checks every request and plays a script of answers."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Request(NamedTuple):
    path: str
    headers: dict
    body: dict
    raw: bytes


class Server(ThreadingHTTPServer):
    """Plays `script`: bodies, (status, body, headers), "hang up", or functions of the body."""

    daemon_threads = True

    def __init__(self, check):
        super().__init__(("127.0.0.1", 0), Handler)
        self.check = check
        self.lock, self.requests, self.wrong, self.script = threading.Lock(), [], [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, json.loads(raw), raw)
        with server.lock:
            server.requests.append(request)
            n = len(server.requests) - 1
        try:
            server.check(request)
        except Exception as error:
            server.wrong.append(f"{error!r} in {request.body}")
        answer = server.script[min(n, len(server.script) - 1)]
        answer = answer(request.body) if callable(answer) else answer
        if answer == "hang up":
            self.close_connection = True
            self.connection.close()
            return
        status, document, headers = answer if isinstance(answer, tuple) else (200, answer, {})
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@contextmanager
def serve(check):
    """Run a server; no request may break the rules of `check`, which raises if one does."""
    with Server(check) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
        assert not server.wrong, server.wrong[0]
