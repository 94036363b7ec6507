"""What a provider of LLMs looks like to its clients."""

from __future__ import annotations

import json
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from typing import Any

from pgkd.testing.fault_server.answers import Answer, Schema

#: Characters of English in a token, about.
CHARACTERS_PER_TOKEN = 4
#: Items of a list that FaultServer is ready to write.
MAX_ITEMS = 100_000


class RefusedRequest(Exception):
    """The provider takes no such request."""

    def __init__(self, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.fields = fields


class Provider(ABC):
    """The shape of a provider's requests, answers and errors."""

    path: str

    def check(self, headers: Mapping[str, str], body: Any) -> None:
        """Raise RefusedRequest if the request is not of the published shape."""
        try:
            self._check(headers, body)
            schema = self.find_schema(body)
            for rule, _ in () if schema is None else find_rules(schema):
                _check_rule(rule)
        except (TypeError, AttributeError, LookupError, ValueError) as error:
            raise RefusedRequest(f"The request is not of the published shape: {error!r}") from error

    @abstractmethod
    def _check(self, headers: Mapping[str, str], body: Any) -> None:
        """Check what is worth a message of its own."""

    @abstractmethod
    def find_schema(self, body: Any) -> Schema | None:
        """JSON schema that the answer is held to."""

    @abstractmethod
    def write(self, body: Any, answer: Answer, number: int) -> dict[str, Any]:
        """Document of response `number`."""

    @abstractmethod
    def empty(self, document: dict[str, Any]) -> dict[str, Any]:
        """Take what the LLM says out of a document."""

    @abstractmethod
    def error(self, status: int, message: str, **fields: Any) -> dict[str, Any]:
        """Document of an error."""

    @abstractmethod
    def name_limits(self, delay: float) -> dict[str, str]:
        """Headers of a rate limit that is used up for `delay` seconds."""


def name_delay(provider: Provider, kind: str | None, delay: float) -> dict[str, str]:
    """Headers that tell a client to wait `delay` seconds, a date rounded up to a whole second."""
    if kind == "seconds":
        return {"retry-after": f"{delay:g}"}
    if kind == "date":
        return {"retry-after": formatdate(math.ceil(time.time() + delay), usegmt=True)}
    if kind == "ms":
        return {"retry-after-ms": f"{delay * 1000:.0f}"}
    return provider.name_limits(delay) if kind == "reset" else {}


def count_tokens(*parts: Any) -> int:
    """Count the tokens of texts and documents, about."""
    texts = (part if isinstance(part, str) else json.dumps(part) for part in parts)
    return sum(map(len, texts)) // CHARACTERS_PER_TOKEN + 1


def find_rules(schema: Any, context: tuple[str, ...] = ()) -> Iterator[tuple[Schema, str]]:
    """Yield a schema and those within it, each with its place in OpenAI's notation."""
    if not isinstance(schema, dict):
        raise TypeError(f"a schema must be an object, not {schema!r:.100}")
    yield schema, str(context)
    for name, rule in schema.get("properties", {}).items():
        yield from find_rules(rule, (*context, "properties", name))
    if "items" in schema:
        yield from find_rules(schema["items"], (*context, "items"))


def _check_rule(rule: Schema) -> None:
    """Raise ValueError if an answer cannot be written by this part of a schema."""
    if "enum" in rule and not (isinstance(rule["enum"], list) and rule["enum"]):
        raise ValueError(f"'enum' must be an array, and not empty: {rule['enum']!r:.100}")
    for name in ("minItems", "maxItems"):
        if not is_within(rule.get(name, 0), 0, MAX_ITEMS) or rule.get(name, 0) % 1:
            raise ValueError(
                f"{name!r} must be an integer in [0, {MAX_ITEMS}]: {rule[name]!r:.100}"
            )


def is_name(value: Any, characters: str = "a-zA-Z0-9_-") -> bool:
    """Whether `value` can be the name of a schema, a tool or a property."""
    return isinstance(value, str) and bool(re.fullmatch(f"[{characters}]{{1,64}}", value))


def is_within(value: Any, low: float, high: float) -> bool:
    """Whether `value` is a number in [low, high]."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
