"""Record an LLM's answers once, replay them anywhere."""

from __future__ import annotations

import difflib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pgkd.exceptions import InvalidInputError, PersistenceError, TeacherError
from pgkd.records import HERE, Completion, Message, Usage
from pgkd.system.artefacts import parse_json
from pgkd.system.store import read_completion
from pgkd.teachers.base import AsyncComplete, LLMTeacher
from pgkd.teachers.parameters import PATH, Rule, check_parameters
from pgkd.teachers.wrappers.base import TEACHER

#: Half an emoji, which LLMs write now and then, is no reason to lose an answer.
_ERRORS = "surrogatepass"

#: Bytes of a line: a request and its answer.
MAX_LINE = 64 * 2**20


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

    _rules: ClassVar[dict[str, Rule]] = {"path": PATH, "teacher": TEACHER.or_none("a replay")}

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
        first = next(_read_lines(Path(self.path)), {})  # it was one teacher
        return str(first.get("model", type(self).__name__))

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
        self.check_parameters()
        if self.teacher is not None:
            self.teacher.check_ready(max_cost)
        elif not Path(self.path).exists():
            raise InvalidInputError(
                f"No recording at {str(self.path)!r}: pass the path of one, or `teacher=...` to "
                "make it."
            )

    def check_reachable(self) -> None:
        """Raise if there is no recording yet, and the teacher that is to make it out of reach."""
        if self.teacher is not None and not Path(self.path).exists():
            self.teacher.check_reachable()

    def check_parameters(self) -> None:
        """Raise InvalidInputError if a parameter cannot work, or one of the teacher."""
        check_parameters(self, self._rules)
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
                    with path.open("a", encoding="utf-8", errors=_ERRORS) as file:
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
    return {line["key"]: line["answer"] for line in _read_lines(path)} if path.exists() else {}


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the key and the answer of each line, and the model that gave it."""
    if not path.is_file():
        raise PersistenceError(f"The recording {str(path)!r} is no file: pass the path of one.")
    with path.open("rb") as file:
        lines = iter(partial(file.readline, MAX_LINE + 1), b"")
        for number, line in enumerate(lines, start=1):
            try:
                if len(line) > MAX_LINE:
                    raise ValueError(f"it has more than {MAX_LINE:,} bytes")
                document = parse_json(line)
                answer = read_completion(document["answer"])
                key = _key(document["messages"], document["schema"])
                yield {**document, "key": key, "answer": answer}
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                raise PersistenceError(
                    f"Line {number} of the recording {str(path)!r} is damaged: {error!r}. Delete "
                    "the line, or record again."
                ) from error


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
