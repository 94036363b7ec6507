"""How long a server asks to wait."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait, ``None`` if it does not say.

    Reads ``retry-after-ms``, Retry-After as seconds or as a date, and the reset times of rate
    limits that are used up (OpenAI's ``x-ratelimit-*``, Anthropic's ``anthropic-ratelimit-*``).

    References
    ----------
    https://platform.openai.com/docs/guides/rate-limits
    https://docs.anthropic.com/en/api/rate-limits
    """
    if (seconds_asked := _read_time(f"{headers.get('retry-after-ms', '').strip()}ms")) is not None:
        return seconds_asked
    waits = [headers.get("retry-after")]
    for name, left in headers.items():
        if re.fullmatch(r"(x|anthropic)-ratelimit-(.*)remaining(.*)", name) and left == "0":
            waits.append(headers.get(name.replace("remaining", "reset")))
    seconds = [s for s in map(_read_time, filter(None, waits)) if s is not None]
    if headers.get("retry-after") and seconds:
        return seconds[0]
    return max(seconds, default=None)


def _read_time(value: str) -> float | None:
    """Seconds from now: "1.5", "6m0s", "120ms", an HTTP date or an ISO 8601 one.

    ``None`` if it is none of these, or no time to wait, such as "nan" or "-1".
    """
    value = value.strip()
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h|d)", value)
    if parts and "".join(map("".join, parts)) == value:
        unit = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
        return _check(sum(float(number) * unit[name] for number, name in parts))
    with contextlib.suppress(ValueError):
        return _check(float(value))
    readers: list[Callable[[str], datetime]] = [
        parsedate_to_datetime,
        lambda v: datetime.fromisoformat(v.replace("Z", "+00:00")),
    ]
    for read in readers:
        try:
            return max(read(value).timestamp() - time.time(), 0.0)
        except (ValueError, TypeError, OverflowError, OSError):
            continue
    return None


def _check(seconds: float) -> float | None:
    return seconds if 0 <= seconds < math.inf else None
