"""The loop: first what is free, then what the teacher brings, as far as it measurably helps."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pgkd.curation.curator import Curator, count_reasons, enter, enter_refused
from pgkd.curation.diversity import measure_diversity
from pgkd.evaluation.calibration import fit_temperature
from pgkd.evaluation.scoring import make_predictions, make_report
from pgkd.exceptions import TeacherBudgetError, TeacherError
from pgkd.inputs.label_sets import count_classes
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.text import fold_text
from pgkd.loop.buyer import Buyer
from pgkd.loop.decider import Decider
from pgkd.loop.evidence import Evidence
from pgkd.loop.learner import Learner
from pgkd.loop.naming import write_names
from pgkd.loop.opinions import TINY, read_opinions, soften
from pgkd.loop.probe import DEFAULT_WEIGHT, draft_probe, evaluate_probe
from pgkd.loop.routes import PAID, Allocator
from pgkd.loop.self_training import MAX_POOL, N_ROUNDS, PER_CLASS, self_train
from pgkd.loop.task import Settings, Task
from pgkd.loop.training_set import Part, Result, TrainingSet, make_splits, spread, to_example
from pgkd.protocols import Sampler
from pgkd.records import (
    Batch,
    Comparison,
    Diversity,
    Event,
    Example,
    Feedback,
    FloatArray,
    Generation,
    GenerationRequest,
    Label,
    Probe,
    State,
    Step,
    SyntheticText,
    Usage,
    labels_of,
)
from pgkd.samplers import UnguidedSampler, describe_classes
from pgkd.samplers.base import needs_feedback
from pgkd.system.ranks import check_shared

#: Weights of a teacher's texts that are tried, against 1 for a labelled text; and of those whose
#: weight has been found once for all (docs/defaults.md).
FACTORS = (1.0, 0.3, 0.1)
FIXED_FACTORS = {"names": 1.0, "unlabelled": 0.1}
#: Why texts are not learnt.
NO_GAIN, RELABELLED = "no gain out of fold", "labelled anew"
#: Reasons to stop in the middle of a step.
UNFINISHED = ("interrupted", "teacher_error", "error")


class Distillation:
    """One run.

    Parameters
    ----------
    task : Task
    settings : Settings
        Nothing is open any more.
    buyer : Buyer or None
        Asks the teacher; ``None`` without one.
    samplers : mapping of {"write", "label"} to sampler
    emit : callable
        Called with each `Event`.
    seed : int

    Attributes
    ----------
    current : TrainingSet
        What the student learns beside the labelled texts.
    comparison : Comparison or None
        Of `current` with the labelled texts alone.
    probe : Probe or None
    history : list of Step
    synthetic : list of SyntheticText
    """

    def __init__(
        self,
        task: Task,
        settings: Settings,
        buyer: Buyer | None,
        samplers: Mapping[str, Sampler],
        *,
        emit: Callable[[Event], None],
        seed: int,
    ) -> None:
        self.task = task
        self.settings = settings
        self.evidence: Evidence = settings.evidence
        self.buyer = buyer
        self.samplers = samplers
        self.emit = emit
        self.seed = seed
        self.classes = task.classes
        self.labelled = task.labelled
        self.splits = make_splits(
            task.labelled,
            task.gate,
            task.learnable,
            n_folds=self.evidence.n_folds,
            show_gate=self.evidence.feedback == "validation",
            seed=seed,
        )
        scout = settings.student if self.evidence.scout is None else self.evidence.scout
        self.decider = self._make_decider(scout)
        self.learner = self.decider.learner
        gate = set(task.gate.tolist())
        is_shown = [i for i in task.learnable.tolist() if i not in gate]
        self.train = task.labelled.take(np.array(is_shown, dtype=np.intp))
        seen = [text for i, text in enumerate(task.labelled.texts) if i not in gate]
        hidden = [task.labelled.texts[i] for i in sorted(gate)]
        if self.evidence.feedback == "validation":
            seen += hidden
        self.curator = Curator(task.classes.tolist(), seen, hidden, multilabel=task.multilabel)
        self.labelled_diversity = measure_diversity(self.train.texts, self.train.y.tolist())
        self.known = set(count_classes(task.labelled.y.tolist()))
        self.state = State(
            cycle=0,
            classes=tuple(task.classes.tolist()),
            examples=tuple(map(Example, self.train.texts, self.train.y.tolist())),
            task_description=task.task_description,
            class_descriptions=dict(task.descriptions),
            pool=tuple(self.curator.screen(task.pool)),
            scoring=settings.scoring if isinstance(settings.scoring, str) else None,
            multilabel=task.multilabel,
            embed=getattr(scout, "embed", None),
            folds=self._number_folds(is_shown),
        )
        self.baseline = TrainingSet()
        self.current = self.baseline
        self.bought: dict[str, Part] = {}
        self.probe: Probe | None = None
        self.comparison: Comparison | None = None
        self.history: list[Step] = []
        self.synthetic: list[SyntheticText] = []
        self.allocator = Allocator(self._find_open_routes(), self.evidence.patience)

    def run(self) -> str:
        """Take what is free, then buy until nothing is left to gain or to spend.

        Returns
        -------
        stop_reason : {"no_teacher", "probe", "exhausted", "patience", "max_cycles", "budget", \
                "teacher_error", "error", "interrupted"}
        """
        self._start()
        try:
            self._learn_names()
            self._learn_logs()
            self._learn_from_pool()
            reason = self._run_teacher()
        except KeyboardInterrupt as error:
            check_shared(error)
            reason = "interrupted"
            self._warn("Interrupted.")
        except TeacherBudgetError as error:
            reason = "budget"
            self._warn(str(error))
        except TeacherError as error:
            if self.buyer is None or not self.buyer.n_answers:
                raise  # nothing was bought yet, so nothing is lost
            reason = "teacher_error"
            self._warn(f"The teacher failed: {error}")
        except Exception as error:
            if self.buyer is None or not self.buyer.n_answers:
                raise
            check_shared(error)
            reason = "error"
            self._warn(f"{type(error).__name__}: {error}")
        if self.evidence.scout is not None:
            self._promote()
        if self.splits.decide:
            self.comparison = self.decider.compare(self.baseline, self.current)
        self._settle(reason)
        self.emit(Event("end", reason))
        return reason

    def fit_student(self, current: TrainingSet | None = None) -> Any:
        """Train the student on all labelled texts and on a training set, by default the last."""
        chosen = self.current if current is None else current
        labelled = self.labelled.take(self.splits.learnable)
        return self._make_decider(self.settings.student).learner.fit(labelled, chosen.examples)

    def predict_judges(self) -> tuple[LabelledTexts, FloatArray] | None:
        """Return the texts that decide, and what students that have not learnt them predict."""
        if not self.splits.decide:
            return None
        deciding = self.splits.deciding
        judges = self.labelled.take(self.decider.rows(deciding))
        return judges, self.decider.predict(self.current, deciding)

    # The free steps

    def _start(self) -> None:
        start = time.perf_counter()
        if self.splits.decide:
            self.decider.check_score()
        step = Step(0, "labelled", n_accepted=len(self.labelled))
        self._record(self._finish(step, self.current, start))

    def _learn_names(self) -> None:
        if "names" not in self.settings.routes:
            return
        names = write_names(
            self.state.classes, self.state.class_descriptions, multilabel=self.task.multilabel
        )
        truth = {fold_text(t): y for t, y in zip(self.labelled.texts, self.labelled.y.tolist())}
        # A name that is a labelled text of another class would teach the contrary of it.
        names = [n for n in names if truth.get(fold_text(n.text), n.label) == n.label]
        self._decide("names", names)

    def _learn_logs(self) -> None:
        if self.task.logs is None:
            return
        logged = [self._read_label(label) for label in self.task.logs.labels]
        pairs = map(Example, self.task.logs.texts, logged)
        generation = Generation(GenerationRequest("logs", {}), tuple(pairs))
        judged = self.curator.judge([generation], len(self.history))
        judged = [replace(text, source="log", request_id="", cost=0.0) for text in judged]
        unknown = [text.label for text in judged if text.reason == "unknown label"]
        if unknown:
            warnings.warn(
                f"{len(unknown)} of {len(judged)} texts of the logs have labels that are no class, "
                f"e.g. {unknown[0]!r}: they are not learnt. Describe that class in "
                "`class_descriptions`, or map the label to one of the classes.",
                stacklevel=5,
            )
        self._decide("logs", judged, rejected=count_reasons(judged))

    def _read_label(self, label: Label) -> Label:
        """Return the class that is meant: a file has ``"7"`` and ``"True"`` for 7 and True."""
        names = {str(own): own for own in self.classes.tolist()}
        if isinstance(label, tuple):
            return tuple(names.get(str(own), own) for own in label)
        return names.get(str(label), label)

    def _learn_from_pool(self) -> None:
        """Self-training by rounds, each of which relabels the texts, as long as that helps."""
        is_wanted = "unlabelled" in self.settings.routes and self.state.pool and self.splits.decide
        if not is_wanted or self.task.multilabel:  # it harms as often as not: on evidence alone
            return
        rng = np.random.default_rng([self.seed, 1])
        rows = np.sort(rng.permutation(len(self.state.pool))[:MAX_POOL])
        pool = [self.state.pool[i] for i in rows]
        for number in range(1, N_ROUNDS + 1):
            start = time.perf_counter()
            student = self._fit_current()
            part = self_train(
                self.learner,
                student,
                self.decider.students(self.current),
                pool,
                number * PER_CLASS,
            )
            self.bought.pop("unlabelled", None)  # relabelled, not added to
            if not self._decide("unlabelled", part.texts, part, start=start):
                break

    # What the teacher brings

    def _run_teacher(self) -> str:
        if self.buyer is None:
            return "no_teacher"
        self._ask_probe()
        if self.probe is not None and self.probe.is_useless:
            return "probe"
        while (reason := self._reason_to_stop()) is None:
            route = self.allocator.choose()
            assert route is not None
            self._run_cycle(route)
        return reason

    def _ask_probe(self) -> None:
        buyer = self.buyer
        assert buyer is not None
        wanted = self.evidence.probe_size and self.settings.max_cycles and buyer.can_annotate
        if not wanted or not self.splits.shown or not self.allocator.accounts:
            return
        rows = self._shown_rows()
        texts, probabilities = self.labelled.take(rows), self._predict_shown()
        requests = draft_probe(
            buyer, self.state, texts, probabilities, size=self.evidence.probe_size
        )
        before = buyer.usage
        generations = buyer.ask(requests, brings_texts=False)
        usage = buyer.usage - before
        self.probe = evaluate_probe(generations, self.state, texts, probabilities, usage)
        if self.probe is not None:
            self.emit(Event("probe", self.probe))
            if not self.probe.weight:
                self.allocator.close("label")

    def _reason_to_stop(self) -> str | None:
        buyer = self.buyer
        assert buyer is not None
        if buyer.is_budget_spent():
            if buyer.max_cost is not None and buyer.usage.cost is None:
                self._warn(
                    "The teacher does not say what its answers cost, so `max_cost` cannot be held "
                    "and no more are bought."
                )
            return "budget"
        if self.n_cycles >= self.settings.max_cycles:
            return "max_cycles"
        if self.allocator.choose() is None:
            return "patience" if self.n_cycles else "exhausted"
        return None

    @property
    def usage(self) -> Usage:
        """The bill."""
        return Usage() if self.buyer is None else self.buyer.usage

    @property
    def n_cycles(self) -> int:
        """Batches that were bought."""
        return sum(step.route in PAID for step in self.history)

    def _run_cycle(self, route: str) -> None:
        """Evaluate, let the sampler decide what to ask for, ask, curate, learn what helps."""
        buyer = self.buyer
        assert buyer is not None
        start, bill = time.perf_counter(), (buyer.usage, buyer.saved)
        number = len(self.history)
        self.state = replace(self.state, cycle=number)
        rng = np.random.default_rng([self.seed, number])
        requests = self._propose(route, rng)
        if not requests:
            self.allocator.close(route)
            return
        generations = buyer.ask(requests)
        judged = self.curator.judge(generations, number)
        if route == "describe":
            judged = [replace(text, source="description") for text in judged]
        part = None
        if route == "label":
            judged, part = self._fuse(judged, generations)
        usage, saved = buyer.usage - bill[0], buyer.saved - bill[1]
        taken = self._decide(
            route,
            judged,
            part,
            start=start,
            n_requested=sum(request.n_texts for request in requests),
            rejected=_count_rejected(generations, judged),
            usage=usage,
            saved=saved,
        )
        comparison = self.history[-1].comparison
        gain = comparison.gain if comparison else 0.0
        is_judged = self.splits.decide or not taken
        self.allocator.book(route, usage + saved, gain if is_judged else None)
        if route == "describe":  # each class once
            self.allocator.close(route)
            self._adopt_descriptions(generations if taken else ())
        if route == "write":
            self._remember(generations, judged)
        self._drop_from_pool(generations)

    def _propose(self, route: str, rng: np.random.Generator) -> Sequence[Any]:
        if route == "describe":
            self._evaluate()
            return describe_classes(self.state, rng)
        sampler: Sampler = self.samplers[route]
        if route == "label":
            pool = self.learner.predict(self._fit_current(), self.state.pool)
            self.state = replace(self.state, pool_probabilities=pool)
        if needs_feedback(sampler, self.state, self.settings.samples_per_cycle):
            self._evaluate()
            if self.state.feedback is None:  # no labelled text says where the student is weak
                sampler = UnguidedSampler()
        return sampler.propose(self.state, self.settings.samples_per_cycle, rng)

    def _fuse(
        self, judged: Sequence[SyntheticText], generations: Sequence[Generation]
    ) -> tuple[list[SyntheticText], Part | None]:
        """Turn the teacher's labels and the student's opinion into labels with weights.

        Each split's student has an opinion of its own: one that has learnt the split's judges would
        betray them.
        """
        accepted = [text for text in judged if text.verdict == "accepted"]
        if self.task.multilabel or not accepted:
            return list(judged), None
        opinions = read_opinions(generations, self.state)
        weight = DEFAULT_WEIGHT if self.probe is None else self.probe.weight
        temperature = 1.0
        if self.splits.shown:
            own = np.clip(self._predict_shown(), TINY, 1)
            codes = np.searchsorted(self.classes, self.labelled.y[self._shown_rows()])
            temperature = fit_temperature(own, codes)
        fused = [
            soften(
                accepted,
                opinions,
                self.learner.predict(student, [text.text for text in accepted]),
                self.state.classes,
                weight=weight,
                temperature=temperature,
                takes_weights=self.learner.takes_weights,
            )
            for student in (self._fit_current(), *self.decider.students(self.current))
        ]
        rejected = [text for text in judged if text.verdict != "accepted"]
        by_split = tuple(tuple(map(to_example, texts)) for texts in fused[1:])
        return [*fused[0], *rejected], Part(tuple(fused[0]), by_split)

    # Deciding

    def _decide(
        self,
        route: str,
        texts: Sequence[SyntheticText],
        part: Part | None = None,
        *,
        start: float | None = None,
        **bill: Any,
    ) -> bool:
        """Learn all that a route has brought, at the best weight, if that helps."""
        start = time.perf_counter() if start is None else start
        number = len(self.history)
        texts = [replace(text, cycle=number) for text in texts]
        fit = [text for text in texts if text.verdict == "accepted"]
        current = self.current
        unjudged: list[SyntheticText] = []
        if part is None:
            judged, unjudged = self._separate(fit)
            part = spread(judged, self.labelled, self.splits)
        else:
            part = replace(part, texts=tuple(replace(text, cycle=number) for text in part.texts))
        if unjudged:
            unjudged = [*current.parts.get("unjudged", Part()).texts, *unjudged]
            moderate = self._moderate(unjudged, current)
            current = current.put("unjudged", spread(moderate, self.labelled, self.splits))
        comparison, taken, factor = None, bool(unjudged), 1.0 if unjudged else 0.0
        if part.texts:
            part = self.bought[route].add(part) if route in self.bought else part
            chosen, comparison = self._choose(current, route, part)
            taken = chosen is not current
            factor = chosen.parts[route].factor if route in chosen.parts else 0.0
            current = chosen
        step = Step(
            number,
            route,
            taken=taken,
            comparison=comparison,
            factor=factor,
            n_generated=len(texts),
            n_accepted=len({text.text for text in fit}),
            feedback_report=self.state.feedback.report if self.state.feedback else None,
            diversity=_measure(fit),
            **bill,
        )
        step = self._finish(step, current, start)
        # All is computed: an interruption finds the run before the step or after it.
        if part.texts:
            self.bought[route] = part
        if current is not self.current:
            self.current.forget_students()
        self.current = current
        self.synthetic += texts
        self._record(step)
        return taken

    def _choose(
        self, current: TrainingSet, route: str, grown: Part
    ) -> tuple[TrainingSet, Comparison | None]:
        before = current
        if route == "label" and "unlabelled" in before.parts:  # the teacher has labelled them now
            asked = {text.text for text in grown.texts}
            before = before.put("unlabelled", before.parts["unlabelled"].without(asked))
        factors = self._find_factors(route, before.parts.get(route))
        candidates = [before.put(route, grown.weigh(factor)) for factor in factors]
        if not self.splits.decide:
            return candidates[0], None
        chosen, comparison = self.decider.choose(current, candidates)
        if self.evidence.keep_all and chosen is current:
            chosen = candidates[0]
        return chosen, comparison

    def _find_factors(self, route: str, known: Part | None) -> tuple[float, ...]:
        """Return the weights to try; a route's next texts weigh no less than its first ones."""
        if self.evidence.synthetic_weight != "auto":
            return (float(self.evidence.synthetic_weight),)
        if not self.learner.takes_weights:
            return (1.0,)
        if route in FIXED_FACTORS:
            return (FIXED_FACTORS[route],)
        return tuple(f for f in FACTORS if known is None or f >= known.factor)

    def _separate(
        self, texts: Sequence[SyntheticText]
    ) -> tuple[list[SyntheticText], list[SyntheticText]]:
        """Tell the texts of classes that have no labelled text: nothing can say what they gain."""
        if not self.splits.decide:
            return list(texts), []
        known = [all(label in self.known for label in text.labels) for text in texts]
        return (
            [text for text, is_known in zip(texts, known) if is_known],
            [text for text, is_known in zip(texts, known) if not is_known],
        )

    def _moderate(
        self, unjudged: Sequence[SyntheticText], current: TrainingSet
    ) -> list[SyntheticText]:
        """Weigh texts of classes without a labelled text: no such class outweighs the others.

        However many texts a teacher writes for it, nothing tells how many are right.
        """
        learnt = Counter(count_classes(self.train.y.tolist()))
        for route, part in current.parts.items():
            for text in part.texts if route != "unjudged" else ():
                learnt.update(dict.fromkeys(text.labels, text.weight * part.factor))
        fair = float(np.mean([learnt[label] for label in self.known]))
        counts = count_classes(text.label for text in unjudged)
        most = {label: min(1.0, fair / n) for label, n in counts.items()}
        return [replace(t, weight=min(most[label] for label in t.labels)) for t in unjudged]

    # What the teacher is shown

    def _evaluate(self) -> None:
        """The paper's gradual evaluation check, on texts that the teacher may see."""
        if not self.splits.shown:
            return
        rows = self._shown_rows()
        texts, y = [self.labelled.texts[i] for i in rows], self.labelled.y[rows]
        probabilities = self._predict_shown()
        report = make_report(y, probabilities, self.classes)
        last = self.state.feedback
        if last is not None and last.report == report:
            return  # nothing was learnt since
        feedback = Feedback(
            make_predictions(texts, y, probabilities, self.classes),
            report,
            previous=None if last is None else last.report,
            probabilities=probabilities,
        )
        self.state = replace(self.state, feedback=feedback)

    def _shown_rows(self) -> Any:
        return self.decider.rows(self.splits.shown)

    def _predict_shown(self) -> FloatArray:
        return self.decider.predict(self.current, self.splits.shown)

    def _fit_current(self) -> Any:
        """Train the student on all that the teacher may see, and what is learnt beside it."""
        key = -1  # no split's number
        if key not in self.current.results:
            student = self.learner.fit(self.train, self.current.examples)
            self.current.results[key] = Result(student, np.empty((0, 0)), np.empty((0, 0)))
        return self.current.results[key].student

    def _adopt_descriptions(self, generations: Sequence[Generation]) -> None:
        """Show the teacher's descriptions, the first text of each class, in prompts to come."""
        found = {}
        for generation in generations:
            for example in reversed(generation.examples):
                for label in labels_of(example.label):
                    found[label] = example.text
        own = {label: text for label, text in self.task.descriptions.items() if text.strip()}
        self.state = replace(self.state, class_descriptions={**found, **own})

    def _remember(self, generations: Sequence[Generation], judged: Sequence[SyntheticText]) -> None:
        requested: Counter[Label] = Counter()
        for g in generations:
            if isinstance(g.request, GenerationRequest) and not g.error:
                for label, n in g.request.counts.items():
                    requested.update(dict.fromkeys(labels_of(label), n))
        counts = count_classes(text.label for text in judged if text.verdict == "accepted")
        feedback = self.state.feedback.report if self.state.feedback else None
        batch = Batch(requested, counts, feedback)
        synthetic = tuple(map(to_example, self.current.parts.get("write", Part()).texts))
        self.state = replace(self.state, batches=(*self.state.batches, batch), synthetic=synthetic)

    def _drop_from_pool(self, generations: Sequence[Generation]) -> None:
        """Drop from the pool what the teacher was asked about."""
        over = [g for g in generations if g.is_final or not g.error]
        asked = {text for g in over for text in getattr(g.request, "texts", ())}
        pool = tuple(text for text in self.state.pool if text not in asked)
        self.state = replace(self.state, pool=pool, pool_probabilities=np.empty((0, 0)))
        if not pool:
            self.allocator.close("label")

    # Bookkeeping

    def _find_open_routes(self) -> list[str]:
        if self.buyer is None or not self.settings.max_cycles:
            return []
        can_label = self.buyer.can_annotate and bool(self.state.pool)
        return [r for r in PAID if r in self.settings.routes and (r != "label" or can_label)]

    def _number_folds(self, shown: Sequence[int]) -> tuple[int, ...]:
        """Number the fold of each text that the teacher may see, if it is judged out of fold."""
        if self.evidence.feedback == "validation" or not self.splits.shown:
            return ()
        numbers = np.zeros(len(self.labelled), dtype=int)
        for number, split in enumerate(self.splits.all[i] for i in self.splits.shown):
            numbers[split.judged] = number
        return tuple(numbers[list(shown)].tolist())

    def _make_decider(self, student: Any) -> Decider:
        learner = Learner(student, self.classes, multilabel=self.task.multilabel, seed=self.seed)
        return Decider(learner, self.labelled, self.splits, self.settings.scoring, self.seed)

    def _promote(self) -> None:
        """Compare the student itself, on what its scout has learnt, with the labelled texts."""
        self.decider = self._make_decider(self.settings.student)
        self.learner = self.decider.learner
        parts = self.current.parts
        self.baseline, self.current = TrainingSet(), TrainingSet(parts)
        if parts and self.splits.decide:
            self.current, _ = self.decider.choose(self.baseline, [self.current])

    def _finish(self, step: Step, current: TrainingSet, start: float) -> Step:
        """Add what is known of a training set after a step, and how long the others may take."""
        if self.splits.decide:
            score, report = self.decider.score(current), self.decider.report(current)
            step = replace(step, score=score, report=report)
        step = replace(step, seconds=time.perf_counter() - start)
        paid = [s.seconds for s in (*self.history, step) if s.route in PAID]
        if self.buyer is None:
            return replace(step, seconds_left=0.0)
        n_left = self.settings.max_cycles - len(paid) if self.allocator.choose() else 0
        return replace(step, seconds_left=n_left * float(np.mean(paid))) if paid else step

    def _record(self, step: Step) -> None:
        self.history.append(step)
        if self.buyer is not None:
            self.buyer.pending.clear()
        self.emit(Event("step", step))

    def _settle(self, reason: str) -> None:
        """Say of every text what became of it."""
        pending = [] if self.buyer is None else self.buyer.pending
        number = len(self.history)
        if reason in UNFINISHED:
            for g in pending:
                self.synthetic += [enter(e, number, g, "dropped", reason) for e in g.examples]
                self.synthetic += enter_refused(g, number)
        weights = {
            (text.text, text.label, text.cycle): text.weight * part.factor
            for part in self.current.parts.values()
            for text in part.texts
        }
        learnt = {text for text, _, _ in weights}
        settled = []
        for text in self.synthetic:
            if text.verdict == "accepted":
                weight = weights.get((text.text, text.label, text.cycle))
                if weight is None:
                    why = RELABELLED if text.text in learnt else NO_GAIN
                    text = replace(text, verdict="dropped", reason=why, weight=0.0)
                else:
                    text = replace(text, weight=weight)
            settled.append(text)
        self.synthetic = settled

    def _warn(self, what: str) -> None:
        warnings.warn(
            f"{what.rstrip('.')}. The student learns what had been found to help by step "
            f"{len(self.history) - 1}.",
            stacklevel=4,
        )


def _count_rejected(
    generations: Sequence[Generation], judged: Sequence[SyntheticText]
) -> dict[str, int]:
    counts = Counter(count_reasons(judged))
    for g in generations:
        counts += Counter(g.rejected) - Counter(r.reason for r in g.refused)  # those are judged
        counts += Counter({"request failed": int(bool(g.error))})
    return dict(counts)


def _measure(learnt: Sequence[SyntheticText]) -> Diversity | None:
    return measure_diversity([e.text for e in learnt], [e.label for e in learnt])
