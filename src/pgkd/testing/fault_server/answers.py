"""What the LLM of :class:`FaultServer` says: texts of its own, in the shape that is asked for."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

#: The answer when no schema says what is wanted.
NO_SCHEMA = "No schema came with the request, so there is nothing to hold this answer to."
DUPLICATE = "the same text again"
REFUSAL = "I'm sorry, but I can't help with that."

_WORDS = (
    "again all ask before call check day end find first give help keep last leave letter make "
    "minute month move name need never new next often old open order pay place please send since "
    "soon start still stop take tell think today try until wait week what when where why work"
)

#: The schema of the wanted answer.
Schema: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the LLM says.

    Attributes
    ----------
    value : object
        A JSON value, or a str of any kind.
    texts : tuple of str
        The texts of its own in it, in order, whole ones only.
    finish : {"stop", "length", "refusal"}
        Why it stopped.
    """

    value: Any
    texts: tuple[str, ...] = ()
    finish: Literal["stop", "length", "refusal"] = "stop"

    @property
    def content(self) -> str:
        """The answer as the LLM writes it; one that was cut off ends within its last text."""
        if isinstance(self.value, str):
            return self.value
        content = json.dumps(self.value, ensure_ascii=False)
        return content.rstrip('"]}') if self.finish == "length" else content


class Writer:
    """Writes answers that fit a schema, with texts that are all different.

    Parameters
    ----------
    seed : int
    n_texts : int
        Items of a list whose length the schema leaves open.
    """

    def __init__(self, seed: int, n_texts: int) -> None:
        self._random = random.Random(seed)
        self._n_texts = n_texts
        self._words = _WORDS.split()
        self._numbers = itertools.count(1)

    def write(self, schema: Schema | None) -> Answer:
        """Write an answer."""
        if schema is None:
            return Answer(NO_SCHEMA)
        texts: list[str] = []
        return Answer(self._make(schema, "text", texts), tuple(texts))

    def _make(self, schema: Schema, name: str, texts: list[str]) -> Any:
        if "enum" in schema:
            return schema["enum"][0]
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type")
        if kind == "object":
            properties = schema.get("properties", {})
            return {key: self._make(rule, key, texts) for key, rule in properties.items()}
        if kind == "array":
            n = max(self._n_texts, schema.get("minItems", 0))
            n = min(n, schema.get("maxItems", n))
            return [self._make(schema.get("items", {}), name, texts) for _ in range(int(n))]
        if kind in ("integer", "number"):
            return next(self._numbers)
        if kind in ("boolean", "null"):
            return {"boolean": True, "null": None}[kind]
        words = " ".join(self._random.choices(self._words, k=6))
        texts.append(f"{name}: {words} no. {next(self._numbers)}.")
        return texts[-1]


def change_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Change every str that is no key."""
    if isinstance(value, dict):
        return {key: change_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [change_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def cut(answer: Answer) -> Answer:
    """Cut the answer off within its last text."""
    strings = list(_strings(answer.value))
    numbers = itertools.count(1)
    value = change_texts(
        answer.value,
        lambda text: text[: len(text) // 2] if next(numbers) == len(strings) else text,
    )
    return Answer(value, tuple(t for t in answer.texts if t != strings[-1]), "length")


def repeat(answer: Answer) -> Answer:
    """Say the same text again and again."""
    value = change_texts(answer.value, lambda text: DUPLICATE if text in answer.texts else text)
    return replace(answer, value=value, texts=(DUPLICATE,) * len(answer.texts))


def mislabel(answer: Answer) -> Answer:
    """Give every text a label that was not asked for."""
    if not isinstance(answer.value, dict):
        return answer
    value = {
        (key if isinstance(item, str) else _other(key)): (
            _other(item) if isinstance(item, str) else item
        )
        for key, item in answer.value.items()
    }
    return replace(answer, value=value, texts=())


def _other(label: str) -> str:
    return f"other than {label}"


def refuse(answer: Answer) -> Answer:
    """Say that it will not answer."""
    return Answer(REFUSAL, (), "refusal")
