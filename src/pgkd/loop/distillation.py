"""The loop: first what is free, then what the teacher brings, as far as it measurably helps."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pgkd.curation.curator import Curator, count_reasons
from pgkd.curation.diversity import measure_diversity
from pgkd.exceptions import TeacherBudgetError, TeacherError
from pgkd.loop.briefing import Briefing
from pgkd.loop.buyer import HIDDEN_COST, Buyer
from pgkd.loop.checkpoint import GOES_ON, Checkpoint, resume
from pgkd.loop.choice import Choice
from pgkd.loop.decider import Decider
from pgkd.loop.evidence import Evidence
from pgkd.loop.learner import Learner
from pgkd.loop.logged import judge_logs
from pgkd.loop.naming import drop_contrary, write_names
from pgkd.loop.opinions import label_softly
from pgkd.loop.outcome import count_rejected, drop_pending, estimate_seconds, measure_texts, settle
from pgkd.loop.probe import DEFAULT_WEIGHT, ask_probe, draft_probe
from pgkd.loop.routes import PAID, Allocator, find_open
from pgkd.loop.self_training import draw_pool, self_train
from pgkd.loop.snapshot import take_snapshot
from pgkd.loop.task import Settings, Task
from pgkd.loop.telling import Teller
from pgkd.loop.training_set import Part, TrainingSet, make_splits
from pgkd.protocols import Sampler
from pgkd.records import Comparison, Event, Generation, Probe, Step, SyntheticText, Usage
from pgkd.system.ranks import check_shared

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
    checkpoint : Checkpoint or None
        Where each step is kept.

    Attributes
    ----------
    choice : Choice
        What the student learns beside the labelled texts.
    briefing : Briefing
        What the teacher is shown.
    comparison : Comparison or None
        Of all that is learnt with the labelled texts alone.
    probe : Probe or None
    is_probed : bool
        Whether the teacher was asked for it.
    history : list of Step
    synthetic : list of SyntheticText
    """

    def __init__(
        self,
        task: Task,
        settings: Settings,
        buyer: Buyer | None,
        samplers: Mapping[str, Sampler],
        emit: Callable[[Event], None],
        seed: int,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.task = task
        self.settings = settings
        self.evidence: Evidence = settings.evidence
        self.buyer = buyer
        self.emit = emit
        self.seed = seed
        self.checkpoint = checkpoint
        self.teller = Teller(emit)
        self.classes = task.classes
        self.labelled = task.labelled
        self.splits = make_splits(task, self.evidence, seed)
        scout = settings.student if self.evidence.scout is None else self.evidence.scout
        self.decider = self._make_decider(scout)
        seen, gate = task.part_texts(show_gate=self.evidence.feedback == "validation")
        self.curator = Curator(task.classes.tolist(), seen, gate, multilabel=task.multilabel)
        self.choice = Choice(self.decider, self.evidence)
        # With several labels a text it harms as often as not.
        is_tried = "unlabelled" in settings.routes and not task.multilabel
        self.teaches_itself = is_tried and self.splits.decide  # on evidence alone
        self.briefing = Briefing(
            task, settings, self.decider, samplers, self.curator.screen(task.pool)
        )
        visible = self.decider.visible
        self.labelled_diversity = measure_diversity(visible.texts, visible.y.tolist())
        self.probe: Probe | None = None
        self.is_probed = False
        self.comparison: Comparison | None = None
        self.history: list[Step] = []
        self.synthetic: list[SyntheticText] = []
        can_label = buyer is not None and buyer.can_annotate and bool(self.briefing.state.pool)
        is_open = buyer is not None and settings.max_cycles > 0
        routes = find_open(settings.routes, can_label=can_label) if is_open else []
        self.allocator = Allocator(routes, self.evidence.patience)

    def run(self) -> str:
        """Take what is free, then buy until nothing is left to gain or to spend.

        Returns
        -------
        stop_reason : {"no_teacher", "probe", "exhausted", "patience", "max_cycles", "budget", \
                "teacher_error", "error", "interrupted"}
        """
        self.teller.begin(self.task, self.settings)
        if self.buyer is not None:
            self.buyer.check_ready()
        is_resumed = resume(self, self.checkpoint, self.settings.max_cycles)
        if self.buyer is not None and self._find_reason_to_stop(self.buyer) is None:
            self.buyer.check_reachable()
        if not is_resumed:
            self._start()
        reason = self._go_on()
        if self.checkpoint is not None and reason not in UNFINISHED:
            self.checkpoint.forget_students()
        if self.evidence.scout is not None:
            self.decider = self._make_decider(self.settings.student)
            self.choice.promote(self.decider)
        if self.splits.decide:
            self.comparison = self.decider.compare(self.choice.baseline, self.choice.current)
        if reason in UNFINISHED and self.buyer is not None:
            self.synthetic += drop_pending(self.buyer.pending, len(self.history), reason)
        self.synthetic = settle(self.synthetic, self.choice.current)
        self.emit(Event("end", reason))
        return reason

    def _go_on(self) -> str:
        """Take the steps; whatever ends them early, what was learnt so far is kept."""
        try:
            self._learn_names()
            self._learn_logs()
            self._learn_from_pool()
            return self._run_teacher()
        except KeyboardInterrupt as error:
            check_shared(error)
            self._warn("Interrupted.")
            return "interrupted"
        except TeacherBudgetError as error:
            self._warn(str(error), "")
            return "budget"
        except Exception as error:
            if self.buyer is None or not self.buyer.n_answers:
                raise  # nothing was bought yet, so nothing is lost
            if isinstance(error, TeacherError):
                self._warn(f"The teacher failed: {error}")
                return "teacher_error"
            check_shared(error)
            self._warn(f"{type(error).__name__}: {error}")
            return "error"

    @property
    def bills(self) -> tuple[Usage, Usage]:
        """What was paid, and what kept answers had taken."""
        own = self.buyer
        return (Usage(), Usage()) if own is None else (own.usage, own.saved)

    @property
    def n_cycles(self) -> int:
        """Batches that were bought."""
        return sum(step.route in PAID for step in self.history)

    @property
    def is_over(self) -> bool:
        """Whether no step is left to be taken."""
        return not self._list_free() and (
            self.buyer is None or self._find_reason_to_stop(self.buyer) is not None
        )

    def _list_free(self) -> set[str]:
        """Return the free routes that are open and were not taken yet."""
        found = {"names"}.intersection(self.settings.routes)
        found |= set() if self.task.logs is None else {"logs"}
        found |= {"unlabelled"} if self.teaches_itself and self.briefing.state.pool else set()
        return found - {step.route for step in self.history}

    # The free steps

    def _start(self) -> None:
        start = time.perf_counter()
        self.teller.say(0, "labelled")
        if self.splits.decide:
            self.decider.check_score()
        step = Step(0, "labelled", n_accepted=len(self.labelled))
        self._record(self._finish(step, self.choice.current, start))

    def _learn_names(self) -> None:
        if "names" in self._list_free():
            names = write_names(
                self.classes.tolist(), self.task.descriptions, multilabel=self.task.multilabel
            )
            self._decide("names", drop_contrary(names, self.labelled))

    def _learn_logs(self) -> None:
        logs = self.task.logs
        if logs is not None and "logs" in self._list_free():
            judged = judge_logs(logs, self.classes.tolist(), self.curator, len(self.history))
            self._decide("logs", judged, rejected=count_reasons(judged))

    def _learn_from_pool(self) -> None:
        if "unlabelled" in self._list_free():
            start = time.perf_counter()
            pool = draw_pool(self.briefing.state.pool, self.seed)
            self.teller.say(len(self.history), "unlabelled")
            factor = self.choice.find_factors("unlabelled")[0]
            part = self_train(self.decider, self.choice.current, pool, factor)
            self._decide("unlabelled", part.texts, part, start=start)

    # What the teacher brings

    def _run_teacher(self) -> str:
        if self.buyer is None:
            return "no_teacher"
        if not self.is_probed:
            self._ask_probe(self.buyer)
        while (reason := self._find_reason_to_stop(self.buyer)) is None:
            route = self.allocator.choose()
            assert route is not None
            self._run_cycle(route, self.buyer)
        if reason == "budget" and self.buyer.is_cost_hidden:
            self._warn(HIDDEN_COST, "")
        return reason

    def _ask_probe(self, buyer: Buyer) -> None:
        wanted = self.evidence.probe_size and self.settings.max_cycles and buyer.can_annotate
        if not wanted or not self.splits.shown or not self.allocator.accounts:
            return
        state, shown = self.briefing.state, self.decider.shown
        own = self.decider.predict_shown(self.choice.current)
        requests = draft_probe(buyer, state, shown, own, size=self.evidence.probe_size)
        self.teller.say(len(self.history), "probe", "asking", len(requests))
        self.probe = ask_probe(buyer, requests, state, shown, own)
        self.is_probed = True
        if self.probe is not None and not self.probe.weight:
            self.allocator.close("label")
        self._keep()
        if self.probe is not None:
            self.emit(Event("probe", self.probe))

    def _find_reason_to_stop(self, buyer: Buyer) -> str | None:
        if self.probe is not None and self.probe.is_useless:
            return "probe"
        if buyer.is_budget_spent():
            return "budget"
        if self.n_cycles >= self.settings.max_cycles:
            return "max_cycles"
        if self.allocator.choose() is None:
            return "patience" if self.n_cycles else "exhausted"
        return None

    def _run_cycle(self, route: str, buyer: Buyer) -> None:
        """Evaluate, let the sampler decide what to ask for, ask, curate, learn what helps."""
        start, bill = time.perf_counter(), (buyer.usage, buyer.saved)
        number = len(self.history)
        rng = np.random.default_rng([self.seed, number])
        requests = self.briefing.propose(route, number, self.choice.current, rng)
        if not requests:
            self.allocator.close(route)
            return
        self.teller.say(number, route, "asking", len(requests))
        generations = buyer.ask(requests)
        judged = self.curator.judge(generations, number)
        part = None
        if route == "describe":
            judged = [replace(text, source="description") for text in judged]
        if route == "label":
            weight = DEFAULT_WEIGHT if self.probe is None else self.probe.weight
            state, current = self.briefing.state, self.choice.current
            judged, part = label_softly(
                judged, generations, state, self.decider, current, weight=weight
            )
        usage, saved = buyer.usage - bill[0], buyer.saved - bill[1]
        self._decide(
            route,
            judged,
            part,
            start=start,
            then=partial(self._remember, generations, judged),
            n_requested=sum(request.n_texts for request in requests),
            rejected=count_rejected(generations, judged),
            usage=usage,
            saved=saved,
        )

    def _remember(
        self, generations: Sequence[Generation], judged: Sequence[SyntheticText], step: Step
    ) -> None:
        """Keep what later batches need to know of this one."""
        route, taken = step.route, step.taken
        gain = step.comparison.gain if step.comparison else 0.0
        is_judged = self.splits.decide or not taken
        self.allocator.book(route, step.usage + step.saved, gain if is_judged else None)
        if route == "describe":  # each class once
            self.allocator.close(route)
            self.briefing.adopt_descriptions(generations if taken else ())
        if route == "write":
            self.briefing.remember(generations, judged, self.choice.current)
        self.briefing.drop_from_pool(generations)
        if not self.briefing.state.pool:
            self.allocator.close("label")

    # Bookkeeping

    def _decide(
        self,
        route: str,
        texts: Sequence[SyntheticText],
        part: Part | None = None,
        *,
        start: float | None = None,
        then: Callable[[Step], None] | None = None,
        **bill: Any,
    ) -> None:
        """Learn all that a route has brought, at the best weight, if that helps."""
        start = time.perf_counter() if start is None else start
        number = len(self.history)
        self.teller.say(number, route)
        texts = [replace(text, cycle=number) for text in texts]
        fit = [text for text in texts if text.verdict == "accepted"]
        if part is not None:
            part = replace(part, texts=tuple(replace(text, cycle=number) for text in part.texts))
        trial = self.choice.try_out(route, fit, part)
        step = Step(
            number,
            route,
            taken=trial.taken,
            comparison=trial.comparison,
            factor=trial.factor,
            n_generated=len(texts),
            n_accepted=len({text.text for text in fit}),
            feedback_report=self.briefing.feedback_report,
            diversity=measure_texts(fit),
            **bill,
        )
        step = self._finish(step, trial.current, start)
        # All is computed: an interruption finds the run before the step or after it.
        self.choice.adopt(trial)
        self.synthetic += texts
        self._record(step, then)

    def _make_decider(self, student: Any) -> Decider:
        multilabel, tick = self.task.multilabel, self.teller.tick
        learner = Learner(
            student, self.classes, multilabel=multilabel, seed=self.seed, on_trained=tick
        )
        return Decider(learner, self.labelled, self.splits, self.settings.scoring, self.seed)

    def _finish(self, step: Step, current: TrainingSet, start: float) -> Step:
        """Add what is known of a training set after a step, and how long the others may take."""
        if self.splits.decide:
            score, report = self.decider.score(current), self.decider.report(current)
            step = replace(step, score=score, report=report)
        step = replace(step, seconds=time.perf_counter() - start)
        if self.buyer is None:
            return replace(step, seconds_left=0.0)
        n_left = self.settings.max_cycles - self.n_cycles - (step.route in PAID)
        n_left = n_left if self.allocator.choose() else 0
        return replace(step, seconds_left=estimate_seconds([*self.history, step], n_left))

    def _record(self, step: Step, then: Callable[[Step], None] | None = None) -> None:
        self.history.append(step)
        if self.buyer is not None:
            self.buyer.pending.clear()
        if then is not None:
            then(step)
        self._keep()
        self.emit(Event("step", step))

    def _keep(self) -> None:
        if self.checkpoint is not None:
            self.checkpoint.write(take_snapshot(self))

    def _warn(self, what: str, then: str = GOES_ON) -> None:
        warnings.warn(
            f"{what.rstrip('.')}. The student learns what had been found to help by step "
            f"{len(self.history) - 1}.{then}",
            stacklevel=5,
        )
