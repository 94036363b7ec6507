"""The loop of the paper (arXiv 2411.05045, section 3)."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pgkd.audit import audit
from pgkd.buying import Buyer
from pgkd.curation import Curator, count_reasons, enter, enter_refused
from pgkd.diversity import measure_diversity
from pgkd.evaluation import make_gate_scorer, make_predictions, make_report
from pgkd.exceptions import InvalidInputError, TeacherBudgetError, TeacherError
from pgkd.gating import Candidate, Judge
from pgkd.label_sets import THRESHOLD, count_classes
from pgkd.learning import LabelledTexts, Learner
from pgkd.protocols import Sampler
from pgkd.ranks import check_shared
from pgkd.records import (
    Audit,
    Batch,
    Cycle,
    Diversity,
    Event,
    Example,
    Feedback,
    FloatArray,
    Generation,
    GenerationRequest,
    Label,
    LabelArray,
    State,
    SyntheticText,
    Usage,
    labels_of,
)
from pgkd.samplers.base import find_choices, needs_feedback
from pgkd.samplers.unguided import UnguidedSampler
from pgkd.selection import HARMFUL, Selector, Version, to_example
from pgkd.verification import verify

#: Why texts that the gate let pass are not learnt.
BASELINE_RETURNED = "the baseline was returned"
#: Reasons to stop in the middle of a cycle.
UNFINISHED = ("interrupted", "teacher_error", "error")


class Distillation:
    """One run of performance-guided knowledge distillation.

    Parameters
    ----------
    buyer : Buyer
        Asks the teacher.
    student : classifier
        Cloned for every training.
    scout : classifier or None
        Takes the place of the student until the loop has ended.
    sampler : Sampler
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
    min_gain_per_dollar : float or None
    audit_size : int
    verification : {"filter", "weight"} or None
    n_candidates : int
        Length of a shortlist of the audit and the verification.
    synthetic_weight : float or "auto"
        Factor of the weights of generated texts; a labelled one has 1.
    rollback : bool
        Whether the gate decides.
    warm_start : bool
    task_description : str or None
    class_descriptions : mapping of label to str
    emit : callable
        Called with each `Event`.
    seed : int

    Attributes
    ----------
    returned : Candidate
    choice : Choice
    audit : Audit or None
    labelled_diversity : Diversity or None
        Of the training texts.
    history : list of Cycle
    synthetic : list of SyntheticText
    """

    baseline: Candidate
    best: Candidate  # of those that were kept, by gate score
    current: Candidate  # the last that was kept
    student_baseline: Candidate  # where `baseline` is the scout's

    def __init__(
        self,
        buyer: Buyer,
        student: Any,
        scout: Any,
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
        min_gain_per_dollar: float | None,
        audit_size: int,
        verification: str | None,
        n_candidates: int,
        synthetic_weight: float | str,
        rollback: bool,
        warm_start: bool,
        task_description: str | None,
        class_descriptions: Mapping[Label, str],
        emit: Callable[[Event], None],
        seed: int,
    ) -> None:
        self.buyer = buyer
        self.sampler = sampler
        self.classes = classes
        self.train = train
        self.gate = gate
        self.feedback = feedback
        self.max_cycles = max_cycles
        self.samples_per_cycle = samples_per_cycle
        self.patience = patience
        self.min_gain_per_dollar = min_gain_per_dollar
        self.audit_size = audit_size
        self.verification = verification
        self.n_candidates = n_candidates
        self.emit = emit
        self.seed = seed

        self.student_learner = Learner(student, classes, train, warm_start=warm_start, seed=seed)
        self.learner = self.student_learner  # what trains now
        if scout is not None:
            self.learner = Learner(scout, classes, train, seed=seed)
        if synthetic_weight == "auto" and not self.student_learner.takes_weights:
            synthetic_weight = 1.0  # whatever a scout would choose
        self.has_scout = scout is not None
        self.scoring = scoring
        self.judge = Judge(gate, classes, scoring, rollback=rollback, seed=seed)
        self.labelled_diversity = measure_diversity(train.texts, train.y.tolist())
        self.shown = train if feedback is None else feedback
        self.shown_scorer = make_gate_scorer(scoring, classes, self.shown.texts, self.shown.y)
        self.selector = Selector(
            self.learner,
            train,
            self.shown,
            self.shown_scorer,
            out_of_fold=feedback is None,
            synthetic_weight=synthetic_weight,
            seed=seed,
        )
        seen = train.texts if feedback is None else train.texts + feedback.texts
        self.multilabel = multilabel = self.learner.multilabel
        self.curator = Curator(classes.tolist(), seen, gate.texts, multilabel=multilabel)
        self.state = State(
            cycle=0,
            classes=tuple(classes.tolist()),
            examples=tuple(map(Example, train.texts, train.y.tolist())),
            task_description=task_description,
            class_descriptions=class_descriptions,
            pool=tuple(self.curator.screen(pool)),
            scoring=scoring if isinstance(scoring, str) else None,
            multilabel=multilabel,
            folds=self.learner.fold_numbers if feedback is None else (),
        )
        self.audit: Audit | None = None
        self.history: list[Cycle] = []
        self.synthetic: list[SyntheticText] = []

    def run(self) -> str:
        """Train the baseline, then cycle until nothing is left to gain or to spend.

        Returns
        -------
        stop_reason : {"max_cycles", "patience", "gain", "budget", "teacher_error", "error", \
                "interrupted"}
        """
        self._train_baseline()
        try:
            self._audit()
            while (reason := self._reason_to_stop()) is None:
                self._run_cycle()
        except KeyboardInterrupt as error:
            check_shared(error)
            reason = "interrupted"
            self._warn("Interrupted.")
        except TeacherBudgetError as error:
            reason = "budget"
            self._warn(str(error))
        except TeacherError as error:
            if len(self.history) == 1 and not self.synthetic:
                raise  # nothing was learnt yet, so nothing is lost
            reason = "teacher_error"
            self._warn(f"The teacher failed: {error}")
        except Exception as error:
            if not self.buyer.n_answers:
                raise  # nothing was bought yet, so nothing is lost
            check_shared(error)
            reason = "error"
            self._warn(f"{type(error).__name__}: {error}")
        self.returned = self._choose()
        if reason in UNFINISHED:
            for g in self.buyer.pending:
                self.synthetic += [
                    enter(e, self.state.cycle, g, "rolled back", reason) for e in g.examples
                ]
                self.synthetic += enter_refused(g, self.state.cycle)
        if self.returned.cycle == 0:
            self.synthetic = [
                _roll_back(t, BASELINE_RETURNED) if t.cycle else t for t in self.synthetic
            ]
        factor = self.returned.version.factor
        self.synthetic = [replace(t, weight=self.learner.weigh(t, factor)) for t in self.synthetic]
        self.emit(Event("end", reason))
        return reason

    def _choose(self) -> Candidate:
        baseline, last = self.baseline, self.current
        if self.learner is not self.student_learner:  # the scout has done its work
            baseline, last = self._promote()
        self.choice = self.judge.choose(last, baseline)
        return last if self.choice.taken else baseline

    def _promote(self) -> tuple[Candidate, Candidate]:
        """Train the student itself on what its scout has learnt, if that was worth anything."""
        self.learner = self.student_learner
        last, baseline = self.current, self.student_baseline
        self.current = baseline  # what a warm start starts from
        if last.cycle == 0 or not self.judge.has_promise(last, self.baseline):
            return baseline, baseline
        try:
            return baseline, self._make_candidate(last.cycle, replace(last.version, student=None))
        except (Exception, KeyboardInterrupt) as error:
            check_shared(error)
            warnings.warn(
                f"Training the student on what its scout has learnt failed ({error!r}); the "
                "student's baseline is returned. `refit` trains it again on these texts: "
                f"mask=lambda text: text.reason == {BASELINE_RETURNED!r}.",
                stacklevel=5,
            )
            return baseline, baseline

    def _warn(self, what: str) -> None:
        warnings.warn(
            f"{what.rstrip('.')}. In cycle {self.state.cycle}; the last student that passed, of "
            f"cycle {self.current.cycle}, is compared with the baseline.",
            stacklevel=4,
        )

    def _reason_to_stop(self) -> str | None:
        done = self.history[-1].number
        if self.buyer.is_budget_spent():
            if self.buyer.max_cost is not None and self.buyer.usage.cost is None:
                self._warn(
                    "The teacher does not say what its answers cost, so `max_cost` cannot be held "
                    "and no more are bought."
                )
            return "budget"
        if done - self.best.cycle >= self.patience:
            return "patience"
        if self._is_gain_spent():
            return "gain"
        return "max_cycles" if done >= self.max_cycles else None

    def _is_gain_spent(self) -> bool:
        """Whether the last `patience` cycles say that another one is not worth its price.

        The best of a single cycle would be luck as well; before so many there is no verdict.
        """
        if self.min_gain_per_dollar is None or self.history[-1].number < self.patience:
            return False
        before, *recent = self.history[-1 - self.patience :]
        cost = sum((cycle.usage + cycle.saved for cycle in recent), Usage()).cost
        best_before = max(c.gate_score for c in self.history[: before.number + 1] if c.kept)
        gain = self.best.gate_score - best_before
        return bool(cost) and gain / cost < self.min_gain_per_dollar  # type: ignore[operator]

    def _train_baseline(self) -> None:
        start = time.perf_counter()
        requests = self.request_missing_classes()
        if requests:  # before they are paid for: can these scores be computed?
            n_classes = len(self.classes)
            self.judge.scorer.score(np.full((len(self.gate), n_classes), 1 / n_classes))
        generations = self.buyer.ask(requests)
        rng = np.random.default_rng([self.seed, 0])
        judged = self._verify(self.curator.judge(generations, 0), rng)
        learnable = tuple(to_example(text) for text in judged if text.verdict == "accepted")
        version = Version(learnable, (learnable,) * len(self.learner.folds))
        self.synthetic += judged
        self.state = replace(self.state, synthetic=version.synthetic)
        if self.learner is not self.student_learner:  # if it cannot be trained, say so now
            self.student_baseline = self._make_baseline(self.student_learner, version)
        self.baseline = self.best = self.current = self._make_baseline(self.learner, version)
        self._record(
            Cycle(
                0,
                self.best.gate_score,
                self.judge.report(self.best),
                n_requested=sum(request.n_texts for request in requests),
                n_generated=len(judged),
                n_accepted=len(version.synthetic),
                rejected=_count_rejected(generations, judged),
                usage=self.buyer.usage,
                saved=self.buyer.saved,
                seconds=time.perf_counter() - start,
                diversity=_measure(version.synthetic),
            )
        )

    def _make_baseline(self, learner: Learner, version: Version) -> Candidate:
        student = learner.fit_baseline(self.train, version.synthetic)
        return self._make_candidate(0, replace(version, student=student))

    def request_missing_classes(self) -> list[GenerationRequest]:
        """Ask for texts of classes without a labelled one.

        The gate has none of theirs either, so it cannot judge these: they are part of the baseline.
        """
        labelled = count_classes(self.train.y.tolist())
        missing = sorted(set(self.classes.tolist()) - labelled.keys())
        if not missing or not self.max_cycles:
            return []
        usual = len(self.train) / (len(self.classes) - len(missing))
        n = max(1, min(round(usual), self.samples_per_cycle // len(missing))) * len(missing)
        rng = np.random.default_rng([self.seed, 0])
        state = replace(self.state, classes=tuple(missing))
        requests = UnguidedSampler().propose(state, n, rng)
        if not self.multilabel:
            return requests
        return [replace(r, choices=find_choices(self.state, r.classes)) for r in requests]

    def _verify(self, judged: list[SyntheticText], rng: np.random.Generator) -> list[SyntheticText]:
        """Have the teacher label what it wrote, if that is wanted."""
        if self.verification is None:
            return judged
        current = getattr(self, "current", None)  # none yet where classes have no texts
        return verify(
            judged,
            self.buyer,
            self.state,
            partial(self.learner.predict, current.student) if current else None,
            rng,
            verification=self.verification,
            n_candidates=self.n_candidates,
        )

    def _weigh(self, judged: list[SyntheticText]) -> list[SyntheticText]:
        """Trust the labels as far as the audit does."""
        if self.audit is None or not self.student_learner.takes_weights:
            return judged
        return [
            replace(t, weight=t.weight * self.audit.weigh(t)) if t.verdict == "accepted" else t
            for t in judged
        ]

    def _audit(self) -> None:
        """Compare the teacher with the baseline, if that is wanted, before it is relied on."""
        if not self.audit_size or self.buyer.is_budget_spent():
            return
        version = self.selector.predict_out_of_fold(self.current.version)
        assert version.probabilities is not None
        if self.feedback is None:  # the first evaluation is of the same predictions
            self.current = replace(self.current, version=version)
        self.audit = audit(
            self.buyer,
            self.state,
            self.train,
            version.probabilities,
            np.random.default_rng([self.seed, 0]),
            size=self.audit_size,
            n_candidates=self.n_candidates,
        )
        if self.audit is None:
            return
        self.state = replace(self.state, settled=self.audit.settled)
        self.emit(Event("audit", self.audit))
        if not self.audit.is_teacher_better:
            warnings.warn(self.audit.verdict, stacklevel=4)

    def _run_cycle(self) -> None:
        """One knowledge-distillation step."""
        start, bill = time.perf_counter(), (self.buyer.usage, self.buyer.saved)
        number = self.state.cycle + 1
        # The student is evaluated, and its confident mistakes are mined ...
        self.state = replace(
            self.state,
            cycle=number,
            feedback=self._evaluate(),
            pool_probabilities=self._look_at_pool(),
        )
        feedback_score = self._score_feedback()
        # ... the teacher sees the report and the mistakes, and writes the next batch ...
        rng = np.random.default_rng([self.seed, number])
        requests = self.sampler.propose(self.state, self.samples_per_cycle, rng)
        generations = self.buyer.ask(requests)
        self._take_from_pool(generations)
        judged = self._verify(self.curator.judge(generations, number), rng)
        judged = self._weigh(judged)
        usage, saved = self.buyer.usage - bill[0], self.buyer.saved - bill[1]
        # ... the student learns it, and the gate says whether it may stay.
        accepted = [text for text in judged if text.verdict == "accepted"]
        version = self.selector.choose(self.current.version, accepted, self.current.student)
        learnt = version.synthetic[len(self.current.version.synthetic) :]
        judged = [_judge_by_student(text, learnt) for text in judged]
        if learnt:
            candidate = self._make_candidate(number, version)
        else:  # evaluated, perhaps
            candidate = self.current = replace(self.current, version=version)
        reason = self.judge.reason_to_roll_back(candidate, self.best)
        if reason is not None:
            judged = [_roll_back(text, reason) for text in judged]
        cycle = Cycle(
            number,
            candidate.gate_score,
            self.judge.report(candidate),
            kept=reason is None,
            feedback_report=self.state.feedback.report if self.state.feedback else None,
            n_requested=sum(request.n_texts for request in requests),
            n_generated=len(judged),
            n_accepted=len(learnt),
            rejected=_count_rejected(generations, judged),
            usage=usage,
            saved=saved,
            seconds=time.perf_counter() - start,
            reason=reason,
            synthetic_weight=version.factor,
            feedback_score=feedback_score,
            diversity=_measure(learnt),
        )
        # All is computed: an interruption finds the run before the cycle or after it.
        if reason is None:
            self.current = candidate
            self.state = replace(self.state, synthetic=version.synthetic)
            if candidate.gate_score > self.best.gate_score:  # its folds' students are not needed
                self.best = replace(candidate, version=replace(version, fold_students=()))
        # A batch that is given up whole says nothing about the classes that it is of.
        self._remember(learnt or [*map(to_example, accepted)], generations, usage + saved)
        self.synthetic += judged
        self._record(cycle)

    def _make_candidate(self, cycle: int, version: Version) -> Candidate:
        if version.student is None:
            student = self.learner.fit(
                self.train, version.synthetic, version.factor, self.current.student
            )
            version = replace(version, student=student)
        probabilities = self.learner.predict(version.student, self.gate.texts)
        return self.judge.assess(cycle, version, probabilities)

    def refit(self, labelled: LabelledTexts) -> Any:
        """Train the student that is returned once more, on all labelled texts."""
        version = self.returned.version
        start = self.returned.student
        if self.returned.cycle == 0 and self.student_learner.is_fitted:
            return start  # the baseline is the student that was given
        return self.student_learner.fit(labelled, version.synthetic, version.factor, start)

    def choose_thresholds(self) -> FloatArray:
        """Choose the threshold of each label, on texts that the student returned has not learnt.

        On the gate and, where they are predicted out of fold, the training texts, which are more.
        """
        from pgkd.set_evaluation import SetScorer

        version, evidence = self.returned.version, self.gate
        probabilities = self.returned.gate_probabilities
        default = np.full(len(self.classes), THRESHOLD)
        if not self.judge.scorer.is_of_decisions:
            return default
        try:
            if self.feedback is None and not self.has_scout:  # a scout's predictions are others'
                if version.probabilities is None:
                    version = self.selector.predict_out_of_fold(version)
                evidence = LabelledTexts(
                    self.gate.texts + self.train.texts, np.append(self.gate.y, self.train.y)
                )
                assert version.probabilities is not None
                probabilities = np.concatenate([probabilities, version.probabilities])
            scorer = SetScorer(self.scoring, self.classes, evidence.texts, evidence.y)
            return scorer.choose_thresholds(probabilities, self.seed)
        except (Exception, KeyboardInterrupt) as error:  # what was bought must not be lost to it
            check_shared(error)
            warnings.warn(f"No thresholds were chosen ({error!r}): all are 0.5.", stacklevel=4)
            return default

    def _evaluate(self) -> Feedback | None:
        """The gradual evaluation check, on texts that the teacher may see."""
        if not needs_feedback(self.sampler, self.state, self.samples_per_cycle):
            return None
        version = self.current.version
        if version.probabilities is None:
            version = self.selector.evaluate(version, self.current.student)
            self.current = replace(self.current, version=version)
        assert version.probabilities is not None
        last = self.state.feedback
        report = make_report(self.shown.y, version.probabilities, self.classes)
        if last is not None and last.report == report:
            return last  # nothing was learnt since
        return Feedback(
            make_predictions(self.shown.texts, self.shown.y, version.probabilities, self.classes),
            report,
            previous=None if last is None else last.report,
            probabilities=version.probabilities,
        )

    def _score_feedback(self) -> float | None:
        """Score the student that the teacher is told of, on the texts that it is shown."""
        probabilities = self.current.version.probabilities
        if self.state.feedback is None or probabilities is None:
            return None
        try:
            return self.shown_scorer.score(probabilities)
        except InvalidInputError:  # what can be computed on the gate need not be on these texts
            return None

    def _look_at_pool(self) -> FloatArray:
        if not self.state.pool or not getattr(self.sampler, "needs_pool", False):
            return np.empty((0, len(self.classes)))
        return self.learner.predict(self.current.student, self.state.pool)

    def _take_from_pool(self, generations: Sequence[Generation]) -> None:
        """Drop from the pool what the teacher was asked about."""
        over = [g for g in generations if g.is_final or not g.error]
        asked = {text for g in over for text in getattr(g.request, "texts", ())}
        pool = tuple(text for text in self.state.pool if text not in asked)
        self.state = replace(self.state, pool=pool)

    def _remember(
        self, learnt: Sequence[Example], generations: Sequence[Generation], usage: Usage
    ) -> None:
        requested: Counter[Label] = Counter()
        pool = 0
        for g in generations:
            if not isinstance(g.request, GenerationRequest):
                pool += g.worth.input_tokens + g.worth.output_tokens
            elif not g.error:
                for label, n in g.request.counts.items():
                    requested.update(dict.fromkeys(labels_of(label), n))
        # The rest, verification included, is what texts took that were written.
        tokens = {"generated": usage.input_tokens + usage.output_tokens - pool, "pool": pool}
        counts = count_classes(example.label for example in learnt)
        feedback = self.state.feedback.report if self.state.feedback else None
        batch = Batch(requested, counts, tokens, feedback)
        self.state = replace(self.state, batches=(*self.state.batches, batch))

    def _record(self, cycle: Cycle) -> None:
        self.history.append(cycle)
        self.buyer.pending.clear()
        self.emit(Event("cycle", cycle))


def _count_rejected(
    generations: Sequence[Generation], judged: Sequence[SyntheticText]
) -> dict[str, int]:
    counts = Counter(count_reasons(judged))
    for g in generations:
        counts += Counter(g.rejected) - Counter(r.reason for r in g.refused)  # those are judged
        counts += Counter({"request failed": int(bool(g.error))})
    return dict(counts)


def _measure(learnt: Sequence[Example]) -> Diversity | None:
    return measure_diversity([e.text for e in learnt], [e.label for e in learnt])


def _judge_by_student(text: SyntheticText, learnt: Sequence[Example]) -> SyntheticText:
    if text.verdict != "accepted" or to_example(text) in learnt:
        return text
    reason = "implausible label" if learnt else HARMFUL
    return replace(text, verdict="rejected", reason=reason, weight=0.0)


def _roll_back(text: SyntheticText, reason: str) -> SyntheticText:
    if text.verdict != "accepted":
        return text
    return replace(text, verdict="rolled back", reason=reason, weight=0.0)
