"""What a run tells of itself while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from pgkd.loop.task import Settings, Task
from pgkd.records import Begin, Event, Progress


class Teller:
    """Says what a run is at.

    Parameters
    ----------
    emit : callable
        Called with each `Event`.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._at = Progress(0, "labelled", "training")

    def begin(self, task: Task, settings: Settings) -> None:
        """Say what the run begins with."""
        parameters = {own.name: getattr(settings, own.name) for own in fields(settings)}
        begin = Begin(
            {name: repr(value) for name, value in parameters.items() if name != "callbacks"},
            n_labelled=len(task.labelled),
            n_unlabelled=len(task.pool),
            n_classes=len(task.classes),
            scoring=settings.scoring if isinstance(settings.scoring, str) else "score",
            max_cost=settings.max_cost,
        )
        self._emit(Event("begin", begin))

    def say(self, number: int, route: str, doing: str = "training", n_requests: int = 0) -> None:
        """Say what is being done for a step."""
        self._at = Progress(number, route, doing, n_requests)
        self._emit(Event("progress", self._at))

    def tick(self) -> None:
        """Say that one more training of the same is done."""
        self._emit(Event("progress", self._at))
