"""What happens, for who looks on: a line that lives, and a line for each step that is done."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

from sklearn.base import BaseEstimator

from pgkd.inputs.text import make_visible
from pgkd.records import Begin, Event, Generation, Probe, Progress, Step, Usage
from pgkd.reporting.wording import ROUTES, STOP_REASONS

#: Characters of a line in a notebook.
NOTEBOOK_WIDTH = 100


class PrintProgress(BaseEstimator):  # type: ignore[misc]
    """Print what happens: a line a step and, at `verbose` 2, one for each answer of the teacher.

    In a terminal a line below them lives, in a notebook one above them: what is being done, the
    score so far against that of the labelled texts alone, texts learnt, money spent, and the time
    left. Elsewhere a line is printed when the teacher begins to be asked.

    Parameters
    ----------
    verbose : int, default=1

    Examples
    --------
    >>> from pgkd.callbacks import PrintProgress
    >>> from pgkd.records import Event
    >>> PrintProgress().on_event(Event("end", "no_teacher"))
    stopped because there is no teacher, and all that is free was tried
    """

    def __init__(self, verbose: int = 1) -> None:
        self.verbose = verbose

    def __enter__(self) -> PrintProgress:
        self._state = _State()
        self._line = _open_line()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._state.ended = "done" if kind is None else "failed"
        self._line.show(str(self._state))
        self._line.close()
        del self._line, self._state

    def on_event(self, event: Event) -> None:
        """Print `event`."""
        value = event.value
        if isinstance(value, Begin):
            self._scoring = value.scoring
        elif isinstance(value, Progress):
            self._print_progress(value)
        elif isinstance(value, Step):
            _print(format_step(value, getattr(self, "_scoring", "score")))
        elif isinstance(value, Generation) and self.verbose > 1:
            wanted = value.request.n_texts
            what = value.error or f"{len(value.examples)} of {wanted} texts"
            _print(f"  request {value.request.id}: {what}")
        elif isinstance(value, Probe):
            _print(value.verdict)
        elif isinstance(value, str) and value != "error":  # which says itself what it is
            _print(f"stopped because {STOP_REASONS.get(value, value)}")
        if hasattr(self, "_line"):
            self._state.hear(event)
            self._line.show(str(self._state))

    def _print_progress(self, at: Progress) -> None:
        if at.doing == "resuming":
            _print(f"goes on after step {at.number}, where the same run was left; until then:")
        elif at.doing == "repeating":
            _print("the same run is finished already, and nothing is bought again; it went:")
        elif at.doing == "asking" and at.n_requests and not _is_live():
            _print(f"asking the teacher: {at.n_requests} requests")


def _print(line: str) -> None:
    # A server's errors and a teacher's reasons may hold what a terminal obeys.
    line = make_visible(line)
    if _is_notebook():  # which breaks long lines in the middle of a word
        line = line.replace("95 %", "95\N{NO-BREAK SPACE}%")
        line = textwrap.fill(line, NOTEBOOK_WIDTH, subsequent_indent="  ", break_long_words=False)
    print(line, flush=True)  # noqa: T201


class _State:
    """What the live line says."""

    def __init__(self) -> None:
        self.at: Progress | None = None
        self.ended = ""
        self.metric = ""
        self.max_cost: float | None = None
        self.scores: list[float] = []
        self.n_learnt = self.n_answers = 0
        self.usage = Usage()
        self.seconds_left: float | None = None

    def hear(self, event: Event) -> None:
        """Take note of an event."""
        value = event.value
        if isinstance(value, Begin):
            self.metric, self.max_cost = value.scoring, value.max_cost
        elif isinstance(value, Progress):
            self.n_answers = self.n_answers if value == self.at else 0
            self.at = value
        elif isinstance(value, Generation):
            self.n_answers += 1
            self.usage += value.usage
        elif isinstance(value, Step):
            self.scores += [] if value.score is None else [value.score]
            self.n_learnt += value.n_accepted if value.taken else 0
            self.seconds_left = value.seconds_left

    def __str__(self) -> str:
        return " · ".join(filter(None, self._parts()))

    def _parts(self) -> Iterator[str]:
        at = self.at
        if self.ended:
            yield self.ended
        elif at is None:
            yield "preparing"
        elif at.doing in ("resuming", "repeating"):
            yield f"going on after step {at.number}"
        elif at.doing == "finishing":
            yield "training on all that was taken"
        else:
            yield f"step {at.number}, {ROUTES.get(at.route, at.route)}"
            if at.doing == "asking":
                of = f" of {at.n_requests}" if at.n_requests else ""
                yield f"{self.n_answers}{of} answers"
            else:
                yield "training"
        if self.scores:
            gain = self.scores[-1] - self.scores[0]
            yield f"{self.metric} {self.scores[-1]:.3f} ({gain:+.3f})"
        if self.n_learnt:
            yield f"{self.n_learnt:,} texts"
        if self.usage.n_requests:
            cost = "price unknown" if self.usage.cost is None else f"${self.usage.cost:.2f}"
            yield cost if self.max_cost is None else f"{cost} of ${self.max_cost:.2f}"
        if not self.ended:
            yield _format_left(self.seconds_left)


class _NoLine:
    """In a file or a pipe nothing lives."""

    def show(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Close nothing."""


class _TerminalLine(_NoLine):
    """Rich's, with a clock that ticks by itself; what is printed goes above it."""

    def __init__(self) -> None:
        from rich.console import Console  # which typer brings
        from rich.progress import Progress as Display
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        # What is too long is cut at its end, and the clock stays whole.
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        text = TextColumn("{task.description}", markup=False, table_column=rest)
        columns = SpinnerColumn(), TimeElapsedColumn(table_column=Column(no_wrap=True)), text
        self._display = Display(*columns, console=Console(), transient=True, expand=True)
        self._task = self._display.add_task("preparing", total=None)
        self._display.start()

    def show(self, text: str) -> None:
        self._display.update(self._task, description=text)

    def close(self) -> None:
        self._display.stop()


class _NotebookLine(_NoLine):
    """An output that is written anew in its place; what is printed goes below it.

    It needs no widgets, and a saved notebook keeps its last line alone.
    """

    def __init__(self) -> None:
        from IPython.display import display

        self._start = time.monotonic()
        self._display = display({"text/plain": "preparing"}, raw=True, display_id=True)

    def show(self, text: str) -> None:
        if self._display is not None:  # a kernel whose display is another's
            line = f"{format_seconds(time.monotonic() - self._start)} · {text}"
            self._display.update({"text/plain": line}, raw=True)


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython: Any = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


def _is_live() -> bool:
    """Whether a line that lives can be seen."""
    return _is_notebook() or sys.stdout.isatty()


def _open_line() -> _NoLine:
    """Open a line where one can be seen."""
    if not _is_live():
        return _NoLine()
    return _NotebookLine() if _is_notebook() else _TerminalLine()


def format_seconds(seconds: float) -> str:
    """Format a time as a reader says it.

    Examples
    --------
    >>> from pgkd.callbacks.progress import format_seconds
    >>> format_seconds(42), format_seconds(170), format_seconds(7300)
    ('42 s', '3 min', '2.0 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _format_left(seconds: float | None) -> str:
    """Say how long the rest takes, if that is known and any time at all."""
    return f"at most {format_seconds(seconds)} left" if seconds and seconds >= 0.5 else ""


def format_step(step: Step, scoring: str = "score") -> str:
    """Format a step as one line.

    Examples
    --------
    >>> from pgkd.callbacks.progress import format_step
    >>> from pgkd.records import Step
    >>> format_step(Step(0, "labelled", score=0.8, n_accepted=60, seconds=2.0), "accuracy")
    'labelled texts alone: 60 texts; accuracy 0.800 out of fold; 2.0 s'
    >>> from pgkd.records import Comparison
    >>> own = Comparison("accuracy", 0.8, 0.82, 0.008, 0.05, 0.02, 0.3, 60)
    >>> step = Step(1, "names", score=0.82, comparison=own, n_accepted=6, seconds=0.1)
    >>> for part in format_step(step, "accuracy").split("; "):
    ...     print(part)
    names of the classes: 6 texts, taken at weight 1
    expected gain +0.013
    accuracy 0.820, +0.020 (95 %: +0.004 to +0.036)
    log loss falls by 0.050
    0.1 s
    """
    parts = [f"{ROUTES.get(step.route, step.route)}: {step.n_accepted} texts"]
    if step.n_requested:
        parts[0] += f" of {step.n_requested}"
    own = step.comparison
    if own is not None:
        parts[0] += f", taken at weight {step.factor:g}" if step.taken else ", not taken"
        parts.append(f"expected gain {own.gain:+.3f}")
        would, score = "", own.after if step.score is None else step.score
        if not step.taken:  # some of the folds are enough to turn it down
            would, score = "would be ", score + own.after - own.before
        parts.append(f"{scoring} {would}{score:.3f}, {own.difference}")
        parts.append(own.log_loss_change)
    elif step.score is not None:
        parts[0] += ", not taken" if step.number and not step.taken else ""
        parts.append(f"{scoring} {step.score:.3f} out of fold")
    if step.rejected:
        parts.append("rejected " + ", ".join(f"{n} {why}" for why, n in step.rejected.items()))
    if step.usage.n_requests:
        cost = "price unknown" if step.usage.cost is None else f"${step.usage.cost:.4f}"
        parts.append(f"{step.usage.input_tokens} + {step.usage.output_tokens} tokens, {cost}")
    seconds = [f"{step.seconds:.1f} s", _format_left(step.seconds_left)]
    return "; ".join([*parts, ", ".join(filter(None, seconds))])
