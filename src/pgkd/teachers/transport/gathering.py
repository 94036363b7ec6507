"""Requests that are made one by one and served together."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from pgkd.exceptions import TeacherError

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class _Group(Generic[T, R]):
    items: list[T] = field(default_factory=list)
    results: Sequence[R | TeacherError] = ()
    served: anyio.Event = field(default_factory=anyio.Event)


class Gatherer(Generic[T, R]):
    """Collect items until no further one comes for a moment, and serve them together.

    Parameters
    ----------
    serve : coroutine function
        Returns for each item its result or the error that its caller gets, in order. A
        :class:`~pgkd.exceptions.TeacherError` that it raises goes to all of them.
    max_size : int
        Items that are served together.
    moment : float
        Seconds.

    Examples
    --------
    >>> import anyio
    >>> from pgkd.teachers.transport.gathering import Gatherer
    >>> async def serve(items):
    ...     print(items)
    ...     return [item.upper() for item in items]
    >>> async def main():
    ...     gatherer = Gatherer(serve, max_size=2, moment=0.01)
    ...     async with anyio.create_task_group() as tasks:
    ...         for item in "abc":
    ...             tasks.start_soon(gatherer.ask, item)
    >>> anyio.run(main)
    ['a', 'b']
    ['c']
    """

    def __init__(
        self,
        serve: Callable[[list[T]], Awaitable[Sequence[R | TeacherError]]],
        max_size: int,
        moment: float,
    ) -> None:
        self._serve = serve
        self._max_size = max_size
        self._moment = moment
        self._open: _Group[T, R] | None = None

    async def ask(self, item: T) -> R:
        """Return the item's result when its group has been served."""
        group = self._open = self._open or _Group()
        number = len(group.items)
        group.items.append(item)
        if len(group.items) == self._max_size:
            self._open = None
        if number == 0:  # whoever opens a group takes care of it
            await self._wait_for_more(group)
            try:
                group.results = await self._serve(group.items)
            except TeacherError as error:
                group.results = [error] * len(group.items)
            group.served.set()
        await group.served.wait()
        result = group.results[number]
        if isinstance(result, TeacherError):
            raise copy.copy(result) from result  # each caller writes into it what its tries took
        return result

    async def _wait_for_more(self, group: _Group[T, R]) -> None:
        n_before = 0
        while self._open is group and len(group.items) > n_before:
            n_before = len(group.items)
            await anyio.sleep(self._moment)
        if self._open is group:
            self._open = None
