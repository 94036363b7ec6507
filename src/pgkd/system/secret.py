"""Keys that never leave memory."""

from __future__ import annotations

from typing import Any


class Secret:
    """A key that shows itself only when asked: not in `repr`, not in a pickle, not in JSON.

    A process that gets a pickled teacher reads its key from its own environment.

    Parameters
    ----------
    value : str or None

    Examples
    --------
    >>> from pgkd.system.secret import Secret
    >>> Secret("sk-123")
    Secret('***')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value

    @classmethod
    def wrap(cls, value: str | Secret | None) -> Secret | None:
        """Wrap a str; leave a `Secret` as it is, as scikit-learn's ``clone`` demands."""
        return cls(value) if isinstance(value, str) else value

    def reveal(self) -> str | None:
        """Return the key; ``None`` after a pickle round trip."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (Secret, (None,))
