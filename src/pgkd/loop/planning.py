"""What a run will buy, before anything is spent."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pgkd.evaluation.report import make_predictions, make_report
from pgkd.inputs.labels import indicate
from pgkd.loop.distillation import Distillation
from pgkd.loop.probe import draft_probe
from pgkd.records import AnnotationRequest, Feedback, State, Usage
from pgkd.records.table import write_table
from pgkd.samplers import UnguidedSampler, describe_classes
from pgkd.teachers.base import LLMTeacher, Request
from pgkd.teachers.prompts.replies import answer_schema
from pgkd.teachers.transport.http import HTTPTeacher

#: UTF-8 bytes in a token, in prose and in what tokenizers cut small. Counted in bytes, scripts of
#: few and of many bytes a character come out alike.
BYTES_PER_TOKEN = (4.5, 2.5)
#: A generated text's length against the labelled ones'.
LENGTH_RATIO = (0.7, 2.0)
#: Quotes, commas and white space around a text in an answer, in tokens.
TOKENS_AROUND_TEXT = (2, 5)
#: An answer's letter, the number of its text and what is around them, in tokens.
TOKENS_PER_LABEL = (2, 12)
#: Batches that are drafted for the longest one.
N_DRAWS = 3


@dataclass(frozen=True, repr=False)
class Plan:
    """What `fit` will buy, at least and at most.

    Attributes
    ----------
    n_requests, input_tokens, output_tokens : tuple of (int, int)
        At least: if the probe says that the teacher cannot help. Reasoning tokens, retries and what
        is asked for again after a broken answer come on top.
    cost : tuple of (float, float) or None
        US dollars; ``None`` when the price is not known.
    notes : tuple of str
        What the figures mean, and what `fit` still lacks: a sentence each.

    Examples
    --------
    >>> from pgkd.loop.planning import Plan
    >>> from pgkd.records import Usage
    >>> plan = Plan((60, 200), (30_000, 120_000), (6_000, 40_000), (0.02, 0.11))
    >>> print(plan)  # doctest: +NORMALIZE_WHITESPACE
    60 to 200 requests, 30,000 to 120,000 input tokens, 6,000 to 40,000 output tokens,
    $0.02 to $0.11
    >>> print(plan.compare(Usage(100, 60_000, 9_000, cost=0.05)))
    requests: 100, planned 60 to 200
    input tokens a request: 600, planned 500 to 600, error +9 %
    output tokens a request: 90, planned 100 to 200, error -40 %
    cost: $0.05, planned $0.02 to $0.11
    """

    n_requests: tuple[int, int]
    input_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    cost: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> str:
        """Requests, tokens and US dollars, in a line."""
        requests = f"{_range(self.n_requests)} requests"
        if self.n_requests[1] and not self.input_tokens[1]:
            return f"{requests}, tokens and price unknown"
        return (
            f"{requests}, {_range(self.input_tokens)} input tokens, "
            f"{_range(self.output_tokens)} output tokens, {_dollars(self.cost)}"
        )

    def __str__(self) -> str:
        return "\n".join([self.figures, *self.notes])

    def __repr__(self) -> str:
        return f"Plan({self.figures})"

    def _repr_html_(self) -> str:
        """Show it as a table in a notebook."""
        counts = {
            "requests": self.n_requests,
            "input tokens": self.input_tokens,
            "output tokens": self.output_tokens,
        }
        rows = [(name, *(f"{end:,}" for end in ends)) for name, ends in counts.items()]
        cost = ("unknown",) * 2 if self.cost is None else [f"{end:.2f}" for end in self.cost]
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return write_table([("", "at least", "at most"), *rows, ("US dollars", *cost)]) + notes

    def compare(self, usage: Usage) -> str:
        """Set the bill beside the plan, with the error of the plan's middle a request."""
        n = max(usage.n_requests, 1)
        lines = [f"requests: {usage.n_requests}, planned {_range(self.n_requests)}"]
        for name, planned, taken in (
            ("input", self.input_tokens, usage.input_tokens / n),
            ("output", self.output_tokens, usage.output_tokens / n),
        ):
            low, high = (total / max(m, 1) for total, m in zip(planned, self.n_requests))
            error = taken / ((low + high) / 2) - 1 if high else math.nan
            lines.append(
                f"{name} tokens a request: {taken:.0f}, planned {low:.0f} to {high:.0f}, "
                f"error {error:+.0%}".replace("%", " %")
            )
        bill = "unknown" if usage.cost is None else f"${usage.cost:.2f}"
        return "\n".join([*lines, f"cost: {bill}, planned {_dollars(self.cost)}"])


def make_plan(run: Distillation) -> Plan:
    """Plan a `Distillation` that has not been started.

    At least: the probe, and nothing after it. At most: the probe, a description of each class, and
    batches of the dearest route.
    """
    own = run.settings.teacher
    if isinstance(own, LLMTeacher):
        own.check_price(run.settings.max_cost)
    if run.buyer is None or not run.settings.max_cycles:
        zero = (0, 0)
        return Plan(zero, zero, zero, (0.0, 0.0))
    # Near texts are found by their letters, and no encoder is fetched: they are about as long.
    state = replace(run.briefing.state, embed=None)
    batches = _write_batches(run, state)
    probe = _write_probe(run, state)
    usages = []
    for end in (0, 1):
        usage = _count(run, probe, end)
        counts = {route: _count(run, requests, end) for route, requests in batches.items()}
        if end and counts:
            n_left = run.settings.max_cycles
            if "describe" in counts:
                usage += counts.pop("describe")
                n_left -= 1
            repeated = list(counts.values())
            if repeated:
                usage += sum(n_left * [max(repeated, key=_count_tokens)], Usage())
        elif not probe and counts:  # nothing is known before the first batch
            usage += min(counts.values(), key=_count_tokens)
        usages.append(usage)
    low, high = usages
    teacher = run.buyer.teacher
    costs = [teacher.cost(u) if isinstance(teacher, LLMTeacher) else None for u in usages]
    return Plan(
        (low.n_requests, high.n_requests),
        (low.input_tokens, high.input_tokens),
        (low.output_tokens, high.output_tokens),
        None if costs[0] is None or costs[1] is None else (costs[0], costs[1]),
        tuple(_explain(own, low, high, is_probed=bool(probe))),
    )


def _explain(teacher: Any, low: Usage, high: Usage, *, is_probed: bool) -> Iterator[str]:
    """Say what the figures mean, and what `fit` still lacks."""
    if low.n_requests < high.n_requests:
        least = "the probe alone, if it finds the teacher of no use" if is_probed else "one batch"
        yield f"The least is {least}; the most is all the batches of `max_cycles`."
    if isinstance(teacher, LLMTeacher):
        yield "Tokens of reasoning come on top, if the teacher reasons."
    if isinstance(teacher, HTTPTeacher) and teacher.lacks_key:
        yield f"No key yet: `fit` needs {teacher.key_variable} or `api_key`."


def _count_tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens or usage.n_requests


def _write_batches(run: Distillation, state: State) -> dict[str, list[Request]]:
    """Write the requests of a batch on each route, the longest of some that it may come to.

    The evidence that a prompt carries, and how a batch is shared out, depend on a student that is
    not trained yet: it may be always wrong, always right, or wrong about one class.
    """
    n_classes = len(run.classes)
    pool = np.full((len(state.pool), n_classes), 1 / n_classes)
    state = replace(state, cycle=1, pool_probabilities=pool)
    states = [state]
    if len(run.decider.visible):
        states = [
            replace(state, feedback=_make_feedback(run, n_wrong)) for n_wrong in (n_classes, 1, 0)
        ]
    batches: dict[str, list[Request]] = {}
    for route in run.allocator.accounts:
        batches[route] = max(
            (_propose(run, route, own, seed) for own in states for seed in range(N_DRAWS)), key=len
        )
    return batches


def _propose(run: Distillation, route: str, state: State, seed: int) -> list[Request]:
    rng = np.random.default_rng(seed)
    if route == "describe":
        return list(describe_classes(state, rng))
    sampler = run.briefing.samplers[route]
    if route == "write" and state.feedback is None:
        sampler = UnguidedSampler()
    return list(sampler.propose(state, run.settings.samples_per_cycle, rng))


def _write_probe(run: Distillation, state: State) -> list[Request]:
    """Write the requests of the probe, for a student that is not trained yet."""
    buyer = run.buyer
    size = run.evidence.probe_size
    if buyer is None or not buyer.can_annotate or not run.splits.shown or not size:
        return []
    rng = np.random.default_rng(run.seed)
    texts = run.decider.shown
    probabilities = rng.random((len(texts), len(run.classes)))
    return list(draft_probe(buyer, state, texts, probabilities, size=size))


def _count(run: Distillation, requests: Sequence[Request], end: int) -> Usage:
    """Count requests and their tokens, at least (`end` 0) or at most (1)."""
    teacher = run.buyer.teacher if run.buyer else None
    if not isinstance(teacher, LLMTeacher):
        return Usage(len(requests), cost=None)
    n_bytes = sum(
        len(
            json.dumps(
                [teacher.render(request), answer_schema(request)], ensure_ascii=False
            ).encode()
        )
        for request in requests
    )
    texts = run.decider.visible.texts or list(run.briefing.state.pool[:100]) or [""]
    text_bytes = float(np.mean([len(text.encode()) for text in texts]))
    label_bytes = float(np.mean([len(str(label).encode()) for label in run.classes]))
    n_tokens = 0.0
    for request in requests:
        if isinstance(request, AnnotationRequest):
            n_tokens += request.n_texts * TOKENS_PER_LABEL[end]
            continue
        item_bytes = text_bytes * LENGTH_RATIO[end]
        item_tokens = item_bytes / BYTES_PER_TOKEN[end] + TOKENS_AROUND_TEXT[end]
        if request.choices:  # the labels are written with each text
            n_labels = np.mean([len(example.labels) for example in run.briefing.state.examples])
            label_tokens = label_bytes / BYTES_PER_TOKEN[end] + TOKENS_AROUND_TEXT[end]
            item_tokens += TOKENS_AROUND_TEXT[end] + float(n_labels) * label_tokens
        n_tokens += request.n_texts * item_tokens
    return Usage(len(requests), round(n_bytes / BYTES_PER_TOKEN[end]), round(n_tokens), cost=None)


def _make_feedback(run: Distillation, n_wrong: int) -> Feedback:
    """Make the feedback of a student that is wrong about the first classes."""
    own = run.decider.visible
    true = indicate(own.y, run.classes)
    wrong = true[:, :n_wrong].any(axis=1)
    probabilities = true.astype(float)
    probabilities[wrong] = np.roll(probabilities[wrong], 1, axis=1)
    return Feedback(
        make_predictions(own.texts, own.y, probabilities, run.classes),
        make_report(own.y, probabilities, run.classes),
        probabilities=probabilities,
    )


def _range(numbers: tuple[int, int]) -> str:
    low, high = numbers
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _dollars(cost: tuple[float, float] | None) -> str:
    if cost is None:
        return "price unknown"
    low, high = (f"${value:.2f}" for value in cost)
    return low if low == high else f"{low} to {high}"
