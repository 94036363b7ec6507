"""What a teacher answers, and what that took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgkd.records.requests import AnnotationRequest, GenerationRequest
from pgkd.records.table import write_table
from pgkd.records.texts import Example, Label


@dataclass(frozen=True, slots=True)
class Usage:
    """What answers of a teacher took.

    Attributes
    ----------
    n_requests : int
        Requests sent, failed attempts included.
    input_tokens, output_tokens : int
        Tokens read and written by the teacher, as its server counted them. Where it does not, they
        are estimated by the length of the texts, and a warning says so.
    cost : float or None
        US dollars. ``None`` when a price or a count is not known, never 0 for want of one.
    cached_tokens : int
        Those of the input tokens that the server had in its prompt cache, at a lower price.

    Examples
    --------
    >>> from pgkd.records import Usage
    >>> Usage(1, 100, 20, cost=0.5) + Usage(1, 50, 10, cost=None)
    Usage(n_requests=2, input_tokens=150, output_tokens=30, cost=None, cached_tokens=0)
    """

    n_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    cached_tokens: int = 0

    def __str__(self) -> str:
        return (
            f"{self.n_requests} requests, {self.input_tokens} input tokens ({self.cached_tokens} "
            f"of them cached), {self.output_tokens} output tokens, US dollars: {self.dollars}"
        )

    @property
    def told(self) -> str:
        """The same in short: requests and, if the price is known, US dollars, or else tokens."""
        what = f"{self.tokens:,} tokens" if not self.cost else f"{self.dollars} US dollars"
        return f"{self.n_requests:,} requests and {what}"

    def _repr_html_(self) -> str:
        """Show it as a table in a notebook."""
        names = ("requests", "input tokens", "cached of them", "output tokens", "US dollars")
        counts = (self.n_requests, self.input_tokens, self.cached_tokens, self.output_tokens)
        return write_table([names, [*(f"{n:,}" for n in counts), self.dollars]])

    @property
    def dollars(self) -> str:
        """The cost as it is printed."""
        return "unknown" if self.cost is None else f"{self.cost:.4f}"

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        known = self.cost is not None and other.cost is not None
        return Usage(
            self.n_requests + other.n_requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost if known else None,  # type: ignore[operator]
            self.cached_tokens + other.cached_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        known = self.cost is not None and other.cost is not None
        return Usage(
            self.n_requests - other.n_requests,
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cost - other.cost if known else None,  # type: ignore[operator]
            self.cached_tokens - other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer of an LLM, as text.

    Attributes
    ----------
    text : str
    usage : Usage
    truncated : bool
        Whether the answer stopped at the token limit.
    saved : Usage
        What an answer that was kept took when it was bought; it is not paid again.
    logprobs : tuple of mappings of str to float
        For each token of the text, where the server tells, its natural log probability and those
        of the tokens that it might have been; the token itself first.
    filtered : bool
        Whether a filter of the provider ended the answer.
    """

    text: str
    usage: Usage = field(default_factory=lambda: Usage(n_requests=1, cost=None))
    truncated: bool = False
    saved: Usage = field(default_factory=Usage)
    logprobs: tuple[Mapping[str, float], ...] = field(default=(), repr=False)
    filtered: bool = field(default=False, repr=False)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a cache may keep it: asked again, a failure may become an answer."""
        return not self.filtered and (self.truncated or bool(self.text.strip()))


#: Reason why a text has no label: the answer does not mention it.
NO_ANSWER = "no answer"
#: Reason why a text has no label: the teacher says that it has none.
NO_LABEL = "no label fits"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something in an answer that cannot be used.

    Attributes
    ----------
    reason : str
    text : str or None
        ``None`` if there is no text.
    label : str or None
        As the teacher wrote it.
    """

    reason: str
    text: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A teacher's answer to one request.

    Attributes
    ----------
    request : GenerationRequest or AnnotationRequest
    examples : tuple of Example
        The new labelled texts, every label one of the request's classes.
    rejected : mapping of str to int
        What was in the answer and could not be used, counted by reason.
    usage : Usage
    error : str or None
        Why the request failed, if it did.
    unsent : bool
        Whether it failed because the budget did not allow it to be sent.
    model : str or None
        What answered, if the teacher says so.
    refused : tuple of Refusal
        What is counted in `rejected` and has a text: it becomes a row of ``synthetic_``.
    saved : Usage
        What answers that were kept took when they were bought; they are not paid again.
    is_final : bool
        Whether asking again is no use: an annotator cannot label this text.
    probabilities : mapping of str to mapping of label to float
        Of texts that were to be labelled, as far as the teacher tells: how probable it finds each
        label of the text's shortlist.
    """

    request: GenerationRequest | AnnotationRequest = field(repr=False)
    examples: tuple[Example, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    unsent: bool = False
    model: str | None = None
    refused: tuple[Refusal, ...] = ()
    saved: Usage = field(default_factory=Usage)
    is_final: bool = False
    probabilities: Mapping[str, Mapping[Label, float]] = field(default_factory=dict, repr=False)

    @property
    def worth(self) -> Usage:
        """What the answer took, now or when it was bought."""
        return self.usage + self.saved
