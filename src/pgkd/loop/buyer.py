"""Buy answers from the teacher, until the budget is spent."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from sklearn.base import clone

from pgkd.exceptions import (
    AnnotatorError,
    PersistenceError,
    RankError,
    TeacherBudgetError,
    TeacherError,
)
from pgkd.inputs.redaction import Redactor, count_changed
from pgkd.inputs.text import make_visible
from pgkd.inputs.validation import check_generation
from pgkd.protocols import Teacher
from pgkd.records import (
    NO_LABEL,
    AnnotationRequest,
    Event,
    Generation,
    GenerationRequest,
    Sent,
    Usage,
)
from pgkd.system.ranks import is_main_process, share

Request: TypeAlias = GenerationRequest | AnnotationRequest

#: An annotator that can label none of so many texts is broken; of fewer, the texts may be.
MANY = 16
#: Why no more is bought if `Buyer.is_cost_hidden`.
HIDDEN_COST = (
    "The teacher does not say what its answers cost, so `max_cost` cannot be held and no more are "
    "bought."
)
#: Output tokens that a label takes, about.
TOKENS_PER_LABEL = 10


class Bill(NamedTuple):
    """What a run has taken from the teacher, in all processes that it took.

    Attributes
    ----------
    paid : Usage
        What the run has paid itself.
    kept : Usage
        The same, and what answers took that had been kept before it: what nobody pays again.
    n_answers : int
    is_refused : bool
        Whether the budget did not allow a request.
    sent : frozenset of str
        The user's texts, and the teacher's own, that the teacher was shown.
    """

    paid: Usage
    kept: Usage
    n_answers: int
    is_refused: bool
    sent: frozenset[str] = frozenset()


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
    is_shared : bool, default=False
        Whether all processes of a launcher ask the same, so that one of them will do.

    Attributes
    ----------
    usage, saved : Usage
        The bill, and what answers that were kept took when they were bought.
    paid_before : Usage
        What the same run has paid in another process; it counts as `saved`.
    n_answers : int
        That were served, a cache's among them.
    pending : list of Generation
        Answers that the caller has not said to be used up; they were paid for.
    sent : frozenset of str
        The texts that the teacher was shown, as the caller knows them.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        max_cost: float | None,
        max_tokens: int | None,
        emit: Callable[[Event], None],
        is_shared: bool = False,
    ) -> None:
        self.teacher = teacher
        self.max_cost = max_cost
        self.max_tokens = max_tokens
        self.emit = emit
        self.is_shared = is_shared
        self.usage = self.saved = self.paid_before = Usage()
        self.n_answers = 0
        self.is_down = False  # whether `give_up_after` ended the last call
        self.pending: list[Generation] = []
        self.sent: frozenset[str] = frozenset()
        self._is_refused = False  # whether the budget did not allow a request
        self._is_warned = False  # that answers cannot be read

    def check_ready(self) -> None:
        """Raise, before anything is trained or spent, if answers could not be kept."""
        teacher: Any = self.teacher
        if is_main_process() and hasattr(teacher, "session"):
            teacher.check_ready(self.max_cost)

    @property
    def can_annotate(self) -> bool:
        """Whether the teacher labels texts as well."""
        return hasattr(self.teacher, "annotate")

    def check_reachable(self) -> None:
        """Raise if the teacher can tell that it is out of reach."""
        teacher: Any = self.teacher
        if hasattr(teacher, "check_reachable"):

            def check() -> Iterable[Generation]:
                teacher.check_reachable()
                return ()

            list(self._call(check))

    @property
    def bill(self) -> Bill:
        """What to `resume` with in another process."""
        paid, kept = self.paid_before + self.usage, self.saved + self.usage
        return Bill(paid, kept, self.n_answers, self._is_refused, self.sent)

    def resume(self, bill: Bill) -> None:
        """Go on where another process ended."""
        self.paid_before, self.saved, self.n_answers, self._is_refused, self.sent = bill

    def is_budget_spent(self) -> bool:
        """Whether the next request must not be sent.

        Teachers that are LLMs see to it themselves, request by request; what any other one has
        taken is known afterwards.
        """
        usage = self.paid_before + self.usage
        n_tokens = usage.input_tokens + usage.output_tokens
        if self._is_refused or (self.max_tokens is not None and n_tokens >= self.max_tokens):
            return True
        if self.max_cost is None:
            return False
        return self.is_cost_hidden or (usage.cost is not None and usage.cost >= self.max_cost)

    @property
    def is_cost_hidden(self) -> bool:
        """Whether there is a budget in US dollars that cannot be held; a ledger holds an LLM's."""
        cost = (self.paid_before + self.usage).cost
        return self.max_cost is not None and cost is None and not hasattr(self.teacher, "session")

    def afford(self, requests: Sequence[AnnotationRequest], limit: float) -> Any:
        """Return the first requests for labels, as many as cost no more than `limit` US dollars.

        All of them where the price is not known, or the teacher is no LLM.
        """
        spent = 0.0
        for i, request in enumerate(requests):
            cost = self._estimate(request)
            if cost is None:
                return requests
            spent += cost
            if spent > limit:
                return requests[:i]
        return requests

    def _estimate(self, request: AnnotationRequest) -> float | None:
        teacher: Any = self.teacher
        if not (hasattr(teacher, "expect") and hasattr(teacher, "render")):
            return None
        from pgkd.teachers.prompts.replies import answer_schema

        expected = teacher.expect(teacher.render(request), answer_schema(request))
        usage = replace(expected, output_tokens=TOKENS_PER_LABEL * request.n_texts, cost=None)
        cost: float | None = teacher.cost(usage)
        return cost

    def ask(
        self,
        requests: Sequence[Request],
        *,
        brings_texts: bool = True,
        give_up_after: int | None = None,
    ) -> list[Generation]:
        """Collect the teacher's answers until the budget is spent, in the order of the requests.

        Parameters
        ----------
        requests : sequence of GenerationRequest or AnnotationRequest
        brings_texts : bool, default=True
            Whether the answers bring texts to learn, which become `pending`.
        give_up_after : int, default=None
            Stop when so many requests in a row have failed: the teacher is down.

        Raises
        ------
        TeacherError
            If every request failed; a part of them is a warning, and so are less than `MANY` texts
            that an annotator cannot label.
        """
        if not requests:
            return []
        bought: list[Generation] = []
        n_failed = 0  # in a row
        answers = self._serve(requests)
        try:
            for generation in answers:
                check_generation(generation, type(self.teacher).__name__)
                bought.append(generation)
                if brings_texts:
                    self.pending.append(generation)
                self.usage += generation.usage
                self.saved += generation.saved
                self.n_answers += not generation.error
                self.emit(Event("generation", generation))
                n_failed = n_failed + 1 if generation.error else 0
                self.is_down = n_failed == give_up_after
                if self.is_down or self.is_budget_spent():
                    break
        except RankError:
            raise
        except Exception as error:  # a stranger's teacher may raise anything
            n_answers = sum(not generation.error for generation in bought)
            if not n_answers:
                if isinstance(error, (TeacherError, PersistenceError)):
                    raise
                raise TeacherError(f"{type(self.teacher).__name__} raised {error!r}.") from error
            _warn(f"The teacher failed after {n_answers} answers, which are used: {error}")
        finally:
            answers.close()  # calls off what is still in flight
            self._note_sent(requests, bought)
        self._is_refused = any(generation.unsent for generation in bought)
        failed = [generation for generation in bought if generation.error]
        is_broken = len(failed) >= MANY or not all(g.is_final for g in failed)
        if failed and len(failed) == len(bought) and is_broken:
            first = failed[0]
            if first.unsent:
                raise TeacherBudgetError(first.error)
            raise TeacherError(
                f"All {len(failed)} requests failed, the first one because: {first.error}"
            )
        if failed and not failed[0].unsent:
            _warn(
                f"{len(failed)} of {len(bought)} requests failed, the first one because: "
                f"{failed[0].error}"
            )
        if brings_texts:
            self._warn_of_unreadable(bought)
        order = {request.id: i for i, request in enumerate(requests)}
        return sorted(bought, key=lambda g: order.get(g.request.id, len(order)))

    def _note_sent(self, requests: Sequence[Request], bought: Sequence[Generation]) -> None:
        """Note what the teacher was shown, and what it may have been when it was called off."""
        shown: list[Request] = [g.request for g in bought if not g.unsent]
        if not any(g.unsent for g in bought):  # the budget refuses when nothing is under way
            answered = {g.request.id for g in bought}
            left = [r for r in requests if r.id not in answered]
            shown += left[: getattr(self.teacher, "n_workers", len(left))]
        self.sent = self.sent.union(*(request.shown_texts for request in shown))

    def describe_sent(
        self, labelled: Iterable[str], unlabelled: Iterable[str], redact: Redactor | None
    ) -> Sent:
        """Count what the teacher was shown; any other text is one of its own."""
        teacher: Any = self.teacher
        n_labelled = len(self.sent.intersection(labelled))
        n_unlabelled = len(self.sent.intersection(unlabelled) - set(labelled))
        changed = [count_changed(text, redact(text)) for text in self.sent] if redact else []
        return Sent(
            getattr(teacher, "model_name", type(teacher).__name__),
            getattr(teacher, "destination", "an address that it does not tell"),
            n_labelled,
            n_unlabelled,
            len(self.sent) - n_labelled - n_unlabelled,
            n_redacted=sum(map(bool, changed)),
            n_characters=sum(changed),
        )

    def _warn_of_unreadable(self, bought: Sequence[Generation]) -> None:
        """Say once that answers are paid for and none of them can be used."""
        answered = [g for g in bought if not g.error]
        reasons = sum((Counter(g.rejected) for g in answered), Counter[str]())
        is_read = any(g.examples for g in answered) or NO_LABEL in reasons
        if self._is_warned or is_read or not reasons:
            return
        self._is_warned = True
        told = ", ".join(f"{n} times {reason}" for reason, n in reasons.most_common(3))
        _warn(
            f"None of {len(answered)} answers of the teacher could be used: {told}. Look at one, "
            "and try another model, or a higher `max_tokens` if they are cut off"
        )

    def _serve(self, requests: Sequence[Request]) -> Generator[Generation]:
        annotation = [r for r in requests if isinstance(r, AnnotationRequest)]
        generation = [r for r in requests if isinstance(r, GenerationRequest)]
        teacher: Any = self.teacher
        if annotation:
            yield from self._annotate(annotation)
        if generation:
            yield from self._call(partial(teacher.generate, generation))

    def _call(self, ask: Callable[[], Iterable[Generation]]) -> Iterable[Generation]:
        return share(ask) if self.is_shared else ask()

    def _annotate(self, requests: Sequence[AnnotationRequest]) -> Generator[Generation]:
        """Ask an annotator; what it fails at is asked in parts, until a single text is lost."""
        teacher: Any = self.teacher
        answered = set()
        try:
            for generation in self._call(partial(teacher.annotate, requests)):
                yield generation
                answered.add(generation.request.id)
        except AnnotatorError as error:
            self.usage += error.usage
            if len(requests) == requests[0].n_texts == 1 and not answered:
                yield Generation(requests[0], error=str(error), is_final=True)
                return
            left = [r for r in requests if r.id not in answered]
            if not left:
                return
            for part in left if len(requests) > 1 else _split(requests[0]):
                yield from self._annotate([part])


def clone_teacher(teacher: Any, max_cost: float | None, *, is_asked: bool = True) -> Any:
    """Clone a teacher, as far as it can be copied, and refuse one that cannot serve, if it must.

    Raises
    ------
    InvalidInputError
    """
    with contextlib.suppress(Exception):  # a stranger's may hold what cannot be copied
        teacher = clone(teacher, safe=False)
    if is_asked and hasattr(teacher, "check_ready"):
        teacher.check_ready(max_cost=max_cost)
    elif hasattr(teacher, "check_parameters"):
        teacher.check_parameters()
    return teacher


def wrap_teacher(
    teacher: Any,
    run_dir: Path,
    *,
    max_cost: float | None,
    max_tokens: int | None,
    is_cached: bool,
    redact: Redactor | None = None,
) -> Any:
    """Put the budget and the answers that were paid for around an LLM teacher, `redact` outside."""
    from pgkd.system.store import FILE_NAME
    from pgkd.teachers import BudgetedTeacher, CachedTeacher, RedactedTeacher
    from pgkd.teachers.wrappers.redacted import RedactedStranger

    if not hasattr(teacher, "session"):
        return teacher if redact is None else RedactedStranger(teacher, redact)

    if max_cost is not None or max_tokens is not None:
        teacher = BudgetedTeacher(
            teacher, run_dir / FILE_NAME, max_cost=max_cost, max_tokens=max_tokens
        )
    if is_cached:
        teacher = CachedTeacher(teacher, run_dir / FILE_NAME)
    return teacher if redact is None else RedactedTeacher(teacher, redact)


def _split(request: AnnotationRequest) -> list[AnnotationRequest]:
    """Make a request of each text."""
    return [
        replace(request, id=f"{request.id}-{i}", texts=(text,), shortlists=(shortlist,))
        for i, (text, shortlist) in enumerate(zip(request.texts, request.shortlists), start=1)
    ]


def _warn(what: str) -> None:
    warnings.warn(f"{make_visible(what).rstrip('.')}. The run goes on.", stacklevel=5)
