"""One SQLite file a run: every answer that was paid for."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from pgkd.records import Completion, Usage


class AnswerStore:
    """Answers by key, on disk. Safe for threads and processes that share the file.

    Parameters
    ----------
    path : Path
        Created with its folder if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str) -> Completion | None:
        """Return the answer stored under `key`, ``None`` if there is none."""
        if not self.path.exists():
            return None
        with closing(self._open()) as connection:
            row = connection.execute("SELECT answer FROM answers WHERE key = ?", [key]).fetchone()
        if row is None:
            return None
        answer = json.loads(row[0])
        return Completion(answer["text"], Usage(**answer["usage"]), answer["truncated"])

    def put(self, key: str, answer: Completion) -> None:
        """Store `answer`; it is on disk when this returns."""
        with closing(self._open()) as connection, connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?)",
                [key, json.dumps(asdict(answer), ensure_ascii=False)],
            )

    def _open(self) -> sqlite3.Connection:
        # A connection a call: sqlite3's must not cross threads or forks, and a call costs far less
        # than the request it saves. WAL lets readers and a writer work side by side.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=60)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")
        return connection
