"""No answer is paid for twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from pgkd.exceptions import PersistenceError, TeacherError
from pgkd.records import Completion, Message, Usage
from pgkd.system.store import RunStore
from pgkd.teachers.base import AsyncComplete, LLMTeacher
from pgkd.teachers.parameters import PATH
from pgkd.teachers.wrappers.base import WrapperTeacher

#: Seconds between two looks at what another process is asking for.
WAIT = 0.2


class CachedTeacher(WrapperTeacher):
    """Keep the answers of an LLM teacher on disk, and ask it only what is new.

    Of processes that ask the same at the same time, one does, and the others wait for its answer.
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

    _rules = WrapperTeacher._rules | {"path": PATH}

    def __init__(self, teacher: LLMTeacher, path: str | Path) -> None:
        super().__init__(teacher)
        self.path = path

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if the wrapped teacher cannot serve, or its answers could not be kept."""
        super().check_ready(max_cost)
        RunStore(Path(self.path)).check()

    def check_reachable(self) -> None:
        """Raise if the wrapped teacher is out of reach; warn where answers of it are kept."""
        try:
            self.teacher.check_reachable()
        except TeacherError as error:
            if RunStore(Path(self.path)).is_empty():
                raise
            warnings.warn(
                f"{error} Answers that are kept in {str(self.path)!r} are used; where a new one is "
                "needed, the teacher will fail.",
                stacklevel=2,
            )

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncComplete]:
        """Look each request up before the wrapped teacher is asked.

        When answers cannot be kept any more, as on a full disk, no other is bought; those under way
        are waited for and used, because they are paid for.
        """
        store = RunStore(Path(self.path))
        store.check()
        n_open, failure = 0, None
        with store.activate(), store.lease():
            async with self.teacher.session() as ask:

                async def serve(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
                    nonlocal n_open, failure
                    key = hash_request(self.teacher, messages, schema)
                    # An answer that was cut off holds as long as the limit is the same.
                    cut_key = f"{key}-{_unwrap(self.teacher).max_tokens}"

                    def find() -> Completion | None:
                        stored = store.get(key) or store.get(cut_key)
                        if stored is None or not stored.is_worth_keeping:
                            return None
                        return replace(stored, usage=Usage(), saved=stored.usage)

                    if (stored := find()) is not None:
                        return stored
                    while not store.claim(key):
                        await anyio.sleep(WAIT)
                    n_open += 1
                    try:
                        if (stored := find()) is not None:  # who had claimed it has kept it
                            return stored
                        completion = await ask(messages, schema)
                        if completion.is_worth_keeping:
                            try:
                                store.put(cut_key if completion.truncated else key, completion)
                            except PersistenceError as error:
                                failure = error
                        return completion
                    finally:
                        n_open -= 1
                        with contextlib.suppress(PersistenceError):  # it lapses with the lease
                            store.disclaim(key)

                async def complete(
                    messages: Sequence[Message], schema: dict[str, Any]
                ) -> Completion:
                    nonlocal failure
                    if failure is None:
                        try:
                            return await serve(messages, schema)
                        except PersistenceError as error:
                            failure = error
                    while n_open:
                        await anyio.sleep(0.05)
                    raise failure

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
