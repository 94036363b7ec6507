"""What a run will buy, before anything is spent."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np

from pgkd.annotating import make_requests
from pgkd.audit import draft_audit
from pgkd.distillation import Distillation
from pgkd.evaluation import make_predictions, make_report
from pgkd.label_sets import indicate
from pgkd.records import Feedback, GenerationRequest, Usage
from pgkd.teachers.base import LLMTeacher, Request, answer_schema

#: UTF-8 bytes in a token, in prose and in what tokenizers cut small. Counted in bytes, scripts of
#: few and of many bytes a character come out alike.
BYTES_PER_TOKEN = (4.5, 2.5)
#: A generated text's length against the labelled ones'.
LENGTH_RATIO = (0.7, 2.0)
#: Quotes, commas and white space around a text or a label in an answer, in tokens.
TOKENS_AROUND_TEXT = (2, 5)


@dataclass(frozen=True)
class Plan:
    """What `fit` will buy, at least and at most.

    Attributes
    ----------
    n_requests, input_tokens, output_tokens : tuple of (int, int)
        At least: if patience ends the run as early as it can. Reasoning tokens, retries and what is
        asked for again after a broken answer come on top.
    cost : tuple of (float, float) or None
        US dollars; ``None`` when the price is not known.

    Examples
    --------
    >>> from pgkd.planning import Plan
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

    def __str__(self) -> str:
        return (
            f"{_range(self.n_requests)} requests, {_range(self.input_tokens)} input tokens, "
            f"{_range(self.output_tokens)} output tokens, {_dollars(self.cost)}"
        )

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
    """Plan a `Distillation` that has not been started."""
    n_cycles = (min(run.max_cycles, run.patience), run.max_cycles)
    usages = []
    for end, n in enumerate(n_cycles):
        once = _count(run, [*run.request_missing_classes(), *_write_audit(run)], end)
        usages.append(sum(n * [_count(run, _write_cycle(run, end), end)], once))
    low, high = usages
    teacher = run.buyer.teacher
    costs = [teacher.cost(u) if isinstance(teacher, LLMTeacher) else None for u in usages]
    return Plan(
        (low.n_requests, high.n_requests),
        (low.input_tokens, high.input_tokens),
        (low.output_tokens, high.output_tokens),
        None if costs[0] is None or costs[1] is None else (costs[0], costs[1]),
    )


def _write_cycle(run: Distillation, end: int) -> list[Request]:
    """Write the requests of a first cycle.

    The evidence that a prompt carries depends on a student that is not trained yet: at least, it is
    always right and none of the texts is fit to be verified; at most, it is always wrong and all
    are.
    """
    n_classes = len(run.classes)
    state = replace(
        run.state,
        cycle=1,
        feedback=_make_feedback(run, always_right=end == 0),
        pool_probabilities=np.full((len(run.state.pool), n_classes), 1 / n_classes),
    )
    rng = np.random.default_rng(run.seed)
    requests = list(run.sampler.propose(state, run.samples_per_cycle, rng))
    if run.verification is None or end == 0:
        return requests
    n_written = sum(r.n_texts for r in requests if isinstance(r, GenerationRequest))
    texts = [math.ceil(LENGTH_RATIO[end]) * t for t in islice(cycle(run.train.texts), n_written)]
    return requests + make_requests(
        state,
        texts,
        rng.random((n_written, n_classes)),
        rng,
        prefix="v",
        n_candidates=run.n_candidates,
    )


def _write_audit(run: Distillation) -> list[Request]:
    """Write the requests of the audit, for a student that is not trained yet."""
    if not run.audit_size:
        return []
    rng = np.random.default_rng(run.seed)
    probabilities = rng.random((len(run.train), len(run.classes)))
    _, requests = draft_audit(
        run.state,
        run.train,
        probabilities,
        rng,
        size=run.audit_size,
        n_candidates=run.n_candidates,
    )
    return list(requests)


def _count(run: Distillation, requests: Sequence[Request], end: int) -> Usage:
    """Count requests and their tokens, at least (`end` 0) or at most (1)."""
    teacher = run.buyer.teacher
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
    text_bytes = float(np.mean([len(text.encode()) for text in run.train.texts]))
    label_bytes = float(np.mean([len(str(label).encode()) for label in run.classes]))
    n_tokens = 0.0
    for request in requests:
        written = isinstance(request, GenerationRequest)
        item_bytes = text_bytes * LENGTH_RATIO[end] if written else label_bytes
        item_tokens = item_bytes / BYTES_PER_TOKEN[end] + TOKENS_AROUND_TEXT[end]
        if (
            isinstance(request, GenerationRequest) and request.choices
        ):  # the labels are written with each text
            n_labels = np.mean([len(example.labels) for example in run.state.examples])
            label_tokens = label_bytes / BYTES_PER_TOKEN[end] + TOKENS_AROUND_TEXT[end]
            item_tokens += TOKENS_AROUND_TEXT[end] + float(n_labels) * label_tokens
        n_tokens += request.n_texts * item_tokens
    return Usage(len(requests), round(n_bytes / BYTES_PER_TOKEN[end]), round(n_tokens), cost=None)


def _make_feedback(run: Distillation, always_right: bool) -> Feedback:
    probabilities = indicate(run.train.y, run.classes).astype(float)
    if not always_right:
        probabilities = np.roll(probabilities, 1, axis=1)
    return Feedback(
        make_predictions(run.train.texts, run.train.y, probabilities, run.classes),
        make_report(run.train.y, probabilities, run.classes),
        probabilities=probabilities,
    )


def _range(numbers: tuple[int, int]) -> str:
    return f"{numbers[0]:,} to {numbers[1]:,}"


def _dollars(cost: tuple[float, float] | None) -> str:
    return "price unknown" if cost is None else f"${cost[0]:.2f} to ${cost[1]:.2f}"
