"""`LLMTeacher`: everything but the LLM itself."""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeAlias

import anyio.to_thread

from pgkd.exceptions import (
    InvalidInputError,
    TeacherBudgetError,
    TeacherError,
    TeacherRequestError,
    TeacherUnavailableError,
)
from pgkd.records import (
    AnnotationRequest,
    Completion,
    Example,
    Generation,
    GenerationRequest,
    Message,
    Refusal,
    Usage,
)
from pgkd.system.component import Component
from pgkd.system.secret import redact
from pgkd.teachers.parameters import RULES, Rule, check_parameters
from pgkd.teachers.prompts import labelling, options, writing
from pgkd.teachers.prompts.replies import answer_schema, find_missing, parse_answer
from pgkd.teachers.reading import estimate_tokens, read_answer, read_usage
from pgkd.teachers.waiting import Limits, run_concurrently, with_retries

#: ``await complete(messages, schema)``
AsyncComplete: TypeAlias = Callable[[Sequence[Message], dict[str, Any]], Awaitable[Completion]]

Request: TypeAlias = GenerationRequest | AnnotationRequest

#: Output tokens that are reserved for an answer without a limit of its own.
MAX_OUTPUT_TOKENS = 4096


class LLMTeacher(Component):
    """Base of teachers that are LLMs: prompts, JSON schema, parsing, concurrency and retries.

    A subclass writes :meth:`complete`. It may set the attributes below on the class, or take them
    as parameters in its ``__init__``.

    Attributes
    ----------
    max_concurrency : int, default=8
        Requests under way at once, fewer when the teacher is overloaded. `complete` is called in
        that many threads.
    requests_per_minute : int or None, default=None
    tokens_per_minute : int, tuple of (int, int) or None, default=None
        Input and output tokens together, or apart.
    max_retries : int, default=5
        Further tries when `complete` raises :class:`~pgkd.exceptions.TeacherUnavailableError`.
    deadline : float, default=600
        Seconds after which a request is not tried again. If none is answered for so long, and a
        `timeout` more, the teacher is down.
    max_followups : int, default=1
        Times that the texts which a broken answer lacks are asked for again.
    max_tokens : int or None, default=None
        Limit of an answer's tokens, where the LLM takes one.
    price : tuple of float or None, default=None
        US dollars for a million input and a million output tokens; a third number is the price of
        input tokens that the provider had in its cache.

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
    requests_per_minute: int | None = None
    tokens_per_minute: int | tuple[int, int] | None = None
    max_retries: int = 5
    deadline: float = 600.0
    max_followups: int = 1
    max_tokens: int | None = None
    price: tuple[float, ...] | None = None

    #: What the parameters may be.
    _rules: ClassVar[dict[str, Rule]] = RULES
    _is_warned = False  # that its server does not count tokens
    #: Parameters that do not change a whole answer, and so are no part of a cache's key.
    _without_effect: frozenset[str] = frozenset(
        {
            "api_key",
            "base_url",  # the same model, wherever it is served
            "max_concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "max_retries",
            "deadline",
            "max_followups",
            "max_tokens",  # caches see to it for answers that were cut off
            "price",
            "timeout",
        }
    )

    def complete(self, messages: Sequence[Message], *, schema: dict[str, Any]) -> Completion:
        """Ask the LLM.

        Parameters
        ----------
        messages : sequence of ``{"role": ..., "content": ...}``
        schema : dict
            JSON schema of the wanted answer, for LLMs that can be held to one.

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
        """Yield ``await complete(messages, schema)``, which asks the LLM once.

        Teachers that have an async client override it; this one runs :meth:`complete` in threads.
        """
        limiter = anyio.CapacityLimiter(self.max_concurrency)

        async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
            call = partial(self.complete, messages, schema=schema)
            # Called off, a thread is left to itself: waiting for it would make Ctrl-C useless.
            return await anyio.to_thread.run_sync(call, limiter=limiter, abandon_on_cancel=True)

        yield complete

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncComplete]:
        """Yield ``await complete(messages, schema)``, held to the limits, with retries and cost.

        The seam of wrappers: a cache, a budget or a recording puts itself around it.
        """
        limits = self._make_limits()
        async with self.connect() as connected:

            async def complete(messages: Sequence[Message], schema: dict[str, Any]) -> Completion:
                expected = self.expect(messages, schema)

                async def ask() -> Completion:
                    return await self._ask(connected, messages, schema, expected)

                return await with_retries(
                    lambda: limits.call(ask, expected), self.max_retries, self.deadline
                )

            yield complete

    @property
    def model_name(self) -> str:
        """What its texts are said to come from: `model`, or the class if it has no such name."""
        model = getattr(self, "model", None)
        return str(model) if isinstance(model, (str, os.PathLike)) else type(self).__name__

    @property
    def destination(self) -> str:
        """Where its texts are sent to: a host, or "this machine"."""
        return "an address that it does not tell"

    @property
    def n_workers(self) -> int:
        """Requests that are begun at once: one that waits for its next try holds up no other."""
        return 2 * self.max_concurrency

    def _make_limits(self) -> Limits:
        patience = self.deadline + getattr(self, "timeout", 0.0)  # which an answer may take
        return Limits(
            self.max_concurrency, self.requests_per_minute, self.tokens_per_minute, patience
        )

    async def _ask(
        self,
        complete: AsyncComplete,
        messages: Sequence[Message],
        schema: dict[str, Any],
        expected: Usage,
    ) -> Completion:
        """Ask once, map what a stranger's `complete` may do to our errors, and count the cost."""
        try:
            completion = await complete(messages, schema)
        except TeacherError as error:
            error.usage = self._settle(read_usage(error.usage), "", expected)
            raise
        except Exception as error:
            what = redact(f"{type(self).__name__}.complete raised {error!r}.")
            raise TeacherError(what) from error
        if not isinstance(completion, Completion):
            raise TeacherError(
                f"{type(self).__name__}.complete must return a Completion. Got "
                f"{type(completion).__name__} instead: return Completion(text)."
            )
        answer = read_answer(completion)
        return replace(answer, usage=self._settle(answer.usage, answer.text, expected))

    def _settle(self, usage: Usage, text: str, expected: Usage) -> Usage:
        """Add the cost of an answer, and estimate the tokens that its server did not count.

        No request is without input. The cost is not known then, unless the teacher is free.
        """
        if usage.cost == 0 and usage.input_tokens and self.price is not None:
            usage = replace(usage, cost=None)  # as in Usage(1, 400, 20), which says nothing of it
        if usage.cost is not None:
            return usage
        if usage.input_tokens:
            return replace(usage, cost=self.cost(usage))
        n_output = usage.output_tokens or (estimate_tokens(text) if text else 0)
        usage = replace(usage, input_tokens=expected.input_tokens, output_tokens=n_output)
        if (cost := self.cost(usage)) == 0:
            return replace(usage, cost=cost)
        if not self._is_warned and self.knows_price():  # which tells no cost without counts
            self._is_warned = True
            warnings.warn(
                f"{type(self).__name__} does not tell how many tokens its answers take: they are "
                "estimated, their cost is None, and a budget counts the most that they may cost. "
                "Have the server tell its `usage`; of a function or a `complete` of your own, "
                "return Completion(text, Usage(1, n_input, n_output, cost=None)).",
                stacklevel=2,
            )
        return usage

    def expect(self, messages: Sequence[Message], schema: dict[str, Any]) -> Usage:
        """Estimate the tokens of a request from its length, and the most that its answer may take.

        Returns
        -------
        usage : Usage
            With the cost in US dollars, if the price is known.
        """
        prompt = "".join(message["content"] for message in messages) + json.dumps(schema)
        n_output = self.max_tokens or MAX_OUTPUT_TOKENS
        usage = Usage(1, estimate_tokens(prompt), n_output, cost=None)
        return replace(usage, cost=self.cost(usage))

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
        self.check_parameters()
        self.check_price(max_cost)

    def check_price(self, max_cost: float | None) -> None:
        """Raise InvalidInputError if there is a budget, and no price to hold it by."""
        if max_cost is not None and not self.knows_price():
            raise InvalidInputError(
                f"max_cost={max_cost!r} cannot be held: the price of {self!r} is not known. Pass "
                "`price=(input, output)`, in US dollars for a million tokens."
            )

    def check_reachable(self) -> None:
        """Raise TeacherError if the LLM is out of reach; called before anything is trained.

        To be overridden by teachers that ask a server; what it sends must be free and quick.
        """

    def check_parameters(self) -> None:
        """Raise InvalidInputError if a parameter cannot work."""
        check_parameters(self, self._rules)

    def knows_price(self) -> bool:
        """Whether the cost of an answer can be told."""
        return self.price is not None

    def cost(self, usage: Usage) -> float | None:
        """US dollars for `usage`, ``None`` if the price is not known."""
        if usage.cost is not None or self.price is None:
            return usage.cost
        read, written, cached = (*self.price, self.price[0])[:3]
        fresh = usage.input_tokens - usage.cached_tokens
        return (fresh * read + usage.output_tokens * written + usage.cached_tokens * cached) / 1e6

    def render(self, request: Request) -> list[Message]:
        """Render a request as chat messages; override it for prompts of your own."""
        if isinstance(request, AnnotationRequest):
            return labelling.render(request)
        return writing.render(request)

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Generation]:
        """Yield a generation for each request, as the answers come in.

        Raises
        ------
        TeacherError
            If the teacher cannot go on. A request that fails by itself is a generation with
            `error`.
        """
        return self._serve_all(requests)

    def annotate(self, requests: Sequence[AnnotationRequest]) -> Iterator[Generation]:
        """Yield, for each request, its texts with the labels that the LLM chose.

        Raises
        ------
        TeacherError
            As `generate` does.
        """
        return self._serve_all(requests)

    def _serve_all(self, requests: Sequence[Request]) -> Iterator[Generation]:
        self.check_parameters()

        @asynccontextmanager
        async def connect() -> AsyncIterator[Callable[[Request], Awaitable[Generation]]]:
            async with self.session() as complete:
                yield partial(self._serve, complete)

        yield from run_concurrently(connect, requests, min(self.n_workers, len(requests)))

    async def _serve(self, complete: AsyncComplete, request: Request) -> Generation:
        """Ask for the texts of a request, and again for those that a broken answer lacks."""
        examples: list[Example] = []
        refused: list[Refusal] = []
        probabilities: dict[str, dict[Any, float]] = {}
        n_cut_off = 0
        usage = saved = Usage()
        failure, unsent = None, False
        asked: Request | None = request
        number = 1
        while asked is not None:
            try:
                completion = await complete(self.render(asked), answer_schema(asked))
            except (TeacherRequestError, TeacherUnavailableError, TeacherBudgetError) as error:
                usage += error.usage
                if not examples:
                    failure, unsent = str(error), isinstance(error, TeacherBudgetError)
                break
            usage += completion.usage
            saved += completion.saved
            texts, problems = parse_answer(completion.text, asked)
            examples += texts
            refused += problems
            if isinstance(asked, AnnotationRequest):
                probabilities |= options.read_probabilities(completion, asked)
            n_cut_off += completion.truncated
            if number > self.max_followups or not (problems or completion.truncated):
                break  # an answer that is whole, with fewer texts, is all that the LLM has to say
            number += 1
            asked = find_missing(request, examples, number)
        rejected = Counter({"answer cut off": n_cut_off}) + Counter(r.reason for r in refused)
        return Generation(
            request,
            tuple(examples),
            dict(rejected),
            usage,
            failure,
            unsent,
            self.model_name,
            tuple(r for r in refused if r.text is not None),
            saved,
            probabilities=probabilities,
        )


def make_seed(of: Any) -> int:
    """Make a seed for an answer, so that the same request gets the same answer again."""
    return zlib.crc32(repr(of).encode()) >> 1
