"""Tell callbacks what happens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from pgkd.callbacks.progress import PrintProgress
from pgkd.protocols import Callback
from pgkd.records import Event
from pgkd.system.ranks import is_main_process


@contextmanager
def following(callbacks: Sequence[Callback], verbose: int) -> Iterator[Callable[[Event], None]]:
    """Have callbacks follow a run, those of the main process.

    One that raises is told no more, and ends nothing: what was paid for must not be lost to it.

    Yields
    ------
    emit : callable
        Called with each `Event`.
    """
    if not is_main_process():
        yield lambda event: None
        return
    printer = PrintProgress(verbose) if verbose else None
    told = [*filter(None, [printer]), *callbacks]

    is_open = False

    def emit(event: Event) -> None:
        nonlocal is_open
        if event.kind in ("begin", "end"):
            is_open = event.kind == "begin"
        for callback in list(told):
            try:
                callback.on_event(event)
            except Exception as error:
                told.remove(callback)
                warnings.warn(f"{callback!r} raised {error!r}: it is told no more.", stacklevel=4)

    with nullcontext() if printer is None else printer:
        try:
            yield emit
        except BaseException:
            if is_open:  # or a tracker would take the run for one that goes on
                emit(Event("end", "error"))
            raise
