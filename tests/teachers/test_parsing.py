import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.records import Example
from pgkd.teachers.parsing import parse

NAMES = {"card": "card", "1": 1, "Long name, with comma": "Long name, with comma"}
A, B = {"label": "card", "text": "where is it"}, {"label": "1", "text": "how {much}?"}
EXAMPLES = (Example("where is it", "card"), Example("how {much}?", 1))


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps({"texts": [A, B]}),
        json.dumps([A, B]),
        json.dumps({"card": [A], "1": [B]}),
        json.dumps({"texts": [A, {**B, "label": 1}]}),
        json.dumps({"texts": [{**A, "label": " CARD "}, B]}),
    ],
)
def test_whole_answers(answer):
    assert parse(answer, NAMES) == (EXAMPLES, {})


@pytest.mark.parametrize(
    "answer",
    [
        'Sure, here you go:\n```json\n{"texts": [{"label": "card", "text": "where is it"}]}\n```',
        '{"texts": [{"label": "card", "text": "where is it"}, {"label": "1", "text": "how mu',
        '{"texts": [{"label": "card", "text": "where is it"}, {"label": "1"',
        "{'label': 'card', 'text': 'where is it',}",
        '{"label": "card", "text": "where is it"}\n{"label": "1", "tex',
    ],
)
def test_whole_items_of_broken_answers_are_kept(answer):
    assert parse(answer, NAMES) == (EXAMPLES[:1], {})


def test_a_cut_off_text_is_never_taken():
    """One of json-repair's services would be to close the open string."""
    whole = json.dumps({"texts": [A, B]})
    for end in range(len(whole)):
        examples, _ = parse(whole[:end], NAMES)
        assert set(examples) <= set(EXAMPLES)


@pytest.mark.parametrize(
    ("answer", "rejected"),
    [
        ('{"texts": [{"label": "cards", "text": "x"}]}', {"unknown label": 1}),
        ('{"texts": [{"label": null, "text": "x"}, {"text": "y"}]}', {"malformed": 2}),
        ('{"texts": [{"label": "card", "text": 3}]}', {"malformed": 1}),
        ("I cannot help with that.", {"unreadable answer": 1}),
        ("", {"unreadable answer": 1}),
        ("[]", {"unreadable answer": 1}),
    ],
)
def test_what_cannot_be_used_is_counted(answer, rejected):
    assert parse(answer, NAMES) == ((), rejected)


@given(st.text())
def test_never_fails_on_any_text(answer):
    examples, rejected = parse(answer, NAMES)
    assert all(example.label in NAMES.values() for example in examples)
    assert examples or rejected


@given(st.lists(st.tuples(st.sampled_from(list(NAMES)), st.text())), st.text(max_size=20))
def test_round_trip(items, noise):
    answer = json.dumps({"texts": [{"label": n, "text": t} for n, t in items]})
    expected = tuple(Example(text, NAMES[name]) for name, text in items)
    assert parse(answer, NAMES)[0] == expected
    if "{" not in noise and not any("{" in t or "}" in t for _, t in items):
        assert parse(noise + "\n" + answer, NAMES)[0] == expected
