"""The errors of pgkd.

::

    PGKDError
    ├── InvalidInputError (ValueError)        texts, labels or parameters that cannot work
    ├── StudentError (RuntimeError)
    │   └── ModelNotFoundError (OSError)      neither a directory nor reachable on the hub
    ├── PersistenceError (ValueError)         not a saved model, or a damaged one
    ├── DatasetNotFoundError (OSError)        neither in the folder nor to be downloaded
    ├── ExportError (RuntimeError)            no graph of it can be made, or a wrong one
    ├── RankError (RuntimeError)              one of the processes that fit together has ended
    └── TeacherError (RuntimeError)           ends the generation of texts
        ├── TeacherAuthenticationError        key missing or refused
        ├── TeacherBudgetError                the budget does not allow this request
        ├── TeacherUnavailableError           overloaded or unreachable: tried again first
        ├── TeacherRequestError               this one request was refused; the others go on
        └── AnnotatorError                    a text cannot be labelled; the others are

Every message names the cause, the value given and the fix. Each error also inherits the built-in
one that a caller would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pgkd.records import Usage


def did_you_mean(given: Any, known: Iterable[Any]) -> str:
    """End a message with the name that is closest to what was given, if one is close.

    Examples
    --------
    >>> from pgkd.exceptions import did_you_mean
    >>> did_you_mean("max_cycle", ["max_cycles", "verbose"])
    " Did you mean 'max_cycles'?"
    >>> did_you_mean("student", ["max_cycles", "verbose"]), did_you_mean("verbose", ["verbose"])
    ('', '')
    """
    others = (name for name in known if name is not None and repr(name) != repr(given))
    names = {str(name).casefold(): name for name in others}
    close = get_close_matches(str(given).casefold(), names, n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


class PGKDError(Exception):
    """Base of all errors raised by pgkd."""


class InvalidInputError(PGKDError, ValueError):
    """Texts, labels or parameters with which `fit` or `predict` cannot work."""


class StudentError(PGKDError, RuntimeError):
    """The student cannot be trained or asked."""


class ModelNotFoundError(StudentError, OSError):
    """A pretrained model is neither a local directory nor reachable on the hub."""


class PersistenceError(PGKDError, ValueError):
    """A model cannot be saved to, or loaded from, a directory."""


class DatasetNotFoundError(PGKDError, OSError):
    """A data set is neither in its folder nor can it be downloaded."""


class ExportError(PGKDError, RuntimeError):
    """A student cannot be exported, or the exported one answers differently."""


class RankError(PGKDError, RuntimeError):
    """One of the processes that fit together has ended, so that the others cannot go on."""


class TeacherError(PGKDError, RuntimeError):
    """The teacher cannot go on.

    Attributes
    ----------
    usage : Usage
        What the failed request took.
    """

    usage: Usage = Usage()


class TeacherAuthenticationError(TeacherError):
    """The teacher's key is missing or was refused."""


class TeacherBudgetError(TeacherError):
    """The budget does not allow this request; it was not sent."""


class TeacherUnavailableError(TeacherError):
    """The teacher is overloaded or cannot be reached; the request is worth another try.

    Parameters
    ----------
    message : str
        What happened.
    retry_after : float, default=None
        Seconds the server asked to wait.
    overloaded : bool, default=False
        Whether there were too many requests, so that fewer should be under way.
    """

    usage = Usage(n_requests=1)

    def __init__(
        self, message: str, retry_after: float | None = None, *, overloaded: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.overloaded = overloaded


class TeacherRequestError(TeacherError):
    """One request was refused (too long, filtered, malformed); other requests are not affected."""

    usage = Usage(n_requests=1)


class AnnotatorError(TeacherError):
    """An annotator cannot label a text; other texts are not affected.

    For annotators of your own: the texts it was asked about together are then asked about one by
    one, so that it loses those only at which it fails.
    """
