import json
import sqlite3

import pytest

from pgkd.exceptions import TeacherError
from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.system.store import RunStore
from pgkd.teachers import CachedTeacher, LLMTeacher
from pgkd.testing import check_teacher

ANSWER = '{"card": ["one"]}'
REQUESTS = [GenerationRequest(f"1-{i}", {"card": 1, "rate": 1}) for i in range(1, 4)]


class Counting(LLMTeacher):
    price = (1.0, 1.0)
    asked = 0

    def __init__(self, temperature=0.0, max_concurrency=2, truncated=False, max_tokens=9):
        self.temperature = temperature
        self.max_concurrency = max_concurrency
        self.truncated = truncated
        self.max_tokens = max_tokens

    def complete(self, messages, *, schema):
        Counting.asked += 1
        return Completion(ANSWER, Usage(1, 100, 10, cost=None), truncated=self.truncated)


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.setattr(Counting, "asked", 0)

    def ask(requests=REQUESTS, **params):
        return list(
            CachedTeacher(Counting(**params), tmp_path / "run" / "a.sqlite").generate(requests)
        )

    return ask


def test_paid_once(ask):
    first, second = ask(), ask()
    assert Counting.asked == 3
    assert sum((g.usage for g in first), Usage()).cost == pytest.approx(3 * 110e-6)
    assert sum((g.usage for g in second), Usage()) == Usage()
    assert [g.examples for g in first] == [g.examples for g in second]


def test_what_changes_the_answer_is_in_the_key(ask):
    ask()
    ask(max_concurrency=5)
    assert Counting.asked == 3
    ask(temperature=1.0)
    assert Counting.asked == 6
    ask([GenerationRequest("2-1", {"card": 1, "rate": 1})])
    assert Counting.asked == 7


def test_cut_off_answers_are_kept_with_their_follow_ups(ask):
    first, second = ask(truncated=True), ask(truncated=True)
    assert Counting.asked == 2 * 3
    assert [g.examples for g in first] == [g.examples for g in second]
    assert [g.rejected for g in first] == [g.rejected for g in second]
    ask(truncated=True, max_tokens=99)
    assert Counting.asked == 2 * 2 * 3
    ask(truncated=False)
    assert Counting.asked == 2 * 2 * 3 + 3
    ask(truncated=False, max_tokens=99)  # a whole answer is whole with any limit
    assert Counting.asked == 2 * 2 * 3 + 3


def test_failures_are_not_kept(tmp_path):
    class Failing(Counting):
        def complete(self, messages, *, schema):
            if Counting.asked == 0:
                Counting.asked = 1
                raise TeacherError("down")
            return super().complete(messages, schema=schema)

    Counting.asked = 0
    teacher = CachedTeacher(Failing(max_concurrency=1), tmp_path / "a.sqlite")
    with pytest.raises(TeacherError, match="down"):
        list(teacher.generate(REQUESTS[:1]))
    assert len(next(teacher.generate(REQUESTS[:1])).examples) == 1


def test_conforms(tmp_path):
    check_teacher(CachedTeacher(Counting(), tmp_path / "a.sqlite"))


def test_answers_of_before_there_were_logprobs_still_count(tmp_path):
    store = RunStore(tmp_path / "a.sqlite")
    store.put("key", Completion(ANSWER, Usage(1, 2, 3), logprobs=({"a": -0.5},)))
    assert store.get("key").logprobs == ({"a": -0.5},)
    with sqlite3.connect(store.path) as connection:
        [[answer]] = connection.execute("SELECT answer FROM answers")
        old = json.loads(answer)
        del old["logprobs"]
        connection.execute("UPDATE answers SET answer = ?", [json.dumps(old)])
    assert store.get("key") == Completion(ANSWER, Usage(1, 2, 3))
