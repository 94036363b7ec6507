"""What servers and functions of a user's own may tell in other forms than they should."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.teachers import BudgetedTeacher, CachedTeacher, FunctionTeacher, RecordedTeacher
from pgkd.teachers.reading import read_answer, read_text, read_usage

ANSWER = '{"card": ["one"]}'
REQUESTS = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 21)]
#: What an answer may be said to take: 1,000 tokens of input and 100 of output, in any form.
COUNTED = [
    Usage(1, 1000, 100, cost=None),
    Usage(1, 1000, 100),  # whose cost is 0 for want of a better one
    Usage(1, np.int64(1000), np.int32(100), cost=None),
    Usage(1, np.float32(1000), 100.0, cost=np.float64(0.0)),
    Usage(1, "1000", b"100", cost=None, cached_tokens=None),
    Usage(1, 1000, 100, cost=-1.0),
    Usage(1, 1000, 100, cost=float("nan")),
    Usage(1, 1000, 100, cost="free", cached_tokens=-5),
]
#: What says nothing.
UNCOUNTED = [
    *(None, {}, (1000, 100), {"prompt_tokens": 1000}, Usage(1, None, None, cost=None)),
    *(Usage(1, n, 100, cost=None) for n in (-1000, float("nan"), float("inf"), 10**30, True, [])),
]


def spend(usage, **budget):
    n_asked = []

    def answer(messages):
        n_asked.append(1)
        return Completion(ANSWER, usage)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.sqlite"
        teacher = BudgetedTeacher(FunctionTeacher(answer, price=(1.0, 2.0)), path, **budget)
        for _ in range(2):  # what was kept is counted as well
            generations = list(CachedTeacher(teacher, path).generate(REQUESTS))
    return len(n_asked), generations


@pytest.mark.parametrize("usage", COUNTED, ids=repr)
def test_a_budget_holds_however_tokens_are_counted(usage):
    assert spend(usage, max_cost=0.0120001)[0] == 4  # 0.0012 each; 4,096 may be written
    n_asked, generations = spend(usage, max_tokens=9_000)
    assert n_asked == 5
    assert generations[0].saved == Usage(1, 1000, 100, cost=pytest.approx(0.0012))


@pytest.mark.parametrize("usage", UNCOUNTED, ids=repr)
def test_a_budget_holds_where_nothing_is_counted(usage):
    with pytest.warns(UserWarning, match="does not tell how many tokens") as caught:
        n_asked, generations = spend(usage, max_cost=0.05)
    assert len(caught) == 1
    assert n_asked == 5
    assert generations[0].saved.cost is None


def test_a_cost_that_is_told_counts():
    assert spend(Usage(1, 10, 10, cost=0.02), max_cost=0.05)[0] == 3
    assert spend(Usage(1, 10, 10, cost="0.02"), max_cost=0.05)[0] == 3
    assert read_usage(Usage(1, 7, 9, 0.5, 50)) == Usage(1, 7, 9, 0.5, 7)


@pytest.mark.parametrize("kind", ["cache", "recording"])
@pytest.mark.parametrize(
    ("answer", "text", "logprobs"),
    [
        (Completion(ANSWER, logprobs=({"x": np.float32(-0.5)},)), ANSWER, ({"x": -0.5},)),
        (Completion(ANSWER, logprobs=[{"\ud83d": "-0.5"}]), ANSWER, ({"\ud83d": -0.5},)),
        (Completion(ANSWER, logprobs=None), ANSWER, ()),
        (Completion(ANSWER, logprobs=7), ANSWER, ()),
        (Completion(ANSWER, logprobs=({"x": None},), truncated=None), ANSWER, ()),
        (Completion('{"card": ["one"]} \ud83d'), '{"card": ["one"]} \ud83d', ()),
        (Completion(ANSWER.encode()), ANSWER, ()),
        ([{"type": "text", "text": ANSWER}], ANSWER, ()),
    ],
    ids=repr,
)
def test_no_answer_is_lost_by_what_is_beside_it(answer, text, logprobs, kind, tmp_path):
    asked = []
    teacher = FunctionTeacher(lambda messages: asked.append(1) or answer)
    path = tmp_path / "kept"
    for _ in range(2):
        kept = CachedTeacher(teacher, path) if kind == "cache" else RecordedTeacher(path, teacher)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            [generation] = kept.generate(REQUESTS[:1])
        assert [example.text for example in generation.examples] == ["one"]
    assert asked == [1]
    if isinstance(answer, Completion):
        assert (read_answer(answer).text, read_answer(answer).logprobs) == (text, logprobs)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"type": "text", "text": "a"}, "a"),
        ([{"type": "text", "text": {"value": "a", "annotations": []}}], "a"),
        ([{"type": "text", "content": "a"}, {"text": "b"}], "ab"),
        ([{"text": "draft", "thought": True}, {"text": "a"}], "a"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "draft"}]}, "a"], "a"),
        ([{"type": "summary_text", "text": "draft"}, {"type": "output_text", "text": "a"}], "a"),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "text", "text": None}, {"type": "tool_use", "input": {}}, None], ""),
        ([{"type": "refusal", "refusal": "no"}], ""),
        (b"a", "a"),
        ([{"card": ["a"]}], '{"card": ["a"]}'),
    ],
)
def test_parts(content, text):
    assert read_text(content) == text
