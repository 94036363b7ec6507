"""Anthropic's Messages API."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import datetime, timezone
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

PARAMETERS = (
    "cache_control container context_management inference_geo max_tokens mcp_servers messages "
    "metadata model output_config output_format service_tier speed stop_sequences stream system "
    "temperature thinking tool_choice tools top_k top_p"
)
MAX_CACHE_MARKS = 4
#: Lengths and sizes that structured outputs do not support.
UNSUPPORTED = ("maxItems", "minLength", "maxLength", "minimum", "maximum", "multipleOf")


class Anthropic(Provider):
    """The Messages API.

    References
    ----------
    https://platform.claude.com/docs/en/api/messages/create
    https://platform.claude.com/docs/en/api/errors
    https://platform.claude.com/docs/en/api/rate-limits
    https://platform.claude.com/docs/en/build-with-claude/structured-outputs
    """

    path = "/v1/messages"
    versions = frozenset({"2023-01-01", "2023-06-01"})
    #: Type of an error, by status.
    errors: Mapping[int, str] = {
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        409: "conflict_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        529: "overloaded_error",
    }

    def _check(self, headers: Mapping[str, str], body: Any) -> None:
        version = headers.get("anthropic-version")
        if version not in self.versions:
            raise RefusedRequest(
                f"anthropic-version: {version!r} is not a valid version"
                if version
                else "anthropic-version: header is required"
            )
        if not isinstance(body, dict):
            raise RefusedRequest("The request body is not valid JSON.")
        for name in ("model", "messages", "max_tokens"):
            if name not in body:
                raise RefusedRequest(f"{name}: Field required")
        for name in body.keys() - set(PARAMETERS.split()):
            raise RefusedRequest(f"{name}: Extra inputs are not permitted")
        if not isinstance(body["model"], str) or not body["model"]:
            raise RefusedRequest("model: Input should be a valid string")
        if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 0:
            raise RefusedRequest("max_tokens: Input should be greater than or equal to 0")
        if not is_within(body.get("temperature", 1), 0, 1):
            raise RefusedRequest("temperature: range: 0..1")
        if body.get("stream"):
            raise RefusedRequest("stream: FaultServer does not stream")
        self._check_messages(body["messages"])
        if "system" in body:
            self._check_content("system", body["system"])
        self._check_tools(body.get("tools", []), body.get("tool_choice"))
        if (wanted := _output_format(body)) is not None:
            where = "output_config.format" if "output_config" in body else "output_format"
            if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
                raise RefusedRequest(f"{where}: Input should be a JSON schema")
            self._check_schema(f"{where}.schema", wanted["schema"])
        if (n_marks := _count_marks(body)) > MAX_CACHE_MARKS:
            raise RefusedRequest(
                f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found "
                f"{n_marks}."
            )

    def _check_messages(self, messages: Any) -> None:
        if not isinstance(messages, list) or not messages:
            raise RefusedRequest("messages: at least one message is required")
        for i, message in enumerate(messages):
            role = message.get("role") if isinstance(message, dict) else None
            if role == "system":
                raise RefusedRequest(
                    'messages: Unexpected role "system". The Messages API accepts a top-level '
                    '`system` parameter, not "system" as an input message role.'
                )
            if role not in ("user", "assistant"):
                raise RefusedRequest(
                    f"messages.{i}.role: Input should be 'user' or 'assistant', got {role!r}"
                )
            self._check_content(f"messages.{i}.content", message.get("content"))
        if messages[0]["role"] != "user":
            raise RefusedRequest('messages: first message must use the "user" role')

    def _check_content(self, where: str, content: Any) -> None:
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list) or not blocks:
            raise RefusedRequest(f"{where}: Input should be a valid string or list of blocks")
        for block in blocks:
            if not isinstance(block, dict) or "type" not in block:
                raise RefusedRequest(f"{where}: each block needs a type")
            if block["type"] == "text" and not str(block.get("text", "")).strip():
                raise RefusedRequest(f"{where}: text content blocks must be non-empty")

    def _check_tools(self, tools: Any, choice: Any) -> None:
        for i, tool in enumerate(tools):
            where = f"tools.{i}.custom"
            if not is_name(tool.get("name")):
                raise RefusedRequest(f"{where}.name: String should match pattern")
            schema = tool.get("input_schema")
            if not isinstance(schema, dict) or schema.get("type") != "object":
                raise RefusedRequest(f"{where}.input_schema.type: Field required")
            self._check_keys(f"{where}.input_schema", schema)
            if tool.get("strict"):
                self._check_schema(where, schema)
        if choice is None:
            return
        kind = choice.get("type") if isinstance(choice, dict) else None
        if kind not in ("auto", "any", "tool", "none"):
            raise RefusedRequest(f"tool_choice: Input should have a type, got {kind!r}")
        if kind == "tool" and choice.get("name") not in [t["name"] for t in tools]:
            raise RefusedRequest(f"Tool '{choice.get('name')}' not found in provided tools")

    def _check_schema(self, where: str, schema: Schema) -> None:
        """Check what structured outputs support of JSON schema."""
        self._check_keys(where, schema)
        for rule, _ in find_rules(schema):
            if rule.get("type") == "object" and rule.get("additionalProperties") is not False:
                raise RefusedRequest(
                    f"{where}: For 'object' type, 'additionalProperties' must be explicitly set "
                    "to false"
                )
            if rule.get("minItems", 0) not in (0, 1):
                raise RefusedRequest(
                    f"{where}: For 'array' type, 'minItems' values other than 0 or 1 are not "
                    f"supported (got: {rule['minItems']})"
                )
            for name in UNSUPPORTED:
                if name in rule:
                    raise RefusedRequest(
                        f"{where}: For '{rule.get('type')}' type, property '{name}' is not "
                        "supported"
                    )

    def _check_keys(self, where: str, schema: Schema) -> None:
        for rule, _ in find_rules(schema):
            for key in rule.get("properties", {}):
                if not is_name(key, "a-zA-Z0-9_.-"):
                    raise RefusedRequest(
                        f"{where}.properties: Property keys should match pattern "
                        "'^[a-zA-Z0-9_.-]{1,64}$'"
                    )

    def find_schema(self, body: Any) -> Schema | None:
        if (wanted := _output_format(body)) is not None:
            schema: Schema = wanted["schema"]
            return schema
        tool = _chosen_tool(body)
        return None if tool is None else tool["input_schema"]

    def write(self, body: Any, answer: Answer, number: int) -> dict[str, Any]:
        reasons = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}
        content: list[dict[str, Any]] = [{"type": "text", "text": answer.content}]
        reason = reasons[answer.finish]
        tool = None if _output_format(body) else _chosen_tool(body)
        value = _as_object(answer.value)
        if answer.finish == "refusal":
            content = []
        elif tool is not None and value is not None:
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": tool["name"]}
            content = [{**block, "input": value}]
            reason = "tool_use" if answer.finish == "stop" else reason
        document = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": count_tokens(body.get("system", ""), body["messages"]),
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": count_tokens(answer.content),
            },
        }
        if answer.finish == "refusal":
            details = {"type": "refusal", "category": None, "explanation": answer.content}
            document["stop_details"] = details
        return document

    def empty(self, document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "content": [], "stop_reason": "end_turn"}

    def error(self, status: int, message: str, **fields: Any) -> dict[str, Any]:
        kind = "invalid_request_error" if status < 500 else "api_error"
        error = {"type": self.errors.get(status, kind), "message": message} | fields
        return {"type": "error", "error": error, "request_id": "req_fault"}

    def name_limits(self, delay: float) -> dict[str, str]:
        reset = datetime.fromtimestamp(math.ceil(time.time() + delay), timezone.utc)
        return {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": f"{reset:%Y-%m-%dT%H:%M:%SZ}",
        }


def _output_format(body: Any) -> Any:
    """What the answer is held to, under its present or its former name."""
    config = body.get("output_config")
    return (config.get("format") if isinstance(config, dict) else None) or body.get("output_format")


def _chosen_tool(body: Any) -> Any:
    """The tool that is used: the one that must be, else the first that may be."""
    choice = body.get("tool_choice") or {"type": "auto"}
    tools = {tool["name"]: tool for tool in body.get("tools") or ()}
    if choice["type"] == "tool":
        return tools[choice["name"]]
    return None if choice["type"] == "none" else next(iter(tools.values()), None)


def _as_object(value: Any) -> dict[str, Any] | None:
    """Read what the LLM says as the input of a tool, if it can be one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def _count_marks(value: Any) -> int:
    """Count the marks for the prompt cache."""
    if isinstance(value, list):
        return sum(map(_count_marks, value))
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(_count_marks, value.values()))
    return 0
