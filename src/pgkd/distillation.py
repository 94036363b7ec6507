"""The loop of the paper (arXiv 2411.05045, section 3)."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pgkd.curation import Curator, count_reasons, enter, find_plausible
from pgkd.evaluation import GateScorer, make_predictions, make_report
from pgkd.exceptions import TeacherBudgetError, TeacherError
from pgkd.protocols import Sampler, Teacher
from pgkd.records import (
    AnnotationRequest,
    Cycle,
    Event,
    Example,
    Feedback,
    FloatArray,
    Generation,
    GenerationRequest,
    Label,
    LabelArray,
    State,
    StudentReport,
    SyntheticText,
    Usage,
)
from pgkd.samplers.base import needs_feedback
from pgkd.splitting import make_folds
from pgkd.students.base import predict_proba, train
from pgkd.validation import check_generation

#: Folds of the out-of-fold feedback.
N_FOLDS = 5
#: Reasons to stop in the middle of a cycle.
UNFINISHED = ("interrupted", "teacher_error", "error")


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, their labels and, where given, their weights, row by row."""

    texts: list[str]
    y: LabelArray
    weights: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Any) -> LabelledTexts:
        """Return the given rows."""
        return LabelledTexts(
            [self.texts[i] for i in rows],
            self.y[rows],
            None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True)
class Candidate:
    """A student that might be returned, and what is needed to train it again."""

    cycle: int
    student: Any
    synthetic: tuple[Example, ...]
    gate_probabilities: FloatArray
    gate_score: float


class Distillation:
    """One run of performance-guided knowledge distillation.

    Parameters
    ----------
    teacher, student, sampler
        The components, ready for use; `student` is cloned for every training.
    classes : array of shape (n_classes,)
    train, gate : LabelledTexts
        The student learns from `train`; `gate` decides what is kept and is never shown to the
        teacher.
    feedback : LabelledTexts or None
        What the student's performance is shown on. ``None``: on `train`, out of fold.
    pool : sequence of str
        Texts without a label.
    scoring : str or callable
    max_cycles, samples_per_cycle, patience : int
    max_cost : float or None
        US dollars.
    max_tokens : int or None
    synthetic_weight : float
        Weight of a generated text; a labelled one has 1.
    task_description : str or None
    class_descriptions : mapping of label to str
    emit : callable
        Called with each `Event`.
    seed : int

    Attributes
    ----------
    best : Candidate
    history : list of Cycle
    synthetic : list of SyntheticText
    usage : Usage
    """

    def __init__(
        self,
        teacher: Teacher,
        student: Any,
        sampler: Sampler,
        *,
        classes: LabelArray,
        train: LabelledTexts,
        gate: LabelledTexts,
        feedback: LabelledTexts | None,
        pool: Sequence[str],
        scoring: Any,
        max_cycles: int,
        samples_per_cycle: int,
        patience: int,
        max_cost: float | None,
        max_tokens: int | None,
        synthetic_weight: float,
        task_description: str | None,
        class_descriptions: Mapping[Label, str],
        emit: Callable[[Event], None],
        seed: int,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.sampler = sampler
        self.classes = classes
        self.train = train
        self.gate = gate
        self.feedback = feedback
        self.max_cycles = max_cycles
        self.samples_per_cycle = samples_per_cycle
        self.patience = patience
        self.max_cost = max_cost
        self.max_tokens = max_tokens
        self.synthetic_weight = synthetic_weight
        self.emit = emit
        self.seed = seed

        self.scorer = GateScorer(scoring, classes, gate.texts, gate.y)
        seen = train.texts if feedback is None else train.texts + feedback.texts
        self.curator = Curator(classes.tolist(), seen, gate.texts)
        self.state = State(
            cycle=0,
            classes=tuple(classes.tolist()),
            examples=tuple(map(Example, train.texts, train.y.tolist())),
            task_description=task_description,
            class_descriptions=class_descriptions,
            pool=tuple(self.curator.screen(pool)),
        )
        self.history: list[Cycle] = []
        self.synthetic: list[SyntheticText] = []
        self.usage = Usage()
        self._evaluated: Candidate | None = None  # whose feedback `state` has
        self._answers: list[Generation] = []  # of the cycle under way
        self._is_refused = False  # whether the budget did not allow a request

    def run(self) -> str:
        """Train the baseline, then cycle until nothing is left to gain or to spend.

        Returns
        -------
        stop_reason : {"max_cycles", "patience", "budget", "teacher_error", "error", "interrupted"}
        """
        self._train_baseline()
        try:
            while (reason := self._reason_to_stop()) is None:
                self._run_cycle()
        except KeyboardInterrupt:
            reason = "interrupted"
            self._warn("Interrupted.")
        except TeacherBudgetError as error:
            reason = "budget"
            self._warn(str(error))
        except TeacherError as error:
            if len(self.history) == 1:
                raise  # nothing was learnt yet, so nothing is lost
            reason = "teacher_error"
            self._warn(f"The teacher failed: {error}")
        except Exception as error:
            if not self.usage.n_requests:
                raise  # nothing was bought yet, so nothing is lost
            reason = "error"
            self._warn(f"{type(error).__name__}: {error}")
        self.best = self._choose()
        if reason in UNFINISHED:
            self.synthetic += [
                enter(e, self.state.cycle, g.request, "rolled back", reason)
                for g in self._answers
                for e in g.examples
            ]
        # What was learnt after the best cycle is not in the student that is returned.
        best = self.best.cycle
        self.synthetic = [_roll_back(t) if t.cycle > best else t for t in self.synthetic]
        self.emit(Event("end", reason))
        return reason

    def _choose(self) -> Candidate:
        """Return the best candidate if it is better than the baseline by a standard error.

        The best of many is partly luck. The one-standard-error rule prefers the simplest model that
        cannot be told from the best one.

        References
        ----------
        Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.10.
        """
        gain = self.best.gate_score - self.baseline.gate_score
        error = self._standard_error(self.best, self.baseline)
        return self.best if gain > error else self.baseline

    def _standard_error(self, a: Candidate, b: Candidate) -> float:
        return self.scorer.standard_error(
            a.gate_probabilities, b.gate_probabilities, np.random.RandomState(self.seed)
        )

    def _warn(self, what: str) -> None:
        warnings.warn(
            f"{what.rstrip('.')}. In cycle {self.state.cycle}; the best student so far, of cycle "
            f"{self.best.cycle}, is kept.",
            stacklevel=4,
        )

    def _reason_to_stop(self) -> str | None:
        done = self.history[-1].number
        if self._is_budget_spent():
            if self.max_cost is not None and self.usage.cost is None:
                self._warn(
                    "The teacher does not say what its answers cost, so `max_cost` cannot be held "
                    "and no more are bought."
                )
            return "budget"
        if done - self.best.cycle >= self.patience:
            return "patience"
        return "max_cycles" if done >= self.max_cycles else None

    def _is_budget_spent(self) -> bool:
        """Whether the next request must not be sent.

        Teachers that are LLMs see to it themselves, request by request; what any other one has
        taken is known afterwards.
        """
        usage = self.usage
        n_tokens = usage.input_tokens + usage.output_tokens
        if self._is_refused or (self.max_tokens is not None and n_tokens >= self.max_tokens):
            return True
        return self.max_cost is not None and (usage.cost is None or usage.cost >= self.max_cost)

    def _train_baseline(self) -> None:
        start = time.perf_counter()
        self.baseline = self.best = self.current = self._train_candidate(0, ())
        self._record(
            Cycle(
                0,
                self.best.gate_score,
                self._report_on_gate(self.best),
                seconds=time.perf_counter() - start,
            )
        )

    def _run_cycle(self) -> None:
        """One knowledge-distillation step."""
        start = time.perf_counter()
        number = self.state.cycle + 1
        # The student is evaluated, and its confident mistakes are mined ...
        self.state = replace(
            self.state,
            cycle=number,
            feedback=self._evaluate(),
            pool_probabilities=self._look_at_pool(),
        )
        # ... the teacher sees the report and the mistakes, and writes the next batch ...
        rng = np.random.default_rng([self.seed, number])
        requests = self.sampler.propose(self.state, self.samples_per_cycle, rng)
        generations = self._ask(requests)
        judged = self.curator.judge(generations, number)
        batch = [Example(t.text, t.label) for t in judged if t.verdict == "accepted"]
        # ... the student learns it, and the gate says whether it may stay.
        candidate = self._learn(batch)
        learnt = candidate.synthetic[len(self.current.synthetic) :]
        judged = [_judge_plausibility(text, learnt) for text in judged]
        kept = self._gate_lets_pass(candidate)
        if kept:
            self.current = candidate
            self.state = replace(self.state, synthetic=candidate.synthetic)
            if candidate.gate_score > self.best.gate_score:
                self.best = candidate
        else:
            judged = [_roll_back(text) for text in judged]
        self.synthetic += judged
        self._record(
            Cycle(
                number,
                candidate.gate_score,
                self._report_on_gate(candidate),
                kept=kept,
                feedback_report=self.state.feedback.report if self.state.feedback else None,
                n_requested=sum(request.n_texts for request in requests),
                n_generated=len(judged),
                n_accepted=len(learnt),
                rejected=dict(
                    sum((Counter(g.rejected) for g in generations), Counter(count_reasons(judged)))
                    + Counter({"request failed": sum(bool(g.error) for g in generations)})
                ),
                usage=sum((g.usage for g in generations), Usage()),
                seconds=time.perf_counter() - start,
            )
        )

    def _learn(self, batch: Sequence[Example]) -> Candidate:
        """Learn the whole batch, or only what is plausible: whichever the gate likes better.

        The texts that surprise the student are worth most from a good teacher, and from a weak one
        they are mostly mistakes. The gate tells which of the two this teacher is.
        """
        if not batch:
            return self.current
        texts, labels = [e.text for e in batch], [e.label for e in batch]
        probabilities = predict_proba(self.best.student, texts, self.classes)
        mask = find_plausible(labels, probabilities, self.classes)
        plausible = [example for example, keep in zip(batch, mask) if keep]
        versions = [batch, plausible] if 0 < len(plausible) < len(batch) else [batch]
        before = self.current.synthetic
        candidates = [
            self._train_candidate(self.state.cycle, (*before, *version)) for version in versions
        ]
        return max(candidates, key=lambda candidate: candidate.gate_score)

    def _train_candidate(self, cycle: int, synthetic: tuple[Example, ...]) -> Candidate:
        student = self.fit_student(self.train, synthetic)
        probabilities = predict_proba(student, self.gate.texts, self.classes)
        return Candidate(cycle, student, synthetic, probabilities, self.scorer.score(probabilities))

    def fit_student(self, labelled: LabelledTexts, synthetic: Sequence[Example]) -> Any:
        """Train a fresh student on labelled and generated texts."""
        texts = labelled.texts + [example.text for example in synthetic]
        new = np.array([example.label for example in synthetic], dtype=labelled.y.dtype)
        weights = labelled.weights
        if weights is not None or self.synthetic_weight != 1.0:
            weights = np.ones(len(labelled)) if weights is None else weights
            weights = np.append(weights, np.full(len(synthetic), self.synthetic_weight))
        return train(self.student, texts, np.append(labelled.y, new), weights, self.seed)

    def _evaluate(self) -> Feedback | None:
        """The gradual evaluation check, on texts that the teacher may see."""
        if not needs_feedback(self.sampler, self.state, self.samples_per_cycle):
            return None
        last = self.state.feedback
        if last is not None and self._evaluated is self.current:
            return last  # nothing was learnt since
        self._evaluated = self.current
        shown = self.train if self.feedback is None else self.feedback
        if self.feedback is None:
            probabilities = self._predict_out_of_fold()
        else:
            probabilities = predict_proba(self.current.student, shown.texts, self.classes)
        return Feedback(
            make_predictions(shown.texts, shown.y, probabilities, self.classes),
            make_report(shown.y, probabilities, self.classes),
            previous=None if last is None else last.report,
        )

    def _look_at_pool(self) -> FloatArray:
        if not self.state.pool or not getattr(self.sampler, "needs_pool", False):
            return np.empty((0, len(self.classes)))
        return predict_proba(self.current.student, self.state.pool, self.classes)

    def _predict_out_of_fold(self) -> FloatArray:
        """Predict each training text with a student that has not seen it."""
        probabilities = np.zeros((len(self.train), len(self.classes)))
        for rest, fold in make_folds(self.train.texts, self.train.y, N_FOLDS, self.seed):
            seen = np.unique(self.train.y[rest])
            if len(seen) == 1:  # two texts of two classes: nothing to train
                probabilities[fold, np.searchsorted(self.classes, seen[0])] = 1.0
                continue
            student = self.fit_student(self.train.take(rest), self.current.synthetic)
            texts = [self.train.texts[i] for i in fold]
            probabilities[fold] = predict_proba(student, texts, self.classes)
        return probabilities

    def _serve(
        self, requests: Sequence[GenerationRequest | AnnotationRequest]
    ) -> Generator[Generation]:
        annotation = [r for r in requests if isinstance(r, AnnotationRequest)]
        generation = [r for r in requests if isinstance(r, GenerationRequest)]
        if annotation:
            yield from self.teacher.annotate(annotation)  # type: ignore[attr-defined]
        if generation:
            yield from self.teacher.generate(generation)

    def _ask(self, requests: Sequence[GenerationRequest | AnnotationRequest]) -> list[Generation]:
        """Collect the teacher's answers until the budget is spent, in the order of the requests."""
        self._answers = []
        answers = self._serve(requests)
        try:
            for generation in answers:
                check_generation(generation, type(self.teacher).__name__)
                self._answers.append(generation)
                self.usage += generation.usage
                self.emit(Event("generation", generation))
                if self._is_budget_spent():
                    break
        except Exception as error:  # a stranger's teacher may raise anything
            if not self._answers:
                if isinstance(error, TeacherError):
                    raise
                raise TeacherError(f"{type(self.teacher).__name__} raised {error!r}.") from error
            self._warn(
                f"The teacher failed after {len(self._answers)} answers, which are used: {error}"
            )
        finally:
            answers.close()  # calls off what is still in flight
        self._is_refused = any(generation.unsent for generation in self._answers)
        failed = [generation for generation in self._answers if generation.error]
        if failed and len(failed) == len(self._answers):
            first = failed[0]
            if first.unsent:
                raise TeacherBudgetError(first.error)
            raise TeacherError(
                f"All {len(failed)} requests failed, the first one because: {first.error}"
            )
        if failed and not failed[0].unsent:
            self._warn(
                f"{len(failed)} of {len(requests)} requests failed, the first one because: "
                f"{failed[0].error}"
            )
        asked = {t for g in self._answers if not g.error for t in getattr(g.request, "texts", ())}
        self.state = replace(
            self.state, pool=tuple(text for text in self.state.pool if text not in asked)
        )
        order = {request.id: i for i, request in enumerate(requests)}
        return sorted(self._answers, key=lambda g: order.get(g.request.id, len(order)))

    def _gate_lets_pass(self, candidate: Candidate) -> bool:
        """Whether a candidate is no worse than the best by more than one standard error.

        The gate is small: asking for a better score would throw away, by chance, good texts that
        were paid for. The student that is returned is the best one all the same.
        """
        loss = self.best.gate_score - candidate.gate_score
        return loss <= 0 or loss <= self._standard_error(candidate, self.best)

    def _report_on_gate(self, candidate: Candidate) -> StudentReport:
        return make_report(self.gate.y, candidate.gate_probabilities, self.classes)

    def _record(self, cycle: Cycle) -> None:
        self.history.append(cycle)
        self._answers = []
        self.emit(Event("cycle", cycle))


def _judge_plausibility(text: SyntheticText, learnt: Sequence[Example]) -> SyntheticText:
    if text.verdict == "accepted" and Example(text.text, text.label) not in learnt:
        return replace(text, verdict="rejected", reason="implausible label")
    return text


def _roll_back(text: SyntheticText) -> SyntheticText:
    return replace(text, verdict="rolled back") if text.verdict == "accepted" else text
