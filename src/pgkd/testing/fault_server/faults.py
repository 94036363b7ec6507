"""What can go wrong between a client and an LLM."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from pgkd.exceptions import InvalidInputError
from pgkd.testing.fault_server import answers
from pgkd.testing.fault_server.answers import Answer
from pgkd.testing.fault_server.provider import Provider, name_delay
from pgkd.testing.fault_server.wire import WHOLE, Delivery, Response

RetryAfter: TypeAlias = Literal["seconds", "date", "ms", "reset"]

MESSAGES: Mapping[int, str] = {
    400: "The request cannot be served.",
    401: "The API key is not valid.",
    403: "The API key does not allow this.",
    404: "There is no such model.",
    413: "The request is too large.",
    429: "Rate limit reached.",
    500: "The server had an error.",
    503: "The server is overloaded.",
    529: "Overloaded",
}


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class Fault:
    """An answer that is not as it should be; made by one of the functions below.

    Attributes
    ----------
    name : str
        How it was made.
    status : int
    delay : float
        Seconds that the client is asked to wait.

    Examples
    --------
    >>> from pgkd.testing import Fault
    >>> Fault.rate_limit("date", delay=2)
    Fault.rate_limit('date', delay=2)
    """

    name: str
    status: int = 200
    delay: float = 0.0
    message: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Callable[[Provider], Mapping[str, str]] = lambda provider: {}
    change_answer: Callable[[Answer], Answer] = _unchanged
    change_document: Callable[[Provider, dict[str, Any]], Any] = lambda provider, document: document
    change_content: Callable[[bytes], bytes] = _unchanged
    delivery: Delivery = WHOLE
    loses_answer: bool = False

    def __repr__(self) -> str:
        return f"Fault.{self.name}"

    def respond(
        self, provider: Provider, body: Any, answer: Answer, number: int
    ) -> tuple[Response, tuple[str, ...]]:
        """Make the response to a request, and tell the whole texts that are in it."""
        if self.status >= 400:
            document: Any = provider.error(self.status, self.message, **self.fields)
            texts: tuple[str, ...] = ()
        else:
            answer = self.change_answer(answer)
            document = self.change_document(provider, provider.write(body, answer, number))
            texts = () if self.loses_answer else answer.texts
        content = self.change_content(json.dumps(document).encode())
        headers = self.headers(provider)
        return Response(self.status, content, headers, self.delivery), texts

    @classmethod
    def none(cls) -> Fault:
        """Nothing: the answer is good."""
        return cls("none()")

    @classmethod
    def error(
        cls,
        status: int,
        message: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Fault:
        """Answer with an error, worded as the provider words it.

        Parameters
        ----------
        status : int
            400 or more, e.g. 500 or Anthropic's 529, "overloaded".
        message : str, default=None
        headers : dict, default=None
            Further headers, e.g. ``{"Retry-After": "0"}``.
        **fields
            Further fields of the error, e.g. ``code="insufficient_quota"``.
        """
        if not 400 <= status < 600:
            raise InvalidInputError(
                f"The `status` of Fault.error must be an int in [400, 599]. Got {status!r} instead."
            )
        return cls(
            f"error({status})",
            status=status,
            message=message or MESSAGES.get(status, f"Status {status}."),
            fields=fields,
            headers=lambda provider: headers or {},
        )

    @classmethod
    def rate_limit(cls, retry_after: RetryAfter | None = "seconds", *, delay: float = 1.0) -> Fault:
        """Answer 429, and tell when to come back.

        Parameters
        ----------
        retry_after : {"seconds", "date", "ms", "reset"} or None, default="seconds"
            ``Retry-After`` as seconds or as an HTTP date, ``retry-after-ms``, or the provider's
            headers on rate limits and when they are reset. ``None``: it is not told.
        delay : float, default=1
            Seconds. Dates are rounded up to a whole second.
        """
        if retry_after not in (None, *get_args(RetryAfter)):
            raise InvalidInputError(
                "The `retry_after` parameter of Fault.rate_limit must be one of "
                f"{get_args(RetryAfter)} or None. Got {retry_after!r} instead."
            )
        return cls(
            f"rate_limit({retry_after!r}, delay={delay:g})",
            status=429,
            delay=delay,
            message=MESSAGES[429],
            headers=lambda provider: name_delay(provider, retry_after, delay),
        )

    @classmethod
    def hang_up(cls) -> Fault:
        """Close the connection without an answer."""
        return cls("hang_up()", delivery=Delivery("hang up"), loses_answer=True)

    @classmethod
    def reset_mid_body(cls) -> Fault:
        """Reset the connection in the middle of the body."""
        return cls("reset_mid_body()", delivery=Delivery("reset"), loses_answer=True)

    @classmethod
    def slow_body(cls, seconds: float, n_pieces: int = 20) -> Fault:
        """Send the body bit by bit (a "slow loris"): no read waits long, all of it takes long.

        Parameters
        ----------
        seconds : float
            For the whole body.
        n_pieces : int, default=20
        """
        pause = seconds / max(n_pieces - 1, 1)
        return cls(f"slow_body({seconds:g})", delivery=Delivery("whole", n_pieces, pause))

    @classmethod
    def stall(cls, seconds: float) -> Fault:
        """Send half of the body, then nothing for so many seconds, then the rest."""
        return cls(f"stall({seconds:g})", delivery=Delivery("whole", 2, seconds))

    @classmethod
    def huge_body(cls, n_bytes: int = 5_000_000) -> Fault:
        """Send a good answer in a body of `n_bytes`, white space most of it."""
        return cls(f"huge_body({n_bytes})", change_content=lambda content: content.rjust(n_bytes))

    @classmethod
    def broken_document(cls) -> Fault:
        """Send a body that is whole but ends in the middle of its JSON."""
        return cls(
            "broken_document()",
            change_content=lambda content: content[: len(content) // 2],
            loses_answer=True,
        )

    @classmethod
    def empty_choices(cls) -> Fault:
        """Answer in the right shape, with nothing in it."""
        return cls(
            "empty_choices()",
            change_document=lambda provider, document: provider.empty(document),
            loses_answer=True,
        )

    @classmethod
    def wrong_usage(cls, usage: Any = -1) -> Fault:
        """Report a wrong `usage`.

        Parameters
        ----------
        usage : object, default=-1
            An int stands for every number; anything else is reported as it is, e.g. ``None``.
        """

        def change(provider: Provider, document: dict[str, Any]) -> dict[str, Any]:
            if not isinstance(usage, int):
                return {**document, "usage": usage}
            numbers = {k: usage for k, v in document["usage"].items() if isinstance(v, int)}
            return {**document, "usage": document["usage"] | numbers}

        return cls(f"wrong_usage({usage!r})", change_document=change)

    @classmethod
    def truncated(cls) -> Fault:
        """Cut the answer off within its last text, at the token limit as the answer says."""
        return cls("truncated()", change_answer=answers.cut)

    @classmethod
    def wrong_labels(cls) -> Fault:
        """Give the texts labels that were not asked for."""
        return cls("wrong_labels()", change_answer=answers.mislabel)

    @classmethod
    def duplicates(cls) -> Fault:
        """Answer with the same text again and again, whatever the request."""
        return cls("duplicates()", change_answer=answers.repeat)

    @classmethod
    def refusal(cls) -> Fault:
        """Let the model refuse, politely."""
        return cls("refusal()", change_answer=answers.refuse)
