"""What a text looks like where others may read it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.text import is_valid


class Redactor:
    """Call a user's `redact` once for each text, and see to it that a str comes back.

    Parameters
    ----------
    redact : callable
        ``redact(text)`` returns what others may read of a text.
    **texts : list of str
        What is redacted at once, by the name of its parameter.

    Attributes
    ----------
    known : dict of str to str
        What each text has become. It is not pickled.

    Examples
    --------
    >>> from pgkd.inputs.redaction import Redactor
    >>> redactor = Redactor(lambda text: text.replace("Bob", "<NAME>"))
    >>> redactor("Bob's card")
    "<NAME>'s card"
    """

    def __init__(self, redact: Callable[[str], str], **texts: Sequence[str]) -> None:
        self.redact = redact
        self.known: dict[str, str] = {}
        for name, own in texts.items():
            self.check(enumerate(own), name)

    def __getstate__(self) -> dict[str, Any]:
        return {"redact": self.redact, "known": {}}

    def __call__(self, text: str) -> str:
        if text not in self.known:
            self.known[text] = self._call(text, "a text of the teacher")
        return self.known[text]

    def check(self, numbered: Iterable[tuple[int, str]], name: str) -> None:
        """Redact texts, before any of them is sent.

        Parameters
        ----------
        numbered : iterable of (int, str)
            Texts with their places in `name`.
        name : str
            Of the parameter that has them.

        Raises
        ------
        InvalidInputError
            If `redact` raises, or returns something else than a str.
        """
        for i, text in numbered:
            if text not in self.known:
                self.known[text] = self._call(text, f"{name}[{i}]")

    def forget(self, texts: Iterable[str]) -> None:
        """Forget texts that will not come again."""
        for text in texts:
            self.known.pop(text, None)

    def _call(self, text: str, where: str) -> str:
        expected = "`redact` must return a str that is valid for every text, or nothing is sent."
        try:
            redacted = self.redact(text)
        except Exception as error:
            raise InvalidInputError(f"{expected} For {where} it raised {error!r}.") from error
        if not isinstance(redacted, str) or not is_valid(redacted):
            got = type(redacted).__name__ if not isinstance(redacted, str) else "a lone surrogate"
            raise InvalidInputError(f"{expected} Got {got} for {where}.")
        return str.__str__(redacted)


def count_changed(text: str, redacted: str) -> int:
    """Count the characters of a text that are in words which were changed, about.

    Examples
    --------
    >>> from pgkd.inputs.redaction import count_changed
    >>> count_changed("call Bob at 555-1234", "call <NAME> at <PHONE>")
    11
    """
    if text == redacted:
        return 0
    words, left = (re.findall(r"\w+|\W", own) for own in (text, redacted))
    blocks = difflib.SequenceMatcher(None, words, left).get_matching_blocks()
    kept = sum(len(word) for block in blocks for word in words[block.a : block.a + block.size])
    return len(text) - kept
