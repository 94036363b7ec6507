"""Callbacks follow a run."""

from __future__ import annotations

from sklearn.base import BaseEstimator

from pgkd.records import Audit, Cycle, Event, Generation


class PrintProgress(BaseEstimator):  # type: ignore[misc]
    """Print what happens: a line a cycle and, at `verbose` 2, one for each answer of the teacher.

    Parameters
    ----------
    verbose : int, default=1
    """

    def __init__(self, verbose: int = 1) -> None:
        self.verbose = verbose

    def on_event(self, event: Event) -> None:
        """Print `event`."""
        value = event.value
        if isinstance(value, Cycle):
            print(format_cycle(value), flush=True)  # noqa: T201
        elif isinstance(value, Generation) and self.verbose > 1:
            wanted = value.request.n_texts
            what = value.error or f"{len(value.examples)} of {wanted} texts"
            print(f"  request {value.request.id}: {what}", flush=True)  # noqa: T201
        elif isinstance(value, Audit):
            print(f"audit: {value.verdict}", flush=True)  # noqa: T201
        elif isinstance(value, str):
            print(f"stopped: {value}", flush=True)  # noqa: T201


def format_cycle(cycle: Cycle) -> str:
    """Format a cycle as one line.

    Examples
    --------
    >>> from pgkd.callbacks import format_cycle
    >>> from pgkd.records import Cycle, StudentReport
    >>> format_cycle(Cycle(0, -0.5, StudentReport(0.8, 0.75, 0.5, {}, {}), seconds=2.0))
    'baseline: gate score -0.5000, accuracy 0.800, macro F1 0.750; 2.0 s'
    """
    name = f"cycle {cycle.number}" if cycle.number else "baseline"
    gate = cycle.gate_report
    line = (
        f"{name}: gate score {cycle.gate_score:.4f}, accuracy {gate.accuracy:.3f}, "
        f"macro F1 {gate.f1_macro:.3f}"
    )
    if cycle.number:
        usage = cycle.usage
        cost = "price unknown" if usage.cost is None else f"${usage.cost:.4f}"
        line += (
            f"{'' if cycle.kept else ' (rolled back)'}; texts {cycle.n_accepted} accepted of "
            f"{cycle.n_requested}; {usage.input_tokens} + {usage.output_tokens} tokens, {cost}"
        )
        if cycle.rejected:
            line += "; rejected " + ", ".join(f"{n} {why}" for why, n in cycle.rejected.items())
    return f"{line}; {cycle.seconds:.1f} s"
