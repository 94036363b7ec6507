import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.records import Example, Refusal
from pgkd.teachers.prompts.parsing import parse

NAMES = {"card": "card", "1": 1, "Long name, with comma": "Long name, with comma"}
WHOLE = {"card": ["where is it", "it never came"], "1": ["how {much}?"]}
EXAMPLES = (
    Example("where is it", "card"),
    Example("it never came", "card"),
    Example("how {much}?", 1),
)


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(WHOLE),
        json.dumps(WHOLE, indent=2),
        json.dumps({" CARD ": WHOLE["card"], "1": WHOLE["1"]}),
        json.dumps({"card": WHOLE["card"], "1": WHOLE["1"][0]}),
        "Sure, here you go:\n```json\n" + json.dumps(WHOLE, indent=2) + "\n```\nAnything else?",
        str(WHOLE),
        '{"card": ["where is it", "it never came",], "1": ["how {much}?"],}',
    ],
)
def test_whole_answers(answer):
    assert parse(answer, NAMES) == (EXAMPLES, ())


@pytest.mark.parametrize(
    "answer",
    [
        '{"card": ["where is it", "it never came"], "1": ["how mu',
        '{"card": ["where is it", "it never came"], "1": [',
        '{"card": ["where is it", "it never came"',
        '{"card": ["where is it", "it never came", "wh',
        '{"card": ["where is it", "it never came", "wh\\',
        'Well: {"card": ["where is it", "it never came"] and so on',
    ],
)
def test_whole_texts_of_broken_answers_are_kept(answer):
    assert parse(answer, NAMES) == (EXAMPLES[:2], ())


def test_a_cut_off_text_is_never_taken():
    """One of json-repair's services would be to close the open string."""
    whole = json.dumps(WHOLE)
    for end in range(len(whole)):
        examples, _ = parse(whole[:end], NAMES)
        assert set(examples) <= set(EXAMPLES)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (
            '{"cards": ["x", "y"]}',
            [Refusal("unknown label", "x", "cards"), Refusal("unknown label", "y", "cards")],
        ),
        ('{"card": [3, null]}', [Refusal("malformed")] * 2),
        ('{"card": ["\\ud83d"]}', [Refusal("malformed", "\ud83d", "card")]),
        ("I cannot help with that.", [Refusal("unreadable answer")]),
        ("", [Refusal("unreadable answer")]),
        ("[]", [Refusal("unreadable answer")]),
        ("{}", [Refusal("unreadable answer")]),
        ('{"card": []}', [Refusal("unreadable answer")]),
    ],
)
def test_what_cannot_be_used_is_refused(answer, refused):
    assert parse(answer, NAMES) == ((), tuple(refused))


@given(st.text())
def test_never_fails_on_any_text(answer):
    examples, refused = parse(answer, NAMES)
    assert all(example.label in NAMES.values() for example in examples)
    assert examples or refused


@given(st.dictionaries(st.sampled_from(list(NAMES)), st.lists(st.text())))
def test_round_trip(texts):
    answer = json.dumps(texts)
    expected = tuple(Example(t, NAMES[name]) for name in texts for t in texts[name])
    assert parse(answer, NAMES)[0] == expected
    assert parse("Here: " + answer + " !", NAMES)[0] == expected
