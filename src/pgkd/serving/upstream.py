"""The LLM behind a model: asked where the model is unsure, and its answers are kept."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx

from pgkd.serving.chat import join_stream

#: Seconds to connect, and to wait for the next part of an answer.
TIMEOUT = httpx.Timeout(120, connect=10)


class Upstream:
    """Passes requests on as they came.

    Parameters
    ----------
    base_url : str
        Of a server that speaks OpenAI's API, e.g. ``"https://api.openai.com/v1"``. The key is the
        one that the client sent, else ``$OPENAI_API_KEY``; it is not kept.
    keep : Path, default=None
        A file of JSON lines, to which each answer is added with its request, as
        :func:`pgkd.read_logs` reads it.
    """

    def __init__(self, base_url: str, keep: Path | None = None) -> None:
        self.url = f"{base_url.rstrip('/')}/chat/completions"
        self.keep = keep
        self._client = httpx.AsyncClient(timeout=TIMEOUT)
        self._lock = anyio.Lock()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(self, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Send a request, and return the answer, of which the head alone has come.

        Raises
        ------
        httpx.HTTPError
            If the server cannot be reached, or is overloaded or broken.
        """
        key = headers.get("authorization") or f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"
        request = self._client.build_request(
            "POST",
            self.url,
            content=content,
            headers={"Content-Type": "application/json", "Authorization": key.strip()},
        )
        response = await self._client.send(request, stream=True)
        if response.status_code == 429 or response.status_code >= 500:
            await response.aclose()
            raise httpx.HTTPStatusError("overloaded", request=request, response=response)
        return response

    async def pass_on(
        self, response: httpx.Response, body: Mapping[str, Any]
    ) -> AsyncIterator[bytes]:
        """Yield an answer as it comes; it is kept before its end is passed on."""
        parts: list[bytes] = []
        try:
            async for part in response.aiter_bytes():
                if parts:
                    yield parts[-1]
                parts.append(part)
        finally:
            await response.aclose()
        if response.status_code == 200:
            await self._keep(b"".join(parts).decode(errors="replace"), body)
        if parts:
            yield parts[-1]

    async def _keep(self, text: str, body: Mapping[str, Any]) -> None:
        if self.keep is None:
            return
        try:
            answer = join_stream(text) if body.get("stream") else json.loads(text)
        except ValueError:
            return
        if answer is not None:
            line = json.dumps({"request": body, "response": answer}, ensure_ascii=False) + "\n"
            async with self._lock:
                await anyio.to_thread.run_sync(_append, self.keep, line)


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
