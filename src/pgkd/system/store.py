"""One SQLite file a run: every answer that was paid for, batches under way, and what was spent."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pgkd.exceptions import PersistenceError
from pgkd.records import Completion, Usage
from pgkd.system.artefacts import parse_json
from pgkd.system.lease import Lease, find_lapsed, is_held

#: Name of the file in a ``run_dir``.
FILE_NAME = "run.sqlite"
#: Of the tables; a later one is left alone.
FORMAT = 1
#: Bytes of an answer, with the log probabilities of all its tokens.
MAX_ANSWER = 64 * 2**20
#: Seconds to wait for another process.
PATIENCE = 60.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT);
CREATE TABLE IF NOT EXISTS batches (key TEXT PRIMARY KEY, batch TEXT);
CREATE TABLE IF NOT EXISTS spending (id INTEGER PRIMARY KEY, cost REAL, tokens INTEGER);
CREATE TABLE IF NOT EXISTS reservations (entry INTEGER PRIMARY KEY, lease TEXT);
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, lease TEXT);
"""

#: Held in a transaction. A fork waits for it: in the child, SQLite would wait for the end of a
#: transaction that a thread of the parent is in.
_in_transaction = threading.Lock()
#: Connections that stay open beside transactions; none may cross a fork.
_open_beside: set[sqlite3.Connection] = set()


def _prepare_fork() -> None:
    _in_transaction.acquire()
    while _open_beside:
        _open_beside.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_prepare_fork,
        after_in_parent=_in_transaction.release,
        after_in_child=_in_transaction.release,
    )


class RunStore:
    """Answers by key and a ledger, on disk. Safe for threads and processes that share the file.

    Parameters
    ----------
    path : Path
        Created with its folder if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lease: Lease | None = None

    def check(self) -> None:
        """Raise, before anything is spent, if nothing could be kept, or something is damaged.

        Raises
        ------
        PersistenceError
        """
        with self._transaction() as connection:
            [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            connection.execute(f"PRAGMA user_version = {FORMAT}")  # a full disk is read well

    def get(self, key: str) -> Completion | None:
        """Return the answer stored under `key`, ``None`` if there is none."""
        find = "SELECT CAST(answer AS BLOB) FROM answers WHERE key = ?"
        with self._transaction("DEFERRED") as connection:
            row = connection.execute(find, [key]).fetchone()
        if row is None:
            return None
        try:
            answer = parse_json(row[0])
            if answer.pop("digest", None) not in (None, _digest(answer)):
                raise ValueError("it is not what was kept")
            return read_completion(answer)
        except Exception as error:  # whatever a flipped bit leads to
            warnings.warn(
                f"An answer in {str(self.path)!r} is damaged ({error}), and is bought again.",
                stacklevel=2,
            )
            return None

    def is_empty(self) -> bool:
        """Whether neither answers are kept nor batches under way."""
        if not self.path.exists():
            return True
        with self._transaction("DEFERRED") as connection:
            tables = "SELECT key FROM answers UNION ALL SELECT key FROM batches LIMIT 1"
            return connection.execute(tables).fetchone() is None

    def put(self, key: str, answer: Completion) -> None:
        """Store `answer`; it is on disk when this returns, and its entry in the ledger is final."""
        row = asdict(answer)
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?)",
                # In ASCII: SQLite takes no half of an emoji.
                [key, json.dumps({**row, "digest": _digest(row)})],
            )
            connection.execute("DELETE FROM reservations WHERE entry = ?", [_SETTLED.get()])
        _SETTLED.set(None)

    def find_batches(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the batch of each request that is known to have been submitted with one."""
        if not self.path.exists():
            return {}
        with self._transaction("DEFERRED") as connection:
            find = partial(connection.execute, "SELECT batch FROM batches WHERE key = ?")
            found = {key: find([key]).fetchone() for key in keys}
        return {key: row[0] for key, row in found.items() if row is not None}

    def put_batch(self, keys: Iterable[str], batch: str) -> None:
        """Remember that these requests were submitted with `batch`."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO batches VALUES (?, ?)", [[key, batch] for key in keys]
            )

    def forget_batches(self, keys: Iterable[str]) -> None:
        """Let these requests be submitted again."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM batches WHERE key = ?", [[key] for key in keys])

    def claim(self, key: str) -> bool:
        """Whether to ask for an answer, inside `lease`: no other one who lives is about to."""
        if self._lease is None or not self._lease.is_locked:
            return True
        find = "SELECT lease FROM claims WHERE key = ?"
        with self._transaction() as connection:
            row = connection.execute(find, [key]).fetchone()
            if row is not None and is_held(self.path, row[0]):
                return False
            row = [key, self._lease.name]
            connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", row)
        return True

    def disclaim(self, key: str) -> None:
        """Let others ask for an answer, if it has not come by then."""
        if self._lease is not None:
            own = [key, self._lease.name]
            with self._transaction() as connection:
                connection.execute("DELETE FROM claims WHERE key = ? AND lease = ?", own)

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Reserve inside as a process that is alive, after all reservations of dead ones are gone.

        What these had asked for may have been billed, but its answers are lost: they are asked for
        again, as far as the budget had allowed it.
        """
        with self._transaction() as connection:  # one process after the other
            lapsed = find_lapsed(self.path)
            for path in lapsed:
                connection.execute(
                    "DELETE FROM spending WHERE id IN "
                    "(SELECT entry FROM reservations WHERE lease = ?)",
                    [path.name],
                )
                connection.execute("DELETE FROM reservations WHERE lease = ?", [path.name])
            lease = Lease(self.path)
        for path in lapsed:
            with suppress(OSError):
                path.unlink()
        self._lease = lease
        try:
            with self._stay_open():
                yield
        finally:
            self._lease = None
            lease.release()

    def reserve(
        self, expected: Usage, max_cost: float | None, max_tokens: int | None
    ) -> int | None:
        """Enter what a request may take in the ledger, if the budget allows it.

        Returns
        -------
        entry : int or None
            To be settled when the bill is known. One that is not goes on counting, because the
            request may have been billed; inside `lease`, as long as the process lives. ``None``:
            the budget does not allow it.
        """
        with self._transaction() as connection:
            cost, tokens, n_odd = connection.execute(
                "SELECT TOTAL(cost), TOTAL(tokens), TOTAL(typeof(cost) <> 'real' OR cost < 0 OR "
                "typeof(tokens) <> 'integer' OR tokens < 0) FROM spending"
            ).fetchone()
            if n_odd:  # with which a budget would never be spent
                raise sqlite3.DatabaseError(f"its ledger has {n_odd:.0f} entries that are no sums")
            if max_cost is not None and cost + (expected.cost or 0.0) > max_cost:
                return None
            if max_tokens is not None and tokens + _tokens(expected) > max_tokens:
                return None
            entry = connection.execute(
                "INSERT INTO spending (cost, tokens) VALUES (?, ?)",
                [expected.cost or 0.0, _tokens(expected)],
            )
            if self._lease is not None:
                connection.execute(
                    "INSERT INTO reservations VALUES (?, ?)", [entry.lastrowid, self._lease.name]
                )
            return entry.lastrowid

    def settle(self, entry: int, usage: Usage, *, is_kept: bool = False) -> None:
        """Replace a reservation by what the request took; it stays if the cost is not known.

        Of an answer that a cache with the same file is to keep (`is_kept`), the entry is final when
        that is done: a process that dies in between has lost the answer, as if it had never come.
        """
        keeper = ACTIVE_STORE.get()
        is_final = not is_kept or keeper is None or keeper.path != self.path
        with self._transaction() as connection:
            connection.execute(
                "UPDATE spending SET cost = COALESCE(?, cost), tokens = ? WHERE id = ?",
                [usage.cost, _tokens(usage), entry],
            )
            if is_final:
                connection.execute("DELETE FROM reservations WHERE entry = ?", [entry])
        _SETTLED.set(None if is_final else entry)

    def total_cost(self) -> float:
        """US dollars on the ledger, reserved ones included."""
        with self._transaction("DEFERRED") as connection:
            cost: float = connection.execute("SELECT TOTAL(cost) FROM spending").fetchone()[0]
        return cost

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Be `ACTIVE_STORE` inside."""
        token = ACTIVE_STORE.set(self)
        try:
            yield
        finally:
            ACTIVE_STORE.reset(token)

    @contextmanager
    def _stay_open(self) -> Iterator[None]:
        """Have a connection open inside, so that none of the others is the last one.

        Who closes the last one copies all of the log into the file: ten times an answer's work.
        """
        with self._connect() as connection:
            _open_beside.add(connection)
            try:
                yield
            finally:
                _open_beside.discard(connection)

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        # A connection a call: sqlite3's must not cross threads or forks, and a call costs far less
        # than the request it saves.
        with _in_transaction, self._connect() as connection:
            connection.execute(f"BEGIN {kind}")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            if sys.version_info >= (3, 11):
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ANSWER)
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version > FORMAT:
                raise PersistenceError(
                    f"The answers in {str(self.path)!r} were kept by a later pgkd: upgrade pgkd, "
                    "or pass another `run_dir`."
                )
            _check_schema(connection)
            # Readers and a writer work side by side, and what is committed outlives the power.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if version < FORMAT:
                connection.executescript(f"{_SCHEMA}PRAGMA user_version = {FORMAT};")
            yield connection
        except (sqlite3.Error, OSError) as error:
            raise PersistenceError(
                f"The answers in {str(self.path)!r} cannot be read or kept ({error}): "
                f"{_find_fix(str(error))}, or pass another `run_dir`."
            ) from error
        finally:
            if connection is not None:
                connection.close()  # rolls back what was not committed


def _check_schema(connection: sqlite3.Connection) -> None:
    """Refuse triggers, views and all that would run or be read in the place of our tables."""
    ours = {line.replace("IF NOT EXISTS ", "") for line in _SCHEMA.strip().split(";\n")}
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if odd := {sql for [sql] in found} - {line.rstrip(";") for line in ours}:
        raise sqlite3.DatabaseError(f"it has what pgkd does not make, {min(odd)[:50]!r}")


def _find_fix(said: str) -> str:
    """Tell what helps against an error of SQLite or of the system."""
    for words, fix in _FIXES.items():
        if any(word in said for word in words):
            return fix
    return "move it away, what it holds will be bought again"


_FIXES = {
    ("locked",): "another process holds it, wait until that one has ended",
    ("full", "No space", "too large", "disk I/O", "quota"): "free the disk",
    ("readonly", "Read-only", "unable to open", "denied", "Not a directory", "File exists"): (
        "make its folder one that can be written"
    ),
}


#: The store of the session that is open, if it has one, for teachers with something to remember.
ACTIVE_STORE: ContextVar[RunStore | None] = ContextVar("ACTIVE_STORE", default=None)
#: The entry that the running task has settled, and whose answer it is about to keep.
_SETTLED: ContextVar[int | None] = ContextVar("_SETTLED", default=None)


def read_completion(answer: dict[str, Any]) -> Completion:
    """Read what `asdict` made of an answer; an older one has no log probabilities.

    Raises
    ------
    Exception
        If it is none.
    """
    usage = Usage(**answer["usage"])
    logprobs = tuple(answer.get("logprobs") or ())
    sums = [0 if name == "cost" and n is None else n for name, n in asdict(usage).items()]
    numbers = [value for row in logprobs for value in row.values()]
    if not isinstance(answer["text"], str) or not all(0 <= n < math.inf for n in sums):
        raise ValueError("an answer has no text, or took what is no number")
    if not all(isinstance(value, (int, float)) for value in numbers):
        raise ValueError("an answer has log probabilities that are no numbers")
    return Completion(answer["text"], usage, bool(answer["truncated"]), logprobs=logprobs)


def _digest(answer: dict[str, Any]) -> int:
    """Return a checksum, as SQLite has none."""
    text = json.dumps(answer, ensure_ascii=False)
    return zlib.crc32(text.encode(errors="surrogatepass"))


def _tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
