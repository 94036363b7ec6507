"""The routes by which texts reach the student, and which of them gets the next batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgkd.records import Usage

#: Routes that cost nothing, in the order in which they are tried.
FREE = ("names", "logs", "unlabelled")
#: Routes on which the teacher is asked, the cheapest first.
PAID = ("describe", "label", "write")
ROUTES = ("names", "unlabelled", *PAID)
#: A smaller gain in score is no reason to buy another batch.
WORTH = 0.001


def find_open(routes: Sequence[str], *, can_label: bool) -> list[str]:
    """Return those of a run's routes on which a teacher is asked."""
    return [route for route in PAID if route in routes and (route != "label" or can_label)]


@dataclass
class Account:
    """What a route has cost and brought so far."""

    n_batches: int = 0
    n_idle: int = 0  # batches in a row without a gain
    tokens: int = 0
    gain: float = 0.0

    @property
    def gain_per_token(self) -> float:
        """Gain in score; where the teacher counts no tokens, of a batch."""
        return self.gain / max(self.tokens, self.n_batches, 1)


class Allocator:
    """Gives the next batch to the route with the best measured gain per token.

    Each route gets a first batch, as nothing is known of it before; one that gained nothing
    `patience` times in a row is given up.

    Parameters
    ----------
    routes : sequence of str
    patience : int

    Examples
    --------
    >>> from pgkd.records import Usage
    >>> from pgkd.loop.routes import Allocator
    >>> allocator = Allocator(["label", "write"], patience=1)
    >>> allocator.choose()
    'label'
    >>> allocator.book("label", Usage(input_tokens=1000), gain=0.01)
    >>> allocator.choose()
    'write'
    >>> allocator.book("write", Usage(input_tokens=1000), gain=0.0)
    >>> allocator.choose()
    'label'
    """

    def __init__(self, routes: Sequence[str], patience: int) -> None:
        self.accounts = {route: Account() for route in routes}
        self.patience = patience

    def choose(self) -> str | None:
        """Return the route of the next batch, ``None`` if none is left."""
        left = {r: a for r, a in self.accounts.items() if self.is_open(r)}
        for route, account in left.items():
            if not account.n_batches:
                return route
        return max(left, key=lambda route: left[route].gain_per_token, default=None)

    def is_open(self, route: str) -> bool:
        """Whether a route may get a batch yet."""
        return route in self.accounts and self.accounts[route].n_idle < self.patience

    def book(self, route: str, usage: Usage, gain: float | None) -> None:
        """Enter what a batch took and gained; ``None``: nothing can judge it."""
        account = self.accounts[route]
        account.n_batches += 1
        account.n_idle = 0 if gain is None or gain > WORTH else account.n_idle + 1
        account.tokens += usage.input_tokens + usage.output_tokens
        account.gain += max(gain or 0.0, 0.0)

    def close(self, route: str) -> None:
        """Give a route up, because nothing is left on it."""
        self.accounts.pop(route, None)
