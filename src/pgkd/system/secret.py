"""Keys that never leave memory, and what others say of them without them."""

from __future__ import annotations

import html
import json
import logging
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

from pgkd.exceptions import TeacherAuthenticationError

#: Shorter keys, such as the "none" of a server that needs one, are looked for in errors only.
MIN_LENGTH = 8
#: They log what servers say, which may be a key that they refuse.
LOGGERS = (
    "httpx",
    *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
    "botocore.auth",
    "openai",
    "openai._base_client",
    "LiteLLM",
    "LiteLLM Router",
)

_spellings: tuple[str, ...] = ()  # of the keys that this process has used, the longest first


class Secret:
    """A key that shows itself only when asked: not in `repr`, not in a pickle, not in JSON.

    A process that gets a pickled teacher reads its key from its own environment.

    Parameters
    ----------
    value : str or None
        White space around it is no part of it.

    Examples
    --------
    >>> from pgkd.system.secret import Secret
    >>> Secret("sk-123")
    Secret('***')
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value.strip() if isinstance(value, str) else value

    @classmethod
    def wrap(cls, value: Any) -> Secret | None:
        """Wrap a key; leave a `Secret` as it is, as scikit-learn's ``clone`` demands."""
        return value if value is None or isinstance(value, Secret) else cls(value)

    def reveal(self, name: str = "`api_key`") -> str | None:
        """Return the key; ``None`` if it is empty, and after a pickle round trip.

        Parameters
        ----------
        name : str
            Where it comes from, for the error.

        Raises
        ------
        TeacherAuthenticationError
            If it cannot be sent; without the key, also among the variables of the traceback.
        """
        if not self._value:
            return None
        if not isinstance(self._value, str):
            raise TeacherAuthenticationError(
                f"The API key in {name} must be a str. Got {type(self._value).__name__} instead."
            )
        if not (self._value.isascii() and self._value.replace("\t", " ").isprintable()):
            raise TeacherAuthenticationError(
                f"The API key in {name} has a character that no HTTP header can hold, such as a "
                "line break or an accent: copy the key again."
            )
        remember(self._value)
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __getstate__(self) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Secret, (None,))


def remember(key: str) -> None:
    """Have `redact` and the logs of HTTP clients leave out a key from now on."""
    global _spellings
    if len(key) >= MIN_LENGTH and key not in _spellings:
        _spellings = tuple(sorted({*_spellings, *_spell(key)}, key=len, reverse=True))
        for name in LOGGERS:
            logging.getLogger(name).addFilter(_redact_record)


def remember_environment() -> None:
    """Remember what the environment has under the names of keys."""
    for name, value in os.environ.items():
        if name.endswith(("_KEY", "_TOKEN", "_SECRET")):
            remember(value.strip())


def redact(text: str, key: str | None = None) -> str:
    """Put asterisks in the place of keys that this process has used.

    Parameters
    ----------
    text : str
    key : str, default=None
        A further one, of any length.
    """
    spellings: Iterable[str] = (*_spell(key), *_spellings) if key else _spellings
    for spelling in spellings:
        text = text.replace(spelling, "***")
    return text


def _spell(key: str) -> set[str]:
    """Spell a key as JSON, HTML, an address and Python do."""
    escaped = json.dumps(key)[1:-1]
    written = {key, escaped, escaped.replace("/", r"\/"), html.escape(key)}
    written |= {quote(key), quote(key, safe=""), quote_plus(key)}
    return written | {repr(spelling)[1:-1] for spelling in written}


def _redact_record(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    shown = redact(message)
    if shown != message:
        record.msg, record.args = shown, ()
    return True
