"""HTTP/1.1 on asyncio's streams: as much of it as a server of faults needs."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Literal

MAX_BODY = 32 * 2**20
#: Close with RST instead of FIN: linger, for no seconds.
_RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as :class:`FaultServer` got it.

    Attributes
    ----------
    method, path : str
    headers : dict of str to str
        The names in lower case. They are not in the `repr`: a key may be among them.
    body : object
        The JSON document; bytes if the body is none.
    time : float
        When it was there as a whole, on the clock of ``time.monotonic()``, in seconds.
    """

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: Any
    time: float

    @property
    def keeps_alive(self) -> bool:
        """Whether more requests may come on the same connection."""
        return self.headers.get("connection", "").lower() != "close"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a response is sent.

    Attributes
    ----------
    end : {"whole", "hang up", "reset"}
        The connection is closed before a byte is sent, or reset in the middle of the body.
    n_pieces : int
        Pieces that the body is sent in.
    pause : float
        Seconds between two pieces.
    """

    end: Literal["whole", "hang up", "reset"] = "whole"
    n_pieces: int = 1
    pause: float = 0.0


WHOLE = Delivery()


@dataclass(frozen=True, slots=True)
class Response:
    """A response, ready to be sent."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = WHOLE


class MalformedRequest(Exception):
    """What came is no HTTP request that can be read; `response` says why."""

    def __init__(self, status: int, why: str) -> None:
        self.response = Response(status, why.encode(), {"content-type": "text/plain"})


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    """Read the method, the path and the headers, ``None`` when the client is gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise MalformedRequest(431, "The headers are too long.") from None
    start, *lines = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, version = start.split(" ")
    except ValueError:
        raise MalformedRequest(400, f"No request line: {start[:100]!r}") from None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise MalformedRequest(400, f"No header: {name[:100]!r}")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if version != "HTTP/1.1":
        headers["connection"] = "close"
    return method, target.partition("?")[0], headers


async def read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """Read the body, of a given length or in chunks."""
    encoding = headers.get("transfer-encoding", "").lower()
    if encoding == "chunked":
        chunks: list[bytes] = []
        while size := _read_length((await _read_line(reader)).split(b";")[0], 16):
            _check_size(sum(map(len, chunks)) + size)
            chunks.append(await reader.readexactly(size))
            await _read_line(reader)
        while await _read_line(reader):
            pass  # trailers
        return b"".join(chunks)
    if encoding:
        raise MalformedRequest(501, f"No such transfer encoding here: {encoding!r}")
    size = _read_length(headers.get("content-length", "0").encode(), 10)
    _check_size(size)
    return await reader.readexactly(size)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except asyncio.LimitOverrunError:
        raise MalformedRequest(400, "A line of the body in chunks is too long.") from None


def _read_length(digits: bytes, base: int) -> int:
    try:
        length = int(digits, base)
    except ValueError:
        length = -1
    if length < 0:
        raise MalformedRequest(400, f"No length: {digits[:100]!r}")
    return length


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        raise MalformedRequest(413, f"The body has more than {MAX_BODY} bytes.")


async def send(writer: asyncio.StreamWriter, response: Response, keep_alive: bool) -> None:
    """Send a response in the way its delivery says."""
    delivery = response.delivery
    if delivery.end == "hang up":
        return
    content = response.content
    headers = {
        "date": formatdate(time.time(), usegmt=True),
        "content-type": "application/json",
        "content-length": str(len(content)),
        "connection": "keep-alive" if keep_alive else "close",
        **{name.lower(): value for name, value in response.headers.items()},
    }
    lines = [f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if delivery.end == "reset":
        writer.write(head + content[: len(content) // 2])
        await writer.drain()
        await asyncio.sleep(0.01)  # a reset may overtake what was sent just before
        reset(writer)
        return
    if delivery.n_pieces == 1:
        writer.write(head + content)
    else:
        writer.write(head)
        size = max(-(-len(content) // delivery.n_pieces), 1)
        for start in range(0, len(content), size):
            writer.write(content[start : start + size])
            await writer.drain()
            if start + size < len(content):
                await asyncio.sleep(delivery.pause)
    await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection, so that the client sees an error and no end."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
