"""A teacher from a plain function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgkd.records import Completion, Message
from pgkd.teachers.base import LLMTeacher
from pgkd.teachers.parameters import Rule
from pgkd.teachers.reading import read_text


class FunctionTeacher(LLMTeacher):
    """An LLM behind a function of your own.

    Parameters
    ----------
    function : callable
        ``function(messages)`` gets chat messages and returns the LLM's answer, a str or, to have
        the tokens counted, a :class:`~pgkd.records.Completion`. Without that, a budget counts for
        each answer the most that it may take.
    max_concurrency : int, default=1
        Threads that call `function` at once.
    price : tuple of (float, float), default=None
        US dollars for a million input and a million output tokens.

    Examples
    --------
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.teachers import FunctionTeacher
    >>> def my_llm(messages):
    ...     return '{"ham": ["See you at noon."]}'
    >>> [generation] = FunctionTeacher(my_llm).generate([GenerationRequest("1-1", {"ham": 1})])
    >>> generation.examples
    (Example(text='See you at noon.', label='ham'),)
    """

    _rules = LLMTeacher._rules | {"function": Rule(callable, "a function of the messages")}

    def __init__(
        self,
        function: Callable[[Sequence[Message]], str | Completion],
        *,
        max_concurrency: int = 1,
        price: tuple[float, float] | None = None,
    ) -> None:
        self.function = function
        self.max_concurrency = max_concurrency
        self.price = price

    def complete(self, messages: Sequence[Message], *, schema: dict[str, Any]) -> Completion:
        """Call the function."""
        answer: Any = self.function(messages)
        # SDKs have None in the place of a text after a refusal, or a list of parts.
        if answer is None or isinstance(answer, (str, list)):
            answer = Completion(read_text(answer))
        return answer  # type: ignore[no-any-return]
