"""OpenAI's chat completions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pgkd.testing.fault_server.answers import Answer, Schema
from pgkd.testing.fault_server.provider import (
    Provider,
    RefusedRequest,
    count_tokens,
    find_rules,
    is_name,
    is_within,
)


class OpenAI(Provider):
    """Chat completions.

    References
    ----------
    https://platform.openai.com/docs/api-reference/chat/create
    https://platform.openai.com/docs/guides/structured-outputs
    https://platform.openai.com/docs/guides/rate-limits
    """

    path = "/v1/chat/completions"
    roles = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
    #: Type and code of an error, by status.
    errors: Mapping[int, tuple[str, str | None]] = {
        401: ("invalid_request_error", "invalid_api_key"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }

    def _check(self, headers: Mapping[str, str], body: Any) -> None:
        if not isinstance(body, dict):
            raise RefusedRequest("We could not parse the JSON body of your request.")
        if not isinstance(body.get("model"), str) or not body["model"]:
            raise RefusedRequest("you must provide a model parameter", param="model")
        self._check_messages(body.get("messages"))
        if not is_within(body.get("temperature", 1), 0, 2):
            raise RefusedRequest(
                f"Invalid 'temperature': {body['temperature']!r} is not in [0, 2].",
                param="temperature",
            )
        if "max_tokens" in body and "max_completion_tokens" in body:
            raise RefusedRequest(
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not "
                "supported.",
                param="max_tokens",
            )
        if body.get("stream"):
            raise RefusedRequest("FaultServer does not stream: leave `stream` out.", param="stream")
        if "response_format" in body:
            self._check_format(body["response_format"])

    def _check_messages(self, messages: Any) -> None:
        if not isinstance(messages, list) or not messages:
            raise RefusedRequest("'messages' must be an array, and not empty.", param="messages")
        for i, message in enumerate(messages):
            if not isinstance(message, dict) or message.get("role") not in self.roles:
                raise RefusedRequest(
                    f"Invalid role in 'messages[{i}]': {message!r:.100}.",
                    param=f"messages[{i}].role",
                )
            if not isinstance(message.get("content"), (str, list)):
                raise RefusedRequest(
                    f"Invalid type for 'messages[{i}].content': expected a string or an array.",
                    param=f"messages[{i}].content",
                )

    def _check_format(self, wanted: Any) -> None:
        kind = wanted.get("type") if isinstance(wanted, dict) else None
        if kind not in ("text", "json_object", "json_schema"):
            raise RefusedRequest(
                f"Invalid value for 'response_format.type': {kind!r}.", param="response_format"
            )
        if kind != "json_schema":
            return
        named = wanted.get("json_schema")
        if not isinstance(named, dict) or not is_name(named.get("name")):
            raise RefusedRequest(
                "Missing or invalid 'response_format.json_schema.name'.", param="response_format"
            )
        for rule, where in find_rules(named.get("schema")) if named.get("strict") else ():
            if "properties" in rule:
                _check_strict(rule, f"{named['name']!r}: In context={where}")

    def find_schema(self, body: Any) -> Schema | None:
        wanted = body.get("response_format", {})
        return wanted["json_schema"].get("schema") if wanted.get("type") == "json_schema" else None

    def write(self, body: Any, answer: Answer, number: int) -> dict[str, Any]:
        refused = answer.finish == "refusal"
        message = {
            "role": "assistant",
            "content": None if refused else answer.content,
            "refusal": answer.content if refused else None,
        }
        n_input, n_output = count_tokens(body["messages"]), count_tokens(answer.content)
        return {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": "length" if answer.finish == "length" else "stop",
                }
            ],
            "usage": {
                "prompt_tokens": n_input,
                "completion_tokens": n_output,
                "total_tokens": n_input + n_output,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }

    def empty(self, document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "choices": []}

    def error(self, status: int, message: str, **fields: Any) -> dict[str, Any]:
        kind, code = "invalid_request_error" if status < 500 else "server_error", None
        kind, code = self.errors.get(status, (kind, code))
        return {"error": {"message": message, "type": kind, "param": None, "code": code} | fields}

    def name_limits(self, delay: float) -> dict[str, str]:
        minutes, seconds = divmod(delay, 60)
        short = f"{delay * 1000:.0f}ms" if delay < 1 else f"{seconds:g}s"
        return {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": f"{minutes:.0f}m{seconds:g}s" if minutes else short,
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "6m0s",
        }


def _check_strict(rule: Schema, where: str) -> None:
    problem = ""
    if rule.get("additionalProperties") is not False:
        problem = "'additionalProperties' is required to be supplied and to be false."
    elif missing := rule["properties"].keys() - set(rule.get("required", ())):
        problem = (
            "'required' is required to be supplied and to be an array including every key in "
            f"properties. Missing {min(missing)!r}."
        )
    if problem:
        raise RefusedRequest(
            f"Invalid schema for response_format {where}, {problem}", param="response_format"
        )
