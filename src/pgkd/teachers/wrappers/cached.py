"""No answer is paid for twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgkd.records import Completion, Message, Usage
from pgkd.system.store import RunStore
from pgkd.teachers.base import AsyncComplete, LLMTeacher
from pgkd.teachers.wrappers.base import WrapperTeacher


class CachedTeacher(WrapperTeacher):
    """Keep the answers of an LLM teacher on disk, and ask it only what is new.

    The key of an answer is the rendered request: the messages, the schema, and the teacher's
    parameters that change an answer. One that was cut off is asked for again only with other
    `max_tokens`; one that failed, is empty or was ended by a filter is not kept.

    Parameters
    ----------
    teacher : LLMTeacher
    path : str or path
        The SQLite file.

    Examples
    --------
    >>> import tempfile
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.teachers import CachedTeacher, FunctionTeacher
    >>> path = tempfile.mkdtemp() + "/run.sqlite"
    >>> def my_llm(messages):
    ...     print("asked")
    ...     return '{"ham": ["See you at noon."]}'
    >>> teacher = CachedTeacher(FunctionTeacher(my_llm), path)
    >>> request = GenerationRequest("1-1", {"ham": 1})
    >>> generations = [*teacher.generate([request]), *teacher.generate([request])]
    asked
    >>> generations[1].usage
    Usage(n_requests=0, input_tokens=0, output_tokens=0, cost=0.0, cached_tokens=0)
    >>> generations[1].saved.n_requests
    1
    """

    def __init__(self, teacher: LLMTeacher, path: str | Path) -> None:
        super().__init__(teacher)
        self.path = path

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncComplete]:
        """Look each request up before the wrapped teacher is asked."""
        store = RunStore(Path(self.path))
        with store.activate():
            async with self.teacher.session() as ask:

                async def complete(
                    messages: Sequence[Message], schema: dict[str, Any]
                ) -> Completion:
                    key = hash_request(self.teacher, messages, schema)
                    # An answer that was cut off holds as long as the limit is the same.
                    cut_key = f"{key}-{_unwrap(self.teacher).max_tokens}"
                    stored = store.get(key) or store.get(cut_key)
                    if stored is not None and stored.is_worth_keeping:
                        return replace(stored, usage=Usage(), saved=stored.usage)
                    completion = await ask(messages, schema)
                    if completion.is_worth_keeping:
                        store.put(cut_key if completion.truncated else key, completion)
                    return completion

                yield complete


def hash_request(teacher: LLMTeacher, messages: Sequence[Message], schema: dict[str, Any]) -> str:
    """Hash a rendered request and what changes the answer to it."""
    text = json.dumps(describe_request(teacher, messages, schema), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_request(
    teacher: LLMTeacher, messages: Sequence[Message], schema: dict[str, Any]
) -> dict[str, Any]:
    """Describe a rendered request and what changes the answer to it, in what JSON can hold."""
    teacher = _unwrap(teacher)
    params = {
        name: value
        for name, value in teacher.get_params(deep=False).items()
        if name not in teacher._without_effect
    }
    document = {
        "teacher": type(teacher).__qualname__,
        "params": params,
        "messages": list(messages),
        "schema": schema,
    }
    described: dict[str, Any] = json.loads(json.dumps(document, default=_name))
    return described


def _unwrap(teacher: LLMTeacher) -> LLMTeacher:
    while isinstance(teacher, WrapperTeacher):
        teacher = teacher.teacher
    return teacher


def _name(value: Any) -> str:
    """Name what JSON cannot hold by what stays the same in another process."""
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    return getattr(value, "__qualname__", None) or type(value).__qualname__
