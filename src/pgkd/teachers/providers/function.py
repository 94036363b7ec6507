"""A teacher from a plain function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgkd.records import Completion, Message
from pgkd.teachers.base import LLMTeacher


class FunctionTeacher(LLMTeacher):
    """An LLM behind a function of your own.

    Parameters
    ----------
    function : callable
        ``function(messages)`` gets chat messages and returns the LLM's answer, a str or, to have
        the tokens counted, a :class:`~pgkd.records.Completion`.
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
        answer = self.function(messages)
        return Completion(answer) if isinstance(answer, str) else answer
