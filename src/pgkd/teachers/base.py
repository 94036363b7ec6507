"""`LLMTeacher`: everything but the LLM itself."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import anyio.to_thread
from sklearn.base import BaseEstimator

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
from pgkd.teachers.prompts import labelling, options, writing
from pgkd.teachers.prompts.parsing import parse
from pgkd.teachers.waiting import Limits, run_concurrently, with_retries

#: ``await complete(messages, schema)``
AsyncComplete: TypeAlias = Callable[[Sequence[Message], dict[str, Any]], Awaitable[Completion]]

Request: TypeAlias = GenerationRequest | AnnotationRequest

#: Characters of English in a token, about; to expect tokens, never to count what was paid for.
CHARACTERS_PER_TOKEN = 4
#: Output tokens that are reserved for an answer without a limit of its own.
MAX_OUTPUT_TOKENS = 4096


class LLMTeacher(BaseEstimator):  # type: ignore[misc]
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
        Seconds after which a request is not tried again.
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
        """Yield ``await complete(messages, schema)``, which asks the LLM once.

        To be overridden by teachers that have an async client; this one runs :meth:`complete` in
        threads.
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
                completion = await with_retries(
                    lambda: limits.call(lambda: self._ask(connected, messages, schema), expected),
                    self.max_retries,
                    self.deadline,
                )
                usage = completion.usage
                return replace(completion, usage=replace(usage, cost=self.cost(usage)))

            yield complete

    @property
    def model_name(self) -> str:
        """What its texts are said to come from: `model`, or the class if it has no such name."""
        model = getattr(self, "model", None)
        return str(model) if isinstance(model, (str, os.PathLike)) else type(self).__name__

    @property
    def n_workers(self) -> int:
        """Requests that are begun at once: one that waits for its next try holds up no other."""
        return 2 * self.max_concurrency

    def _make_limits(self) -> Limits:
        return Limits(self.max_concurrency, self.requests_per_minute, self.tokens_per_minute)

    async def _ask(
        self, complete: AsyncComplete, messages: Sequence[Message], schema: dict[str, Any]
    ) -> Completion:
        """Map what a stranger's `complete` may do to our errors."""
        try:
            completion = await complete(messages, schema)
        except TeacherError:
            raise
        except Exception as error:
            raise TeacherError(f"{type(self).__name__}.complete raised {error!r}.") from error
        if not isinstance(completion, Completion):
            raise TeacherError(
                f"{type(self).__name__}.complete must return a Completion. Got "
                f"{type(completion).__name__} instead: return Completion(text)."
            )
        return completion

    def expect(self, messages: Sequence[Message], schema: dict[str, Any]) -> Usage:
        """Estimate the tokens of a request from its length, and the most that its answer may take.

        Returns
        -------
        usage : Usage
            With the cost in US dollars, if the price is known.
        """
        n_characters = sum(len(message["content"]) for message in messages)
        n_characters += len(json.dumps(schema))
        usage = Usage(
            1,
            n_characters // CHARACTERS_PER_TOKEN + 1,
            self.max_tokens or MAX_OUTPUT_TOKENS,
            cost=None,
        )
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


def answer_schema(request: Request) -> dict[str, Any]:
    """JSON schema of the answer to a request."""
    if isinstance(request, AnnotationRequest):
        return labelling.answer_schema(request)
    return writing.answer_schema(request)


def parse_answer(answer: str, request: Request) -> tuple[tuple[Example, ...], tuple[Refusal, ...]]:
    """Read the labelled texts out of the answer to a request, and what cannot be used."""
    if isinstance(request, AnnotationRequest):
        return options.parse(answer, request)
    asked = writing.single_out(request)
    names = writing.answer_names(asked)
    several, may_be_empty = bool(asked.choices), () in asked.counts
    examples, refused = parse(answer, names, several=several, may_be_empty=may_be_empty)
    if asked is not request:
        examples = tuple(replace(example, label=(example.label,)) for example in examples)
    return examples, refused


def find_missing(request: Request, examples: Sequence[Example], number: int) -> Request | None:
    """Make the follow-up for what `examples` lack, if they lack anything."""
    if isinstance(request, AnnotationRequest):
        return None  # a text that stays without a label is no loss: the pool has others
    missing = Counter(request.counts) - Counter(example.label for example in examples)
    if request.choices:  # a text with other labels than were asked for counts as one
        short = max(request.n_texts - len(examples), 0)
        missing = Counter(list(missing.elements())[:short])
    return replace(request, id=f"{request.id}-{number}", counts=missing) if missing else None
