"""Have the teacher label texts, in `fit` and in `predict`, and keep one bill."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pgkd.exceptions import TeacherBudgetError, TeacherError
from pgkd.inputs.redaction import Redactor
from pgkd.loop.buyer import Buyer, wrap_teacher
from pgkd.records import AnnotationRequest, FloatArray, Generation, Sent, State, Usage
from pgkd.samplers.shortlists import make_requests
from pgkd.system.store import FILE_NAME, RunStore

#: A teacher that fails so many requests in a row is down: a text that nobody labels has the
#: student's label, so there is no reason to wait for the others to fail.
GIVE_UP_AFTER = 16
#: Seconds for which it is then left alone, by all calls and threads.
COOL_DOWN = 60.0


class Escalator:
    """Ask the teacher for labels, again and again, within one budget. Threads may share it.

    Parameters
    ----------
    teacher : annotator
    state : State
        Classes, descriptions, and the labelled texts that are shown as examples.
    n_candidates, texts_per_request : int
    max_cost : float or None
        US dollars, for all calls together.
    run_dir : Path or None
    seed : int
        The same texts make the same requests, so that a cache has their answers.
    redact : Redactor or None

    Attributes
    ----------
    usage : Usage
        Of all calls.
    sent : Sent or None
        The same; a text that is not labelled counts once a call.
    """

    def __init__(
        self,
        teacher: Any,
        state: State,
        *,
        n_candidates: int,
        texts_per_request: int,
        max_cost: float | None,
        run_dir: Path | None,
        seed: int,
        redact: Redactor | None = None,
    ) -> None:
        self.teacher = teacher
        self.state = state
        self.n_candidates = n_candidates
        self.texts_per_request = texts_per_request
        self.max_cost = max_cost
        self.run_dir = run_dir
        self.seed = seed
        self.redact = redact
        self.usage = Usage()
        self._shown: frozenset[str] = frozenset()  # of the labelled texts
        self.sent: Sent | None = None
        self._spent = 0.0  # of `max_cost`, by the ledgers of calls without a `run_dir`
        self._lock = threading.RLock()
        self._down_until = 0.0  # by the monotonic clock

    def __getstate__(self) -> dict[str, Any]:
        # Another process has another clock.
        return {**{k: v for k, v in vars(self).items() if k != "_lock"}, "_down_until": 0.0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    def check_reachable(self) -> None:
        """Raise if the teacher can tell that it is out of reach; all processes must call this."""
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            self._make_buyer(Path(scratch), self.max_cost, True).check_reachable()

    def check(self, texts: Sequence[str], rows: Iterable[int]) -> None:
        """Raise InvalidInputError if a text cannot be redacted, before any is sent."""
        if self.redact is not None:
            self.redact.check(zip(rows, texts), "X")

    def ask(
        self,
        texts: Sequence[str],
        probabilities: FloatArray,
        prefix: str,
        *,
        is_shared: bool = False,
    ) -> list[Generation]:
        """Return the teacher's answers about `texts`, each of which is asked about once.

        Parameters
        ----------
        texts : sequence of str, of length n_texts
        probabilities : array of shape (n_texts, n_classes)
            The student's.
        prefix : str
            Of the requests' ids.
        is_shared : bool, default=False
            As in `Buyer`.

        Raises
        ------
        TeacherError
            If no request was served, or the teacher went down less than `COOL_DOWN` seconds ago.
        """
        if (seconds := self._down_until - time.monotonic()) > 0:
            raise TeacherError(
                f"The last {GIVE_UP_AFTER} requests in a row failed, so the teacher is left alone "
                f"for another {seconds:.0f} s."
            )
        rows = list({text: i for i, text in enumerate(texts)}.values())
        rng = np.random.default_rng(self.seed)
        requests = make_requests(
            self.state,
            [texts[i] for i in rows],
            probabilities[rows],
            rng,
            prefix=prefix,
            n_candidates=self.n_candidates,
            texts_per_request=self.texts_per_request,
        )
        # In a random order, so that a budget that runs out does not leave out whole classes.
        requests = [requests[i] for i in rng.permutation(len(requests))]
        # Threads must not spend the same money; a ledger sees to that by itself.
        is_alone = self.max_cost is not None and not self._has_ledger()
        with self._lock if is_alone else nullcontext():
            return self._buy(requests, self._find_budget(), is_shared)

    def _buy(
        self, requests: Sequence[AnnotationRequest], left: float | None, is_shared: bool
    ) -> list[Generation]:
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            buyer = self._make_buyer(Path(scratch), left, is_shared)
            try:
                return buyer.ask(requests, brings_texts=False, give_up_after=GIVE_UP_AFTER)
            finally:
                with self._lock:
                    self.usage += buyer.usage
                    self._note_sent(buyer)
                    if self.redact is not None and not is_shared:
                        # A service would keep all that it ever saw.
                        self.redact.forget(text for request in requests for text in request.texts)
                    if left is not None and self.run_dir is None and self._is_llm():
                        self._spent += RunStore(Path(scratch) / FILE_NAME).total_cost()
                    if buyer.is_down:
                        self._down_until = time.monotonic() + COOL_DOWN

    def _make_buyer(self, scratch: Path, left: float | None, is_shared: bool) -> Buyer:
        teacher = wrap_teacher(
            self.teacher,
            self.run_dir or scratch,
            max_cost=left,
            max_tokens=None,
            is_cached=self.run_dir is not None,
            redact=self.redact,
        )
        return Buyer(
            teacher,
            max_cost=left,
            max_tokens=None,
            emit=lambda event: None,
            is_shared=is_shared,
        )

    def _note_sent(self, buyer: Buyer) -> None:
        """Add what a call has shown to the teacher; labelled texts are counted once in all."""
        labelled = {example.text for example in self.state.examples}
        buyer.sent -= self._shown
        self._shown |= buyer.sent & labelled
        sent = buyer.describe_sent(labelled, buyer.sent, self.redact)
        self.sent = sent if self.sent is None else self.sent + sent

    def _is_llm(self) -> bool:
        return hasattr(self.teacher, "session")

    def _has_ledger(self) -> bool:
        return self.run_dir is not None and self._is_llm()

    def _find_budget(self) -> float | None:
        """Return what may still be spent; a ledger in the run directory knows that by itself."""
        if self.max_cost is None or self._has_ledger():
            return self.max_cost
        # A teacher without a ledger that does not tell its cost cannot be held to more than one
        # answer.
        spent = self._spent if self._is_llm() else self.usage.cost
        left = 0.0 if spent is None else self.max_cost - spent
        if left <= 0:
            raise TeacherBudgetError(
                f"The budget (max_cost={self.max_cost!r}) is spent: raise it to go on."
            )
        return left


def find_cost_per_text(answers: Sequence[Generation], usage: Usage) -> float | None:
    """Return the US dollars that the label of a text takes, ``None`` if that is not known.

    Answers that a cache had say nothing about it.

    Parameters
    ----------
    answers : sequence of Generation
    usage : Usage
        What they took, together with the requests that had to be split.
    """
    n_texts = sum(answer.request.n_texts for answer in answers if answer.usage.n_requests)
    return usage.cost / n_texts if n_texts and usage.cost is not None else None
