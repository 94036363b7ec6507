"""How providers take batches of requests."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, ClassVar, TypeAlias

import httpx

from pgkd.exceptions import TeacherError

#: ``await send(method, path, **options)``: a good response, or ``None`` where nothing was found.
Send: TypeAlias = Callable[..., Awaitable[httpx.Response | None]]
#: Status and document of a response.
Answer: TypeAlias = tuple[int, Any]
#: By the key of the request; without those that the provider did not get round to.
Answers: TypeAlias = dict[str, Answer]


class FailedBatchError(TeacherError):
    """A batch failed as a whole."""


class BatchAPI(ABC):
    """How a provider takes batches.

    Parameters
    ----------
    send : coroutine function
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    @abstractmethod
    async def submit(self, bodies: Mapping[str, Any]) -> str:
        """Submit requests, each with a key of its own, and return the batch's id."""

    @abstractmethod
    async def poll(self, batch: str, keys: Collection[str]) -> Answers | None:
        """Return the answers to the requests of a batch, ``None`` while it is under way.

        There are none if the provider does not know the batch, or has deleted its answers.

        Raises
        ------
        FailedBatchError
        """

    async def _create(self, path: str, **options: Any) -> Any:
        response = await self._send("POST", path, **options)
        if response is None:
            raise TeacherError(
                f"The server has no {path!r}, so it takes no batches: check `base_url`, or leave "
                "`batch` out."
            )
        return response.json()

    async def _read_lines(self, path: str | None) -> list[Any]:
        response = await self._send("GET", path) if path else None
        lines = response.text.split("\n") if response else []
        return [json.loads(line) for line in lines if line.strip()]


class OpenAIBatches(BatchAPI):
    """OpenAI's Batch API.

    References
    ----------
    https://platform.openai.com/docs/guides/batch
    https://platform.openai.com/docs/api-reference/batch
    """

    endpoint = "/v1/chat/completions"

    async def submit(self, bodies: Mapping[str, Any]) -> str:
        """Upload a file of requests, and begin a batch with it."""
        lines = (
            {"custom_id": key, "method": "POST", "url": self.endpoint, "body": body}
            for key, body in bodies.items()
        )
        content = "\n".join(map(json.dumps, lines)).encode()
        file = {"file": ("requests.jsonl", content, "application/jsonl")}
        uploaded = await self._create("files", data={"purpose": "batch"}, files=file)
        begin = {
            "input_file_id": uploaded["id"],
            "endpoint": self.endpoint,
            "completion_window": "24h",
        }
        return str((await self._create("batches", json=begin))["id"])

    async def poll(self, batch: str, keys: Collection[str]) -> Answers | None:
        """Fetch the file of answers and that of errors when the batch is finished."""
        response = await self._send("GET", f"batches/{batch}")
        if response is None:
            return {}
        document = response.json()
        status = document["status"]
        if status == "failed":
            problems = (document.get("errors") or {}).get("data") or []
            messages = [str(problem.get("message")) for problem in problems]
            raise FailedBatchError(f"OpenAI refused the batch {batch!r}: {messages[:3]}.")
        if status not in ("completed", "expired", "cancelled"):
            return None
        answers = dict.fromkeys(keys, _called_off(batch)) if status == "cancelled" else {}
        for name in ("output_file_id", "error_file_id"):
            file = document.get(name)
            for line in await self._read_lines(file and f"files/{file}/content"):
                if (answer := self._read(line)) is not None:
                    answers[line["custom_id"]] = answer
        return answers

    def _read(self, line: Mapping[str, Any]) -> Answer | None:
        if response := line.get("response"):
            return response["status_code"], response["body"]
        error = line.get("error") or {}
        return None if error.get("code") == "batch_expired" else (400, {"error": error})


class AnthropicBatches(BatchAPI):
    """Anthropic's Message Batches.

    References
    ----------
    https://platform.claude.com/docs/en/build-with-claude/batch-processing
    https://platform.claude.com/docs/en/api/messages/batches
    https://platform.claude.com/docs/en/api/errors
    """

    path = "v1/messages/batches"
    #: Status of an error outside a batch, by its type in a batch.
    statuses: ClassVar[Mapping[str, int]] = {
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    }

    async def submit(self, bodies: Mapping[str, Any]) -> str:
        """Begin a batch."""
        requests = [{"custom_id": key, "params": body} for key, body in bodies.items()]
        return str((await self._create(self.path, json={"requests": requests}))["id"])

    async def poll(self, batch: str, keys: Collection[str]) -> Answers | None:
        """Fetch the results when the batch has ended."""
        response = await self._send("GET", f"{self.path}/{batch}")
        if response is None:
            return {}
        if response.json()["processing_status"] != "ended":
            return None
        answers = {}
        for line in await self._read_lines(f"{self.path}/{batch}/results"):
            if (answer := self._read(line["result"], batch)) is not None:
                answers[line["custom_id"]] = answer
        return answers

    def _read(self, result: Mapping[str, Any], batch: str) -> Answer | None:
        if result["type"] == "succeeded":
            return 200, result["message"]
        if result["type"] == "errored":
            kind = result["error"].get("error", result["error"])["type"]
            return self.statuses.get(kind, 400), result["error"]
        return _called_off(batch) if result["type"] == "canceled" else None


def _called_off(batch: str) -> Answer:
    return 400, {"error": {"message": f"The batch {batch!r} was cancelled."}}
