"""A run as a file of JSON lines, to be followed by other programs."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from pgkd.records import Event, Generation, Step
from pgkd.system.documents import dumps, step_to_json


class JSONLinesCallback(BaseEstimator):  # type: ignore[misc]
    """Add a line of JSON to a file for each event of a run.

    A line has ``time`` (seconds since 1970), ``kind`` and ``value``, as :class:`pgkd.records.Event`
    documents them. Runs of the same path follow each other in it.

    Parameters
    ----------
    path : str or path
        Created, with its directory, by the first event.
    generations : bool, default=False
        Whether the teacher's answers have lines of their own. They hold its texts, and those that
        it labelled.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from pgkd.callbacks import JSONLinesCallback
    >>> from pgkd.records import Event
    >>> path = tempfile.mkdtemp() + "/run.jsonl"
    >>> JSONLinesCallback(path).on_event(Event("end", "patience"))
    >>> json.loads(Path(path).read_text())["value"]
    'patience'
    """

    def __init__(self, path: str | os.PathLike[str], *, generations: bool = False) -> None:
        self.path = path
        self.generations = generations

    def on_event(self, event: Event) -> None:
        """Write `event`."""
        if event.kind == "generation" and not self.generations:
            return
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = dumps({"time": time.time(), "kind": event.kind, "value": _to_json(event.value)})
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")


def _to_json(value: Any) -> Any:
    if isinstance(value, Step):
        return step_to_json(value)
    if isinstance(value, Generation):
        return {
            "request": value.request.id,
            "examples": [{"text": own.text, "label": own.label} for own in value.examples],
            "rejected": dict(value.rejected),
            "error": value.error,
            "usage": asdict(value.usage),
            "saved": asdict(value.saved),
        }
    return value if isinstance(value, str) else asdict(value)
