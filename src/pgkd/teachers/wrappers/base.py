"""What puts itself around a teacher."""

from __future__ import annotations

from typing import Any, ClassVar

from pgkd.records import Message, Usage
from pgkd.teachers.base import LLMTeacher, Request
from pgkd.teachers.parameters import Rule, check_parameters, instance_of

#: What can be wrapped.
TEACHER = instance_of(LLMTeacher, "a teacher that is an LLM")


class WrapperTeacher(LLMTeacher):
    """Base of teachers that put something around another one.

    A subclass overrides :meth:`~LLMTeacher.session`; prompts, limits and prices are those of the
    wrapped teacher.

    Parameters
    ----------
    teacher : LLMTeacher
    """

    _rules: ClassVar[dict[str, Rule]] = {"teacher": TEACHER}

    def __init__(self, teacher: LLMTeacher) -> None:
        self.teacher = teacher

    @property
    def max_concurrency(self) -> int:  # type: ignore[override]
        """The wrapped teacher's."""
        return self.teacher.max_concurrency

    @property
    def model_name(self) -> str:
        """The wrapped teacher's."""
        return self.teacher.model_name

    @property
    def destination(self) -> str:
        """The wrapped teacher's."""
        return self.teacher.destination

    @property
    def n_workers(self) -> int:
        """The wrapped teacher's."""
        return self.teacher.n_workers

    @property
    def max_followups(self) -> int:  # type: ignore[override]
        """The wrapped teacher's."""
        return self.teacher.max_followups

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if the wrapped teacher cannot serve."""
        self.check_parameters()
        self.teacher.check_ready(max_cost)

    def check_reachable(self) -> None:
        """Raise if the wrapped teacher is out of reach."""
        self.teacher.check_reachable()

    def check_parameters(self) -> None:
        """Raise InvalidInputError if a parameter cannot work, or one of the wrapped teacher."""
        check_parameters(self, self._rules)
        self.teacher.check_parameters()

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told."""
        return self.teacher.knows_price()

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, as the wrapped teacher counts."""
        return self.teacher.cost(usage)

    def expect(self, messages: Any, schema: dict[str, Any]) -> Usage:
        """Estimate a request's tokens as the wrapped teacher does."""
        return self.teacher.expect(messages, schema)

    def render(self, request: Request) -> list[Message]:
        """Render a request as the wrapped teacher does."""
        return self.teacher.render(request)
