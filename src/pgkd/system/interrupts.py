"""What Ctrl-C does where it would come at a bad moment."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_handlers: list[Callable[[], None]] = []


@contextlib.contextmanager
def on_interrupt(handle: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-C call `handle` inside, which may raise KeyboardInterrupt; the innermost counts.

    Nothing changes in threads, which get no signals, and where Ctrl-C is ignored or handled by
    others.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, _call):
        yield
        return
    try:
        _handlers.append(handle)
        signal.signal(signal.SIGINT, _call)
        yield
    finally:
        _handlers.remove(handle)
        if not _handlers:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _call(number: int, frame: Any) -> None:
    _handlers[-1]()
