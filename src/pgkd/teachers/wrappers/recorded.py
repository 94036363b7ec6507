"""Record an LLM's answers once, replay them anywhere."""

from __future__ import annotations

import difflib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.records import HERE, Completion, Message, Usage
from pgkd.system.store import read_completion
from pgkd.teachers.base import AsyncComplete, LLMTeacher


class RecordedTeacher(LLMTeacher):
    """Record the answers of an LLM teacher in a file, or replay them without it.

    With `teacher`, what the file does not hold is asked and added to it. Without, nothing is asked:
    neither a key nor a network is needed. The file has a line of JSON an answer, to be read in a
    diff; it holds the model, the messages, the schema and the answer; no key, header or address.

    Parameters
    ----------
    path : str or path
        A JSONL file.
    teacher : LLMTeacher, default=None

    Examples
    --------
    >>> import tempfile
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.teachers import FunctionTeacher, RecordedTeacher
    >>> def my_llm(messages):
    ...     return '{"ham": ["See you at noon."]}'
    >>> path = tempfile.mkdtemp() + "/answers.jsonl"
    >>> request = GenerationRequest("1-1", {"ham": 1})
    >>> [recorded] = RecordedTeacher(path, FunctionTeacher(my_llm)).generate([request])
    >>> [replayed] = RecordedTeacher(path).generate([request])
    >>> replayed.examples == recorded.examples
    True
    """

    def __init__(self, path: str | Path, teacher: LLMTeacher | None = None) -> None:
        self.path = path
        self.teacher = teacher

    @property
    def max_concurrency(self) -> int:  # type: ignore[override]
        """The recorded teacher's; a replay has no use for more than one."""
        return 1 if self.teacher is None else self.teacher.max_concurrency

    @property
    def model_name(self) -> str:
        """The recorded teacher's."""
        if self.teacher is not None:
            return self.teacher.model_name
        with Path(self.path).open(encoding="utf-8") as file:  # it was one teacher: the first line
            return str(json.loads(file.readline()).get("model", type(self).__name__))

    @property
    def destination(self) -> str:
        """The recorded teacher's; a replay sends nothing."""
        return HERE if self.teacher is None else self.teacher.destination

    @property
    def n_workers(self) -> int:
        """The recorded teacher's."""
        return 1 if self.teacher is None else self.teacher.n_workers

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if there is neither a recording nor a teacher, or the teacher cannot serve."""
        if self.teacher is not None:
            self.teacher.check_ready(max_cost)
        elif not Path(self.path).exists():
            raise InvalidInputError(
                f"No recording at {str(self.path)!r}: pass the path of one, or `teacher=...` to "
                "make it."
            )

    def check_parameters(self) -> None:
        """Raise InvalidInputError if a parameter of the teacher cannot work."""
        if self.teacher is not None:
            self.teacher.check_parameters()

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told; a replay costs what was recorded."""
        return self.teacher is None or self.teacher.knows_price()

    def expect(self, messages: Any, schema: dict[str, Any]) -> Usage:
        """Estimate a request's tokens as the recorded teacher does."""
        if self.teacher is None:
            return super().expect(messages, schema)
        return self.teacher.expect(messages, schema)

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`; a replay costs what was recorded."""
        return usage.cost if self.teacher is None else self.teacher.cost(usage)

    def render(self, request: Any) -> list[Message]:
        """Render a request as the recorded teacher does."""
        return super().render(request) if self.teacher is None else self.teacher.render(request)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncComplete]:
        """Look each request up; ask the teacher, if there is one, for what is not there."""
        path = Path(self.path)
        recording = _read(path)

        async def replay(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
            key = _key(messages, schema)
            if key not in recording:
                raise TeacherError(_explain_miss(path, key, recording))
            return recording[key]

        if self.teacher is None:
            yield replay
            return
        async with self.teacher.session() as ask:

            async def record(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
                key = _key(messages, schema)
                if key in recording and recording[key].is_worth_keeping:
                    return recording[key]
                answer = await ask(messages, schema)
                if answer.is_worth_keeping:
                    recording[key] = answer
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("a", encoding="utf-8") as file:
                        file.write(_line(self.model_name, messages, schema, answer))
                return answer

            yield record


def _key(messages: Sequence[Message], schema: dict[str, Any]) -> str:
    return json.dumps([list(messages), schema], ensure_ascii=False, sort_keys=True)


def _line(
    model: str, messages: Sequence[Message], schema: dict[str, Any], answer: Completion
) -> str:
    document = {
        "model": model,
        "messages": list(messages),
        "schema": schema,
        "answer": asdict(answer),
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def _read(path: Path) -> dict[str, Completion]:
    recording: dict[str, Completion] = {}
    if not path.exists():
        return recording
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                document = json.loads(line)
                answer = document["answer"]
                recording[_key(document["messages"], document["schema"])] = read_completion(answer)
            except (ValueError, LookupError, TypeError) as error:
                raise InvalidInputError(
                    f"Line {number} of the recording {str(path)!r} is damaged: {error!r}. Delete "
                    "the line, or record again."
                ) from error
    return recording


def _explain_miss(path: Path, key: str, recording: dict[str, Completion]) -> str:
    """Say how the request differs from the most similar one of the recording."""
    hint = "The recording is empty."
    if recording:
        closest = max(recording, key=lambda k: difflib.SequenceMatcher(None, k, key).quick_ratio())
        diff = difflib.unified_diff(
            _readable(closest), _readable(key), "recorded", "asked", n=0, lineterm=""
        )
        hint = "It differs from the closest one by:\n" + "\n".join(diff)
    return (
        f"The recording {str(path)!r} has no answer to this request: pass `teacher=...` to record "
        f"it. {hint}"
    )


def _readable(key: str) -> list[str]:
    messages, schema = json.loads(key)
    text = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
    return [*text.split("\n"), f"schema: {json.dumps(schema, ensure_ascii=False)}"]
