"""What was computed of a text is kept, for all students of the process."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

#: Texts remembered: 77 MB of embeddings at 384 dimensions, about 40 MB of tokens at 32 a text.
CACHE_SIZE = 50_000


class TextCache(Generic[T]):
    """Remembers a value for each text, known by its hash; the oldest ones leave when it is full."""

    def __init__(self) -> None:
        self._values: dict[bytes, T] = {}
        self._lock = threading.Lock()

    def get(self, texts: Sequence[str], compute: Callable[[list[str]], Iterable[T]]) -> list[T]:
        """Return the values of `texts`; ``compute(new)`` makes those that are not known."""
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        with self._lock:
            # What is asked for leaves the cache and comes back at its end: the front is the oldest.
            found = {key: self._values.pop(key) for key in set(keys) & self._values.keys()}
            try:
                new = {key: text for key, text in zip(keys, texts) if key not in found}
                if new:
                    found.update(zip(new, compute(list(new.values()))))
            finally:
                self._values.update(found)
            for key in list(self._values)[: max(len(self._values) - CACHE_SIZE, 0)]:
                del self._values[key]
        return [found[key] for key in keys]

    def __len__(self) -> int:
        return len(self._values)


def identify(name: str | os.PathLike[str]) -> tuple[str, int]:
    """Name a model so that a directory which was written anew is another one."""
    path = Path(name)
    stamp = max((file.stat().st_mtime_ns for file in path.glob("*")), default=0)
    return (str(path.resolve()) if stamp else os.fspath(name)), stamp
