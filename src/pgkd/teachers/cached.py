"""No answer is paid for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgkd.records import Completion, GenerationRequest, Message, Usage
from pgkd.run_store import AnswerStore
from pgkd.teachers.base import AsyncComplete, LLMTeacher


class CachedTeacher(LLMTeacher):
    """Keep the answers of an LLM teacher on disk, and ask it only what is new.

    The key of an answer is the rendered request: the messages, the schema, and the teacher's
    parameters that change an answer. Answers that were cut off are not kept.

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
    >>> path = tempfile.mkdtemp() + "/answers.sqlite"
    >>> def my_llm(messages):
    ...     print("asked")
    ...     return '{"ham": ["See you at noon."]}'
    >>> teacher = CachedTeacher(FunctionTeacher(my_llm), path)
    >>> request = GenerationRequest("1-1", {"ham": 1})
    >>> generations = [*teacher.generate([request]), *teacher.generate([request])]
    asked
    >>> generations[1].usage
    Usage(n_requests=0, input_tokens=0, output_tokens=0, cost=0.0)
    """

    def __init__(self, teacher: LLMTeacher, path: str | Path) -> None:
        self.teacher = teacher
        self.path = path

    @property
    def max_concurrency(self) -> int:  # type: ignore[override]
        """The wrapped teacher's."""
        return self.teacher.max_concurrency

    @property
    def max_retries(self) -> int:  # type: ignore[override]
        """The wrapped teacher's."""
        return self.teacher.max_retries

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if the wrapped teacher cannot serve."""
        self.teacher.check_ready(max_cost)

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, as the wrapped teacher counts."""
        return self.teacher.cost(usage)

    def render(self, request: GenerationRequest) -> list[Message]:
        """Render a request as the wrapped teacher does."""
        return self.teacher.render(request)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncComplete]:
        """Look each request up before the wrapped teacher is asked."""
        store = AnswerStore(Path(self.path))
        async with self.teacher.connect() as ask:

            async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
                key = self._key(messages, schema)
                if (stored := store.get(key)) is not None:
                    return replace(stored, usage=Usage())  # paid for already
                completion = await ask(messages, schema)
                if not completion.truncated:
                    store.put(key, completion)
                return completion

            yield complete

    def _key(self, messages: Sequence[Message], schema: dict[str, Any]) -> str:
        teacher = self.teacher
        params = {
            name: value
            for name, value in teacher.get_params(deep=False).items()
            if name not in teacher._without_effect
        }
        document = [type(teacher).__qualname__, params, list(messages), schema]
        text = json.dumps(document, sort_keys=True, default=_name, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _name(value: Any) -> str:
    """Name what JSON cannot hold by what stays the same in another process."""
    return getattr(value, "__qualname__", None) or type(value).__qualname__
