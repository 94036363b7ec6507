"""Several processes that fit one classifier: rank 0 asks the teacher, and all get its answers.

``torchrun`` and ``accelerate launch`` start a script once for each GPU. Every process does what it
would do alone, with rank 0's texts, random state, answers and predictions, so that all decide
alike; a `TransformerStudent` is trained by all of them together.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import lru_cache
from itertools import repeat
from typing import Any, TypeVar

from pgkd.exceptions import PGKDError, TeacherError

T = TypeVar("T")

#: How long the others wait for the teacher: a provider's batch may take a day.
TIMEOUT = timedelta(days=7)
#: What launchers set for each process.
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def find_rank() -> tuple[int, int]:
    """Return this process's rank, and the number of processes; torch is not imported for it."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    if all(name in os.environ for name in VARIABLES):
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def is_main_process() -> bool:
    """Whether this process asks the teacher, calls callbacks and writes files."""
    return find_rank()[0] == 0


def broadcast(value: T) -> T:
    """Return rank 0's value in all processes, which must all call this."""
    rank, n_processes = find_rank()
    if n_processes == 1:
        return value
    import torch.distributed

    values = [value]
    try:
        torch.distributed.broadcast_object_list(values, src=0, group=_get_group())
    except RuntimeError as error:
        raise PGKDError(
            f"Rank {rank} cannot reach the other processes, of which one has ended or not begun: "
            "see what that one says, and call `fit` in all of them."
        ) from error
    return value if rank == 0 else values[0]


def share(ask: Callable[[], Iterable[T]]) -> Iterator[T]:
    """Yield what ``ask()`` yields in rank 0, as it comes in, in all processes.

    They stop at the same answer, because they do the same; and what ends the answers in rank 0,
    Ctrl-C as well, is raised in all.
    """
    rank, n_processes = find_rank()
    if n_processes == 1:
        yield from ask()
        return
    outcomes: Any = _attempt(ask) if rank == 0 else repeat(None)
    interrupted: list[int] = []
    try:
        while True:
            outcome = outcomes.throw(KeyboardInterrupt) if interrupted else next(outcomes)
            with _hold_interrupts() as caught:
                outcome = broadcast(outcome)
            interrupted = caught if rank == 0 else []  # who tells the others
            kind, value = outcome
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        if rank == 0:
            outcomes.close()  # calls off what is still in flight


def check_shared(error: BaseException) -> None:
    """Raise an error from which this process cannot go on alone, in the middle of a run.

    The others do not know of it, and would wait for what this process no longer takes part in. When
    it ends, the launcher ends them.
    """
    if find_rank()[1] > 1 and not getattr(error, "_is_shared", False):
        raise error


def _attempt(ask: Callable[[], Iterable[T]]) -> Iterator[tuple[str, Any]]:
    """Yield each answer, and how it ends."""
    try:
        for answer in ask():
            pickle.dumps(answer)
            yield "answer", answer
    except GeneratorExit:
        raise
    except BaseException as error:
        yield "error", _make_picklable(error)
    else:
        yield "end", None


def _make_picklable(error: BaseException) -> BaseException:
    """Return `error`, marked for `check_shared`, or one that says the same."""
    try:
        error._is_shared = True  # type: ignore[attr-defined]
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return _make_picklable(TeacherError(f"The teacher raised {error!r}."))


@contextlib.contextmanager
def _hold_interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C inside, as half a message would leave the other processes waiting."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # others get no signals
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _get_group() -> Any:
    import torch
    import torch.distributed

    if not torch.distributed.is_initialized():
        if torch.cuda.is_available():  # each process its own GPU, as accelerate has it
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        torch.distributed.init_process_group()  # a backend for each kind of device
    return _make_group(torch.distributed.group.WORLD)


@lru_cache(maxsize=1)
def _make_group(world: Any) -> Any:
    """Make a group for Python objects, on the CPU, that waits longer than training would."""
    import torch.distributed

    return torch.distributed.new_group(timeout=TIMEOUT, backend="gloo")
