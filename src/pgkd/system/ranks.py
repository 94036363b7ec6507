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
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from pgkd.exceptions import RankError, TeacherError
from pgkd.system.interrupts import on_interrupt

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
    """Return rank 0's value in all processes, which must all call this.

    Raises
    ------
    KeyboardInterrupt
        In all of them, if there was a Ctrl-C in rank 0 inside `end_together`.
    """
    rank, n_processes = find_rank()
    if n_processes == 1:
        return value
    received = _open(_send(_interrupts.take_error() or ("value", value)))
    return value if rank == 0 else received


def share(ask: Callable[[], Iterable[T]]) -> Iterator[T]:
    """Yield what ``ask()`` yields in rank 0, as it comes in, in all processes.

    They stop at the same answer, because they do the same; and what ends the answers in rank 0 is
    raised in all. That includes Ctrl-C, which comes where the next answer is waited for, and not
    while the last one is sent or used: so it is the teacher who decides what becomes of the
    answers under way. A second one comes at once.
    """
    is_alone = find_rank()[1] == 1
    interrupts = _Interrupts()
    answers = _begin(ask)
    try:
        with on_interrupt(interrupts.handle):
            while True:
                outcome = _take(answers, interrupts) if is_main_process() else None
                outcome = outcome if is_alone else _send(outcome)
                if outcome is None:
                    return
                yield _open(outcome)
    finally:
        answers.close()  # calls off what is still in flight
        if interrupts.is_noted:  # too late for the teacher
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def end_together() -> Iterator[None]:
    """Have Ctrl-C end all processes at one place inside: where rank 0 next tells the others things.

    Ended somewhere else, one would leave the others waiting. A second Ctrl-C ends rank 0 at once,
    and the others for its sake. In one process Ctrl-C does what it always does.
    """
    if find_rank()[1] == 1:
        yield
        return
    try:
        with on_interrupt(_interrupts.handle):
            yield
    finally:
        _interrupts.is_noted = False  # too late


def check_shared(error: BaseException) -> None:
    """Raise an error from which this process cannot go on alone, in the middle of a run.

    The others do not know of it, and would wait for what this process no longer takes part in. When
    it ends, the launcher ends them.
    """
    if find_rank()[1] > 1 and not getattr(error, "_is_shared", False):
        raise error


class _Interrupts:
    """Ctrl-C is noted, until it may come; a second one comes at once.

    Rank 0's counts alone: it tells the others.
    """

    def __init__(self) -> None:
        self.is_noted = False
        self.is_let = False  # whether it may come

    def handle(self) -> None:
        if not is_main_process():
            return
        if self.is_let or self.is_noted:
            self.is_noted = False
            raise KeyboardInterrupt
        self.is_noted = True

    def take_error(self) -> tuple[str, Any] | None:
        """Return the outcome that one was noted, once."""
        was_noted, self.is_noted = self.is_noted, False
        return ("error", _make_picklable(KeyboardInterrupt())) if was_noted else None


#: Of `end_together`.
_interrupts = _Interrupts()


def _begin(ask: Callable[[], Iterable[T]]) -> Generator[T]:
    yield from ask()


def _take(answers: Generator[T], interrupts: _Interrupts) -> tuple[str, Any] | None:
    """Return the next answer, or the error that ended them; ``None`` at their end."""
    was_noted, interrupts.is_noted = interrupts.is_noted, False
    interrupts.is_let = True
    try:
        answer = answers.throw(KeyboardInterrupt) if was_noted else next(answers)
        interrupts.is_let = False
        if find_rank()[1] > 1:
            pickle.dumps(answer)
        return "value", answer
    except StopIteration:
        return None
    except BaseException as error:
        return "error", error if find_rank()[1] == 1 else _make_picklable(error)
    finally:
        interrupts.is_let = False


def _open(outcome: tuple[str, Any]) -> Any:
    kind, value = outcome
    if kind == "error":
        raise value
    return value


def _send(outcome: T) -> T:
    """Return rank 0's outcome in all processes."""
    import torch.distributed

    outcomes = [outcome]
    try:
        torch.distributed.broadcast_object_list(outcomes, src=0, group=_get_group())
    except RuntimeError as error:
        raise RankError(
            f"Rank {find_rank()[0]} cannot reach the other processes, of which one has ended or "
            "not begun: see what that one says, and call `fit` in all of them. With `run_dir`, the "
            "same `fit` goes on where this one ended."
        ) from error
    return outcomes[0]


def _make_picklable(error: BaseException) -> BaseException:
    """Return `error`, marked for `check_shared`, or one that says the same."""
    try:
        error._is_shared = True  # type: ignore[attr-defined]
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return _make_picklable(TeacherError(f"The teacher raised {error!r}."))


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
