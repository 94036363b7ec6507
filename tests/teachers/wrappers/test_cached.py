import json
import sqlite3
from contextlib import closing

import pytest

from pgkd.exceptions import TeacherError
from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.system.store import RunStore
from pgkd.teachers import (
    AnthropicTeacher,
    CachedTeacher,
    LLMTeacher,
    OpenAITeacher,
    RecordedTeacher,
)
from pgkd.testing import FaultServer, check_teacher

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
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        [[answer]] = connection.execute("SELECT answer FROM answers")
        old = json.loads(answer)
        del old["logprobs"], old["digest"]
        connection.execute("UPDATE answers SET answer = ?", [json.dumps(old)])
    assert store.get("key") == Completion(ANSWER, Usage(1, 2, 3))


# Failures


def chat(content, reason="stop", **choice):
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return {"choices": [{"message": message, "finish_reason": reason, **choice}], "usage": usage}


FAILURES = {
    "empty": chat(""),
    "blank": chat(" \n"),
    "null": chat(None),
    "no text part": chat([{"type": "thinking", "thinking": ANSWER}]),
    "filtered": chat(None, "content_filter"),
    "filtered in the middle": chat('{"card": ["one', "content_filter"),
    "error": chat("", "error", error={"code": 502, "message": "the provider is down"}),
    "error with a text": chat(ANSWER, error={"code": 429, "message": "the provider is down"}),
    "error without a message": chat(None, "error"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("kind", [CachedTeacher, RecordedTeacher])
def test_a_failure_is_not_kept(failure, kind, tmp_path):
    def ask(server):
        teacher = OpenAITeacher("m", base_url=server.base_url, max_retries=0)
        path = tmp_path / "a"
        wrapped = kind(teacher, path) if kind is CachedTeacher else kind(path, teacher)
        [generation] = wrapped.generate([GenerationRequest("1-1", {"card": 1})])
        return generation

    with FaultServer([failure]) as server:
        failed = ask(server)
        assert failed.examples == ()
        assert failed.error or failed.rejected
        assert ("the provider is down" in str(failed.error)) == ("is down" in str(failure))
    with FaultServer([chat(ANSWER)]) as server:
        assert [example.text for example in ask(server).examples] == ["one"]
        assert ask(server).examples
        assert server.n_requests == 1


def test_an_error_in_the_place_of_a_choice_is_tried_again():
    script = [FAILURES["error"], FAILURES["error without a message"], chat(ANSWER)]
    with FaultServer(script) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url)
        [generation] = teacher.generate([GenerationRequest("1-1", {"card": 1})])
    assert generation.examples
    assert generation.usage.n_requests == 3


def test_whole_texts_that_a_filter_cut_off_are_used():
    with FaultServer([chat('{"card": ["one"], "rate": ["tw', "content_filter")]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url)
        [generation] = teacher.generate(REQUESTS[:1])
    assert [example.text for example in generation.examples][:1] == ["one"]


def test_a_failure_that_was_kept_before_is_asked_again(ask, tmp_path):
    ask()
    path = tmp_path / "run" / "a.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rows = connection.execute("SELECT key, answer FROM answers").fetchall()
        for key, answer in rows:
            empty = json.dumps(json.loads(answer) | {"text": "", "digest": None})
            connection.execute("UPDATE answers SET answer = ? WHERE key = ?", [empty, key])
    assert all(generation.examples for generation in ask())
    assert Counting.asked == 6


def test_an_answer_that_thinking_has_used_up_is_kept(tmp_path):
    """Asked again with the same limit, it would be so again."""
    body = {
        "content": [],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 1, "output_tokens": 9},
    }
    with FaultServer([body]) as server:
        teacher = AnthropicTeacher("m", base_url=server.base_url)
        for _ in range(2):
            cached = CachedTeacher(teacher, tmp_path / "a.sqlite")
            [generation] = cached.generate([GenerationRequest("1-1", {"card": 1})])
            assert generation.rejected["answer cut off"] == 2
    assert server.n_requests == 2  # the answer and its follow-up
