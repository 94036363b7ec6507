"""Callbacks follow a run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from sklearn.base import BaseEstimator

from pgkd.protocols import Callback
from pgkd.records import Event, Generation, Probe, Step
from pgkd.reporting.wording import ROUTES
from pgkd.system.ranks import is_main_process


class PrintProgress(BaseEstimator):  # type: ignore[misc]
    """Print what happens: a line a step and, at `verbose` 2, one for each answer of the teacher.

    Parameters
    ----------
    verbose : int, default=1
    """

    def __init__(self, verbose: int = 1) -> None:
        self.verbose = verbose

    def on_event(self, event: Event) -> None:
        """Print `event`."""
        value = event.value
        if isinstance(value, Step):
            print(format_step(value), flush=True)  # noqa: T201
        elif isinstance(value, Generation) and self.verbose > 1:
            wanted = value.request.n_texts
            what = value.error or f"{len(value.examples)} of {wanted} texts"
            print(f"  request {value.request.id}: {what}", flush=True)  # noqa: T201
        elif isinstance(value, Probe):
            print(value.verdict, flush=True)  # noqa: T201
        elif isinstance(value, str):
            print(f"stopped: {value}", flush=True)  # noqa: T201


def notify(event: Event, *, callbacks: Sequence[Callback], verbose: int) -> None:
    """Tell the callbacks of the main process what happens; one that raises ends nothing."""
    if not is_main_process():
        return
    printer = [PrintProgress(verbose)] if verbose else []
    for callback in [*printer, *callbacks]:
        try:
            callback.on_event(event)
        except Exception as error:  # what was paid for must not be lost to it
            warnings.warn(f"{callback!r} raised {error!r}.", stacklevel=4)


def format_step(step: Step) -> str:
    """Format a step as one line.

    Examples
    --------
    >>> from pgkd.callbacks import format_step
    >>> from pgkd.records import StudentReport, Step
    >>> report = StudentReport(0.8, 0.75, 0.5, {}, {})
    >>> format_step(Step(0, "labelled", score=0.8, report=report, n_accepted=60, seconds=2.0))
    'labelled texts alone: 60 texts; accuracy 0.800, macro F1 0.750 out of fold; 2.0 s'
    """
    parts = [f"{ROUTES.get(step.route, step.route)}: {step.n_accepted} texts"]
    if step.n_requested:
        parts[0] += f" of {step.n_requested}"
    if step.rejected:
        parts.append("rejected " + ", ".join(f"{n} {why}" for why, n in step.rejected.items()))
    own = step.comparison
    if own is not None:
        low, high = own.interval
        parts.append(
            f"gain {own.after - own.before:+.3f} ({low:+.3f} to {high:+.3f}), "
            + (f"taken at weight {step.factor:g}" if step.taken else "not taken")
        )
    if step.report is not None:
        parts.append(
            f"accuracy {step.report.accuracy:.3f}, macro F1 {step.report.f1_macro:.3f} out of fold"
        )
    if step.usage.n_requests:
        cost = "price unknown" if step.usage.cost is None else f"${step.usage.cost:.4f}"
        parts.append(f"{step.usage.input_tokens} + {step.usage.output_tokens} tokens, {cost}")
    seconds = f"{step.seconds:.1f} s"
    if step.seconds_left:
        seconds += f", at most {step.seconds_left:.0f} s left"
    return "; ".join([*parts, seconds])
