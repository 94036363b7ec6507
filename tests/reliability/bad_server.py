"""A server that breaks HTTP itself, on real sockets; `FaultServer` plays what HTTP can say."""

import contextlib
import gzip
import itertools
import json
import socket
import ssl
import threading
import time
from pathlib import Path

HTML = b"<html><body>It works!</body></html>"
DOCUMENT = json.dumps({"choices": [{"message": {"content": '{"card": ["where is my card"]}'}}]})


def head(length, status="200 OK", kind="application/json", *more):
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", *more]
    if length is not None:
        lines.append(f"content-length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def whole(content, *args):
    return [head(len(content), *args) + content]


def drip(data, seconds=0.05):
    for byte in itertools.cycle(data):
        time.sleep(seconds)
        yield bytes([byte])


def endless(piece):
    yield head(None, "200 OK", "application/json", "transfer-encoding: chunked")
    yield from itertools.repeat(b"%x\r\n%b\r\n" % (len(piece), piece))


HANG = object()  # keep the connection open, and say nothing more

#: What is sent, piece by piece, to whoever asks; ``{port}`` is the server's own.
FAULTS = {
    "hangs": lambda: [HANG],
    "closes": lambda: [],
    "drips a body": lambda: itertools.chain([head(100_000)], drip(b" ")),
    "drips a head": lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], drip(b"x: y\r\n")),
    "answers HTML": lambda: whole(HTML, "200 OK", "text/html"),
    "is a gateway without a server": lambda: whole(HTML, "502 Bad Gateway", "text/html"),
    "breaks JSON off": lambda: whole(DOCUMENT.encode()[:40]),
    "promises too much and closes": lambda: [head(100_000) + DOCUMENT.encode()],
    "promises too much and hangs": lambda: [head(100_000) + DOCUMENT.encode(), HANG],
    "promises too little": lambda: [head(10) + DOCUMENT.encode()],
    "never ends": lambda: endless(b" " * 2**16),
    "is a bomb": lambda: whole(
        gzip.compress(bytes(2**28)), "200 OK", "application/json", "content-encoding: gzip"
    ),
    "has an endless head": lambda: itertools.repeat(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 999),
    "redirects in a circle": lambda: whole(
        b"", "307 Temporary Redirect", "text/html", "location: /v1/chat/completions"
    ),
    "speaks another language": lambda: [b"SSH-2.0-OpenSSH_9.6\r\n", HANG],
}


class BadServer:
    """Answers every request alike; `n_sent` are the bytes that its clients let it send."""

    def __init__(self, pieces, tls=False):
        self.pieces = pieces
        self.n_connections = self.n_sent = 0
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self._socket.getsockname()[1]}"
        self.base_url = f"{self.origin}/v1"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # it is closed
            while True:
                connection, _ = self._socket.accept()
                self.n_connections += 1
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:  # the client has enough
            if self._context is None:
                self._reply(connection)
                return
            with self._context.wrap_socket(connection, server_side=True) as secured:
                self._reply(secured)

    def _reply(self, connection):
        connection.recv(2**20)
        self._answer(connection)

    def _answer(self, connection):
        for piece in self.pieces():
            if piece is HANG:
                self._over.wait()
            if self._over.is_set():
                return
            connection.sendall(piece)
            self.n_sent += len(piece)
