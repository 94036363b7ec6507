"""Buy answers from the teacher, until the budget is spent."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

from pgkd.exceptions import TeacherBudgetError, TeacherError
from pgkd.protocols import Teacher
from pgkd.records import AnnotationRequest, Event, Generation, GenerationRequest, Usage
from pgkd.validation import check_generation

Request: TypeAlias = GenerationRequest | AnnotationRequest


class Buyer:
    """Send requests to a teacher and keep the bill.

    Parameters
    ----------
    teacher : Teacher
    max_cost : float or None
        US dollars.
    max_tokens : int or None
    emit : callable
        Called with an `Event` for each answer.

    Attributes
    ----------
    usage : Usage
    pending : list of Generation
        Answers that the caller has not said to be used up; they were paid for.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        max_cost: float | None,
        max_tokens: int | None,
        emit: Callable[[Event], None],
    ) -> None:
        self.teacher = teacher
        self.max_cost = max_cost
        self.max_tokens = max_tokens
        self.emit = emit
        self.usage = Usage()
        self.pending: list[Generation] = []
        self._is_refused = False  # whether the budget did not allow a request

    @property
    def can_annotate(self) -> bool:
        """Whether the teacher labels texts as well."""
        return hasattr(self.teacher, "annotate")

    def is_budget_spent(self) -> bool:
        """Whether the next request must not be sent.

        Teachers that are LLMs see to it themselves, request by request; what any other one has
        taken is known afterwards.
        """
        usage = self.usage
        n_tokens = usage.input_tokens + usage.output_tokens
        if self._is_refused or (self.max_tokens is not None and n_tokens >= self.max_tokens):
            return True
        return self.max_cost is not None and (usage.cost is None or usage.cost >= self.max_cost)

    def ask(self, requests: Sequence[Request]) -> list[Generation]:
        """Collect the teacher's answers until the budget is spent, in the order of the requests.

        Raises
        ------
        TeacherError
            If every request failed; a part of them is a warning.
        """
        if not requests:
            return []
        bought: list[Generation] = []
        answers = self._serve(requests)
        try:
            for generation in answers:
                check_generation(generation, type(self.teacher).__name__)
                bought.append(generation)
                self.pending.append(generation)
                self.usage += generation.usage
                self.emit(Event("generation", generation))
                if self.is_budget_spent():
                    break
        except Exception as error:  # a stranger's teacher may raise anything
            if not bought:
                if isinstance(error, TeacherError):
                    raise
                raise TeacherError(f"{type(self.teacher).__name__} raised {error!r}.") from error
            _warn(f"The teacher failed after {len(bought)} answers, which are used: {error}")
        finally:
            answers.close()  # calls off what is still in flight
        self._is_refused = any(generation.unsent for generation in bought)
        failed = [generation for generation in bought if generation.error]
        if failed and len(failed) == len(bought):
            first = failed[0]
            if first.unsent:
                raise TeacherBudgetError(first.error)
            raise TeacherError(
                f"All {len(failed)} requests failed, the first one because: {first.error}"
            )
        if failed and not failed[0].unsent:
            _warn(
                f"{len(failed)} of {len(requests)} requests failed, the first one because: "
                f"{failed[0].error}"
            )
        order = {request.id: i for i, request in enumerate(requests)}
        return sorted(bought, key=lambda g: order.get(g.request.id, len(order)))

    def _serve(self, requests: Sequence[Request]) -> Generator[Generation]:
        annotation = [r for r in requests if isinstance(r, AnnotationRequest)]
        generation = [r for r in requests if isinstance(r, GenerationRequest)]
        teacher: Any = self.teacher
        if annotation:
            yield from teacher.annotate(annotation)
        if generation:
            yield from teacher.generate(generation)


def _warn(what: str) -> None:
    warnings.warn(f"{what.rstrip('.')}. The run goes on.", stacklevel=5)
