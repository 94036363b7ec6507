"""A run directory that a stranger has spoilt is refused, and runs nothing."""

import json
import os
import sqlite3
import sys

import pytest

from pgkd.exceptions import PersistenceError
from pgkd.records import Completion, Usage
from pgkd.system.store import MAX_ANSWER, RunStore

ANSWER = Completion("hi", Usage(1, 10, 5, cost=0.1))
ROW = {"text": "hi", "usage": {"n_requests": 1}, "truncated": False}
COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'a', MAX(i) FROM n"


@pytest.fixture
def store(tmp_path):
    store = RunStore(tmp_path / "run.sqlite")
    store.put("a", ANSWER)
    return store


def spoil(store, *statements):
    connection = sqlite3.connect(store.path)
    for statement in statements:
        connection.execute(*([statement] if isinstance(statement, str) else statement))
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 10**6,
        "[" * 10**5,
        "[" + "[]," * 3_000_000 + "[]]",
        "1" * 10**6,
        "null",
        "{",
        b"\xff\xfe",
        7,
        None,
        {**ROW, "text": None},
        {**ROW, "text": ["hi"]},
        {**ROW, "usage": None},
        {**ROW, "usage": {"n_requests": "1"}},
        {**ROW, "usage": {"n_requests": -1}},
        {**ROW, "usage": {"cost": float("nan")}},
        {**ROW, "usage": {"cost": float("-inf")}},
        {**ROW, "usage": {"evil": 1}},
        {**ROW, "logprobs": [1]},
        {**ROW, "logprobs": [{"a": "b"}]},
        {"text": "hi"},
    ],
    ids=lambda answer: repr(answer)[:30],
)
def test_rows_that_are_no_answers_are_bought_again(store, answer):
    answer = json.dumps(answer) if isinstance(answer, dict) else answer
    spoil(store, ("UPDATE answers SET answer = ?", [answer]))
    with pytest.warns(UserWarning, match=r"An answer in .*run\.sqlite.*is damaged.*bought again"):
        assert store.get("a") is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 sets SQLite no limits")
def test_a_huge_row(store):
    spoil(store, f"UPDATE answers SET answer = CAST(zeroblob({MAX_ANSWER + 1}) AS TEXT)")
    with pytest.raises(PersistenceError, match="too big"):
        store.get("a")


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER t AFTER INSERT ON answers BEGIN DELETE FROM spending; END"],
        ["DROP TABLE answers", f"CREATE VIEW answers (key, answer) AS {COUNT}"],
        ["CREATE TABLE other (x)"],
        ["DROP TABLE answers", "CREATE TABLE answers (key TEXT, answer AS (upper(key)))"],
        ["CREATE INDEX i ON spending (abs(cost))"],
    ],
    ids=["trigger", "view without an end", "table", "column that is computed", "index"],
)
def test_what_would_run_or_is_not_ours(store, statements):
    spoil(store, *statements)
    for ask in (lambda: store.get("a"), lambda: store.put("b", ANSWER), store.total_cost):
        with pytest.raises(PersistenceError, match="has what pgkd does not make"):
            ask()


@pytest.mark.parametrize(
    "entry", [(-1e9, 0), (0.0, -(10**9)), ("evil", 0), (0.0, "evil"), (b"", 0)]
)
def test_a_ledger_with_which_no_budget_would_end(store, entry):
    spoil(store, ("INSERT INTO spending (cost, tokens) VALUES (?, ?)", entry))
    with pytest.raises(PersistenceError, match="1 entries that are no sums"):
        store.reserve(Usage(1, 10, 10, cost=1.0), max_cost=5.0, max_tokens=None)


def test_an_infinite_entry_leaves_no_budget(store):
    spoil(store, "INSERT INTO spending (cost, tokens) VALUES (9e999, 0)")
    assert store.reserve(Usage(1, 10, 10, cost=1.0), max_cost=5.0, max_tokens=None) is None


def test_what_is_no_database(tmp_path):
    def make(name, make_one):
        path = tmp_path / name
        make_one(path)
        return RunStore(path)

    for store in (
        make("pipe", os.mkfifo),
        make("folder", os.mkdir),
        make("device", lambda path: path.symlink_to("/dev/zero")),
        make("text", lambda path: path.write_text("no database" * 1000)),
    ):
        with pytest.raises(PersistenceError, match=store.path.name):
            store.get("a")
