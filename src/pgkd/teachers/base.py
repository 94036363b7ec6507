"""`LLMTeacher`: everything but the LLM itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import anyio.to_thread
from sklearn.base import BaseEstimator

from pgkd.exceptions import InvalidInputError, TeacherError, TeacherRequestError
from pgkd.records import Completion, Generation, GenerationRequest, Message, Usage
from pgkd.teachers import prompts
from pgkd.teachers.parsing import parse
from pgkd.teachers.transport import run_concurrently, with_retries

#: ``await complete(messages, schema)``
AsyncComplete: TypeAlias = Callable[[Sequence[Message], dict[str, Any]], Awaitable[Completion]]


class LLMTeacher(BaseEstimator):  # type: ignore[misc]
    """Base of teachers that are LLMs: prompts, JSON schema, parsing, concurrency and retries.

    A subclass writes :meth:`complete`. It may set the attributes below on the class, or take them
    as parameters in its ``__init__``.

    Attributes
    ----------
    max_concurrency : int, default=8
        Requests under way at once. `complete` is called in that many threads.
    max_retries : int, default=5
        Further tries when `complete` raises :class:`~pgkd.exceptions.TeacherUnavailableError`.
    price : tuple of (float, float) or None, default=None
        US dollars for a million input and a million output tokens.

    Examples
    --------
    >>> from pgkd.records import Completion, Usage
    >>> from pgkd.teachers import LLMTeacher
    >>> class EchoTeacher(LLMTeacher):
    ...     def complete(self, messages, *, schema):
    ...         answer = '{"spam": ["Win a prize!"]}'
    ...         return Completion(answer, Usage(n_requests=1, input_tokens=90, output_tokens=20))
    >>> from pgkd.records import GenerationRequest
    >>> [generation] = EchoTeacher().generate([GenerationRequest("1-1", {"spam": 1, "ham": 1})])
    >>> generation.examples
    (Example(text='Win a prize!', label='spam'),)
    """

    max_concurrency: int = 8
    max_retries: int = 5
    price: tuple[float, float] | None = None

    #: Parameters that do not change an answer, and so are no part of a cache's key.
    _without_effect: frozenset[str] = frozenset(
        {"api_key", "max_concurrency", "max_retries", "price", "timeout"}
    )

    def complete(self, messages: Sequence[Message], *, schema: dict[str, Any]) -> Completion:
        """Ask the LLM.

        Parameters
        ----------
        messages : sequence of ``{"role": ..., "content": ...}``
        schema : dict
            JSON schema of the wanted answer, for LLMs that can be held to one; others may ignore
            it.

        Returns
        -------
        completion : Completion

        Raises
        ------
        TeacherUnavailableError
            For another try.
        TeacherRequestError
            If this request cannot be served, but others can.
        TeacherError
            If no request can.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `complete`.")

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncComplete]:
        """Yield ``await complete(messages, schema)`` for one batch of requests.

        To be overridden by teachers that have an async client; this one runs :meth:`complete` in
        threads.
        """
        limiter = anyio.CapacityLimiter(self.max_concurrency)

        async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
            call = partial(self.complete, messages, schema=schema)
            return await anyio.to_thread.run_sync(call, limiter=limiter)

        yield complete

    def check_ready(self, max_cost: float | None = None) -> None:
        """Raise if the teacher cannot serve, before anything is spent or trained.

        Parameters
        ----------
        max_cost : float, default=None
            The budget in US dollars; it can be held only if the price is known.

        Raises
        ------
        InvalidInputError
        """
        if max_cost is not None and not self.knows_price():
            raise InvalidInputError(
                f"max_cost={max_cost!r} cannot be held: the price of {self!r} is not known. Pass "
                "`price=(input, output)`, in US dollars for a million tokens. For OpenAI's own "
                'models `pip install "pgkd[prices]"` will do.'
            )

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told."""
        return self.price is not None

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, ``None`` if the price is not known."""
        if usage.cost is not None or self.price is None:
            return usage.cost
        return (usage.input_tokens * self.price[0] + usage.output_tokens * self.price[1]) / 1e6

    def render(self, request: GenerationRequest) -> list[Message]:
        """Render a request as chat messages; override it for prompts of your own."""
        return prompts.render(request)

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Generation]:
        """Yield a generation for each request, as the answers come in.

        Raises
        ------
        TeacherError
            If the teacher cannot go on. A request that fails by itself is a generation with
            `error`.
        """

        @asynccontextmanager
        async def connect() -> AsyncIterator[Callable[[GenerationRequest], Awaitable[Generation]]]:
            async with self.connect() as complete:
                yield partial(self._serve, complete)

        yield from run_concurrently(connect, requests, self.max_concurrency)

    async def _serve(self, complete: AsyncComplete, request: GenerationRequest) -> Generation:
        messages, schema = self.render(request), prompts.answer_schema(request)
        try:
            completion = await with_retries(lambda: complete(messages, schema), self.max_retries)
        except TeacherRequestError as error:
            return Generation(request, usage=Usage(n_requests=1), error=str(error))
        except TeacherError:
            raise
        except Exception as error:
            raise TeacherError(f"{type(self).__name__}.complete raised {error!r}.") from error
        if not isinstance(completion, Completion):
            raise TeacherError(
                f"{type(self).__name__}.complete must return a Completion. Got "
                f"{type(completion).__name__} instead: return Completion(text)."
            )
        examples, rejected = parse(completion.text, prompts.answer_names(request))
        if completion.truncated:
            rejected = dict(Counter(rejected) + Counter({"answer cut off": 1}))
        usage = replace(completion.usage, cost=self.cost(completion.usage))
        return Generation(request, examples, rejected, usage)
