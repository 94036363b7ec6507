"""What has left the machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: The `destination` of a model that runs where its caller does.
HERE = "this machine"


@dataclass(frozen=True, slots=True)
class Sent:
    """The texts that a teacher was shown, each counted once, whoever has paid for the answers.

    Those of answers that were kept count as well, and so does a text that may not have arrived,
    as its request was called off.

    Attributes
    ----------
    model : str
        What the texts were shown to.
    destination : str
        Where that is: a host, or "this machine".
    n_labelled, n_unlabelled : int
        Texts with a label of the user's, and texts without.
    n_written : int
        Texts that the teacher itself had written.
    n_redacted, n_characters : int
        Texts that `redact` had changed, and the characters of them in words that it changed.
    """

    model: str
    destination: str
    n_labelled: int = 0
    n_unlabelled: int = 0
    n_written: int = 0
    n_redacted: int = 0
    n_characters: int = 0

    def __add__(self, other: Sent) -> Sent:
        """Add what the same teacher was shown besides."""
        counts = [name for name in self.__slots__ if name.startswith("n_")]
        return replace(self, **{n: getattr(self, n) + getattr(other, n) for n in counts})

    @property
    def verdict(self) -> str:
        """The same in words."""
        return f"{self.model} {self.told}"

    @property
    def told(self) -> str:
        """The same in words, but for the name of the model."""
        counts = (
            (self.n_labelled, "labelled"),
            (self.n_unlabelled, "unlabelled"),
            (self.n_written, "of its own"),
        )
        told = [f"{n} {what}" for n, what in counts if n]
        where = f"on {HERE}" if self.destination == HERE else f"at {self.destination}"
        line = f"{where} was shown {' and '.join(told) or 'no'} texts"
        if self.n_redacted:
            line += (
                f"; redaction had changed {self.n_redacted} of them, by {self.n_characters} "
                "characters"
            )
        return f"{line}."
