"""What a run will buy, before anything is spent."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np

from pgkd.distillation import Distillation
from pgkd.evaluation import make_predictions, make_report
from pgkd.records import Feedback, Usage
from pgkd.teachers.base import LLMTeacher, answer_schema

#: UTF-8 bytes in a token, in prose and in what tokenizers cut small. Counted in bytes, scripts of
#: few and of many bytes a character come out alike.
BYTES_PER_TOKEN = (4.5, 2.5)
#: A generated text's length against the labelled ones'.
LENGTH_RATIO = (0.7, 2.0)
#: Quotes, commas and white space around a text in an answer, in tokens.
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
    # The evidence that a prompt carries depends on a student that is not trained yet: plan with
    # one that is always right, and with one that is always wrong.
    ends = [_plan_cycle(run, always_right) for always_right in (True, False)]
    n_cycles = (min(run.max_cycles, run.patience), run.max_cycles)
    usages = [
        Usage(n * u.n_requests, n * u.input_tokens, n * u.output_tokens, cost=None)
        for n, u in zip(n_cycles, ends)
    ]
    low, high = usages
    teacher = run.buyer.teacher
    costs = [teacher.cost(u) if isinstance(teacher, LLMTeacher) else None for u in usages]
    return Plan(
        (low.n_requests, high.n_requests),
        (low.input_tokens, high.input_tokens),
        (low.output_tokens, high.output_tokens),
        None if costs[0] is None or costs[1] is None else (costs[0], costs[1]),
    )


def _plan_cycle(run: Distillation, always_right: bool) -> Usage:
    """Write the requests of a first cycle, and count them."""
    end = 0 if always_right else 1
    n_classes = len(run.classes)
    state = replace(
        run.state,
        cycle=1,
        feedback=_make_feedback(run, always_right),
        pool_probabilities=np.full((len(run.state.pool), n_classes), 1 / n_classes),
    )
    requests = run.sampler.propose(state, run.samples_per_cycle, np.random.default_rng(run.seed))
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
    text_tokens = text_bytes * LENGTH_RATIO[end] / BYTES_PER_TOKEN[end] + TOKENS_AROUND_TEXT[end]
    return Usage(
        len(requests),
        round(n_bytes / BYTES_PER_TOKEN[end]),
        round(sum(request.n_texts for request in requests) * text_tokens),
        cost=None,
    )


def _make_feedback(run: Distillation, always_right: bool) -> Feedback:
    codes = np.searchsorted(run.classes, run.train.y)
    if not always_right:
        codes = (codes + 1) % len(run.classes)
    probabilities = np.eye(len(run.classes))[codes]
    return Feedback(
        make_predictions(run.train.texts, run.train.y, probabilities, run.classes),
        make_report(run.train.y, probabilities, run.classes),
        probabilities=probabilities,
    )


def _range(numbers: tuple[int, int]) -> str:
    return f"{numbers[0]:,} to {numbers[1]:,}"


def _dollars(cost: tuple[float, float] | None) -> str:
    return "price unknown" if cost is None else f"${cost[0]:.2f} to ${cost[1]:.2f}"
