"""No text reaches a teacher but as it was redacted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sklearn.utils.metaestimators import available_if

from pgkd.records import AnnotationRequest, Example, Generation, Message
from pgkd.teachers.base import AsyncComplete, LLMTeacher, Request
from pgkd.teachers.wrappers.base import WrapperTeacher

Redact = Callable[[str], str]


class RedactedTeacher(WrapperTeacher):
    """Show an LLM teacher each text as `redact` leaves it.

    It goes around all other wrappers, whose caches and recordings then hold redacted texts alone.
    Answers are about the texts as they were given: an LLM labels them by their numbers, so that two
    texts that look alike redacted both get theirs. Names and descriptions of classes and of the
    task are no texts, and stay.

    Parameters
    ----------
    teacher : LLMTeacher
    redact : callable
        ``redact(text)`` returns a str.

    Examples
    --------
    >>> from pgkd.records import AnnotationRequest
    >>> from pgkd.teachers import FunctionTeacher, RedactedTeacher
    >>> def my_llm(messages):
    ...     print(messages[1]["content"].splitlines()[5])
    ...     return '{"1": "A"}'
    >>> teacher = RedactedTeacher(FunctionTeacher(my_llm), lambda text: text.replace("Bob", "X"))
    >>> request = AnnotationRequest("1-1", ("hi, it is Bob",), (("ham", "spam"),))
    >>> next(teacher.annotate([request])).examples
    Text 1: "hi, it is X"
    (Example(text='hi, it is Bob', label='ham'),)
    """

    def __init__(self, teacher: LLMTeacher, redact: Redact) -> None:
        super().__init__(teacher)
        self.redact = redact

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncComplete]:
        """Ask as the wrapped teacher does."""
        async with self.teacher.session() as complete:
            yield complete

    def render(self, request: Request) -> list[Message]:
        """Render a request with redacted texts."""
        return self.teacher.render(redact_request(request, self.redact))


class RedactedStranger:
    """Show a teacher that is no LLM of ours each text as `redact` leaves it.

    Its answers are about redacted texts; what it says of one, it says of all that look like it.
    """

    def __init__(self, teacher: Any, redact: Redact) -> None:
        self.teacher = teacher
        self.redact = redact

    @property
    def model_name(self) -> str:
        """The class of the teacher."""
        return type(self.teacher).__name__

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield what the teacher writes after redacted texts."""
        return self._call(self.teacher.generate, requests)

    @available_if(lambda self: hasattr(self.teacher, "annotate"))  # type: ignore[untyped-decorator]
    def annotate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield the labels that the teacher gives to redacted texts."""
        return self._call(self.teacher.annotate, requests)

    def _call(
        self, serve: Callable[[list[Request]], Iterable[Generation]], requests: Sequence[Request]
    ) -> Iterator[Generation]:
        own = {request.id: request for request in requests}
        for generation in serve([redact_request(request, self.redact) for request in requests]):
            request = own.get(getattr(getattr(generation, "request", None), "id", ""))
            yield generation if request is None else self._restore(generation, request)

    def _restore(self, generation: Generation, request: Request) -> Generation:
        """Put the texts as they were given in the place of the redacted ones."""
        if not isinstance(request, AnnotationRequest):
            return replace(generation, request=request)
        texts: dict[str | None, list[str]] = {}
        for text in request.texts:
            texts.setdefault(self.redact(text), []).append(text)
        given: dict[str, Example] = {}
        for example in generation.examples:
            for text in texts.get(example.text, [example.text]):
                given.setdefault(text, replace(example, text=text))
        refused = (
            replace(refusal, text=text)
            for refusal in dict.fromkeys(generation.refused)
            for text in texts.get(refusal.text, [refusal.text])
            if text not in given
        )
        probabilities = {
            text: own
            for redacted, own in generation.probabilities.items()
            for text in texts.get(redacted, [redacted])
        }
        return replace(
            generation,
            request=request,
            examples=tuple(given.values()),
            refused=tuple(refused),
            probabilities=probabilities,
        )


def redact_request(request: Request, redact: Redact) -> Request:
    """Redact all texts of a request."""

    def of(shown: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(replace(own, text=redact(own.text)) for own in shown)

    if isinstance(request, AnnotationRequest):
        texts = tuple(map(redact, request.texts))
        return replace(request, texts=texts, examples=of(request.examples))
    return replace(
        request,
        examples=of(request.examples),
        hard_negatives=of(request.hard_negatives),
        correct=of(request.correct),
        wrong=of(request.wrong),
    )
