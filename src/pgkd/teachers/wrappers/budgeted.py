"""No more is spent than was allowed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from pgkd.exceptions import (
    InvalidInputError,
    PersistenceError,
    TeacherBudgetError,
    TeacherError,
)
from pgkd.records import Completion, Message, Usage
from pgkd.system.store import RunStore
from pgkd.teachers.base import AsyncComplete, LLMTeacher
from pgkd.teachers.parameters import ABOVE_ZERO, PATH
from pgkd.teachers.wrappers.base import WrapperTeacher


class BudgetedTeacher(WrapperTeacher):
    """Hold an LLM teacher to a budget that others may share.

    Before a request is sent, the most it may take is reserved, so that requests under way at the
    same time cannot overshoot together. One whose answer turns out longer than expected may exceed
    the budget by what it took itself. Where the cost of an answer is not known, because its server
    does not count tokens, what was reserved for it stays spent.

    Parameters
    ----------
    teacher : LLMTeacher
    path : str or path
        The SQLite file of the ledger. Teachers and processes with the same file share its budget.
    max_cost : float, default=None
        US dollars.
    max_tokens : int, default=None
        Input and output tokens together.

    Examples
    --------
    >>> import tempfile
    >>> from pgkd.records import Completion, GenerationRequest, Usage
    >>> from pgkd.teachers import BudgetedTeacher, FunctionTeacher
    >>> def my_llm(messages):
    ...     return Completion('{"ham": ["See you at noon."]}', Usage(1, 400, 20, cost=None))
    >>> path = tempfile.mkdtemp() + "/run.sqlite"
    >>> teacher = BudgetedTeacher(FunctionTeacher(my_llm), path, max_tokens=5_000)
    >>> requests = [GenerationRequest(f"1-{i}", {"ham": 1}) for i in range(1, 6)]
    >>> [bool(generation.error) for generation in teacher.generate(requests)]
    [False, False, True, True, True]
    """

    _rules = WrapperTeacher._rules | {
        "path": PATH,
        "max_cost": ABOVE_ZERO.or_none("no limit"),
        "max_tokens": ABOVE_ZERO.or_none("no limit"),
    }

    def __init__(
        self,
        teacher: LLMTeacher,
        path: str | Path,
        *,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(teacher)
        self.path = path
        self.max_cost = max_cost
        self.max_tokens = max_tokens

    def check_parameters(self) -> None:
        """Raise InvalidInputError if a parameter cannot work, or the budget cannot be held."""
        super().check_parameters()
        if self.max_cost is not None and not self.knows_price():
            raise InvalidInputError(
                f"max_cost={self.max_cost!r} cannot be held: the price of {self.teacher!r} is not "
                "known. Pass `price=(input, output)`, in US dollars for a million tokens."
            )

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncComplete]:
        """Reserve before the wrapped teacher is asked, settle afterwards."""
        store = RunStore(Path(self.path))
        n_open = 0

        async def reserve(expected: Usage) -> int:
            """Wait while own requests are under way, which may turn out cheaper than expected."""
            while (entry := store.reserve(expected, self.max_cost, self.max_tokens)) is None:
                if n_open == 0:
                    raise TeacherBudgetError(
                        f"The budget (max_cost={self.max_cost}, max_tokens={self.max_tokens}) does "
                        "not allow another request: raise it to go on."
                    )
                await anyio.sleep(0.05)
            return entry

        async with self.teacher.session() as ask:

            async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
                nonlocal n_open
                entry = await reserve(self.teacher.expect(messages, schema))
                n_open += 1
                try:
                    completion = await ask(messages, schema)
                    with contextlib.suppress(PersistenceError):  # the answer is paid for
                        is_kept = completion.is_worth_keeping
                        store.settle(entry, completion.usage, is_kept=is_kept)
                    return completion
                except TeacherError as error:
                    store.settle(entry, error.usage)
                    raise
                finally:
                    n_open -= 1

            with store.lease():
                yield complete
