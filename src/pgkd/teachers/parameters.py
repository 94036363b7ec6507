"""Parameters of teachers: what each may be, checked before anything is trained or asked."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pgkd.exceptions import InvalidInputError


@dataclass(frozen=True)
class Rule:
    """What a parameter may be, and how an error puts it."""

    allows: Callable[[Any], bool]
    what: str

    def or_none(self, meaning: str) -> Rule:
        """Allow ``None`` as well."""
        return Rule(lambda v: v is None or self.allows(v), f"{self.what}, or None: {meaning}")


def at_least(low: int) -> Rule:
    """Allow an int of `low` or more."""
    return Rule(
        lambda v: isinstance(v, int) and _is_number(v) and v >= low,
        f"an int of {low} or more",
    )


def instance_of(kind: type | tuple[type, ...], name: str) -> Rule:
    """Allow the instances of a type."""
    return Rule(lambda v: isinstance(v, kind), name)


def _is_number(value: Any) -> bool:
    # numpy's ints are none: JSON, in which they are sent, does not know them.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _is_above_zero(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_pace(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) == 2 and all(v is None or _is_above_zero(v) for v in value)
    return _is_above_zero(value)


def _is_price(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and len(value) in (2, 3)
        and all(_is_number(v) and 0 <= v < math.inf for v in value)
    )


def _is_url(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        return False
    try:
        parts = urlsplit(value)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_whole and value.isprintable() and " " not in value


ABOVE_ZERO = Rule(_is_above_zero, "a number above 0")
TEXT = instance_of(str, "a str")
SWITCH = instance_of(bool, "True or False")
MODEL = Rule(
    lambda v: isinstance(v, (str, os.PathLike)) and bool(str(v).strip()), "the name of a model"
)
PATH = Rule(
    lambda v: isinstance(v, (str, os.PathLike)) and bool(str(v)) and "\0" not in str(v),
    "the path of a file",
)
URL = Rule(
    _is_url,
    "an address that begins with http:// or https://",
)
TEMPERATURE = Rule(lambda v: _is_number(v) and 0 <= v < math.inf, "a number of 0 or more").or_none(
    "the model's default"
)
#: Those of all LLM teachers.
RULES: dict[str, Rule] = {
    "max_concurrency": at_least(1),
    "requests_per_minute": ABOVE_ZERO.or_none("no limit"),
    "tokens_per_minute": Rule(
        _is_pace, "a number above 0, or a tuple of two of them, (input, output)"
    ).or_none("no limit"),
    "max_retries": at_least(0),
    "deadline": ABOVE_ZERO,
    "max_followups": at_least(0),
    "max_tokens": at_least(1).or_none("the model's default"),
    "price": Rule(
        _is_price,
        "(input, output) or (input, output, cached input), US dollars for a million tokens and "
        "none below 0",
    ).or_none("not known"),
}


def check_parameters(teacher: Any, rules: Mapping[str, Rule]) -> None:
    """Refuse parameters that cannot work.

    Raises
    ------
    InvalidInputError
    """
    for name, rule in rules.items():
        value = getattr(teacher, name)
        if not rule.allows(value):
            raise InvalidInputError(
                f"The `{name}` parameter of {type(teacher).__name__} must be {rule.what}. Got "
                f"{value!r} instead."
            )
