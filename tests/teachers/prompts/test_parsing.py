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


TWO = {"card": "card", "rate": "rate"}
AB = (Example("a", "card"), Example("b", "rate"))


@pytest.mark.parametrize(
    "answer",
    [
        '[{"card": ["a"]}, {"rate": ["b"]}]',
        '{"texts": {"card": ["a"], "rate": ["b"]}}',
        '{"result": {"texts": [{"card": ["a"]}, {"rate": ["b"]}]}}',
        '{"card": {"1": "a"}, "rate": {"texts": ["b"]}}',
        '{"card": [{"text": "a"}], "rate": {"text": "b"}}',
        '[{"text": "a", "label": "card"}, {"label": "Rate", "text": "b"}]',
        '{"texts": [{"text": "a", "labels": ["card"]}, {"text": "b", "labels": "rate"}]}',
        'Sure: [{"text": "a", "label": "card"}, {"text": "b", "label": "rate"}, {"text": "c',
        '{"card": ["a"]}\n{"rate": ["b"]}',
        '<think>{"card": ["draft"]}</think>{"card": ["a"], "rate": ["b"]}',
        '<think>{"card": ["draft"]}? No: <b></think>\n```json\n{"card": ["a"], "rate": ["b"]}\n```',
        '{"card": ["draft"]}</think>{"card": ["a"], "rate": ["b"]}',
        '<Thinking>{"card": ["draft"]}</Thinking><think>x</think>{"card": ["a"], "rate": ["b"]}',
        '[THINK]{"card": ["draft"]}[/THINK]{"card": ["a"], "rate": ["b"]}',
        '◁think▷{"card": ["draft"]}◁/think▷{"card": ["a"], "rate": ["b"]}',
        '<|channel|>analysis<|message|>{"card": ["draft"]}<|end|><|start|>assistant<|channel|>final'
        '<|message|>{"card": ["a"], "rate": ["b"]}',
        '<think>{"card": ["draft"]}</think>{"card": ["a"], "rate": ["b"], "card": ["cut o',
    ],
)
def test_other_shapes(answer):
    assert parse(answer, TWO) == (AB, ())


@pytest.mark.parametrize(
    "answer",
    [
        '{"card": ["a"], "card": ["b"], "rate": ["c"]}',
        '{"card": ["a"], "rate": "c", "card": "b"}',
        '{"texts": {"card": ["a"]}, "texts": {"card": ["b"], "rate": ["c"]}}',
        "{'card': ['a'], 'card': ['b'], 'rate': ['c']}",
        '{"card": ["a"], "card": ["b"], "rate": ["c"], "rate": ["cut',
        'Well: {"card": ["a"], "card": ["b"], "rate": ["c"]} So.',
    ],
)
def test_a_name_that_comes_twice_loses_nothing(answer):
    examples, refused = parse(answer, TWO)
    assert {(e.text, e.label) for e in examples} == {("a", "card"), ("b", "card"), ("c", "rate")}
    assert not refused


@pytest.mark.parametrize(
    "answer", ['<think>{"card": ["draft"]}', "  <think>well", '[THINK]{"card": ["draft"]} cut o']
)
def test_thinking_without_an_end_is_no_answer(answer):
    assert parse(answer, TWO) == ((), (Refusal("unreadable answer"),))


@pytest.mark.parametrize(
    "answer",
    [
        '[{"class": "card", "text": "a"}, {"class": "rate", "text": "b"}]',
        '{"examples": [{"input": "a", "output": "card"}, {"input": "b", "output": "RATE "}]}',
        '[{"label": "card", "texts": ["a"]}, {"label": "rate", "texts": ["b"]}]',
        '{"card": [{"content": "a", "label": "card"}], "rate": [{"message": "b"}]}',
        '[["card", "a"], ["rate", ["b"]]]',
        '{"labels": ["card", "rate"], "texts": ["a", "b"]}',
        '{"Label \\"card\\"": ["a"], "label: rate": ["b"]}',
        '{"\\"card\\"": ["a"], "`rate`": ["b"]}',
        '{"card": {"card": ["a"]}, "rate": {"rate": {"1": "b"}}}',
        json.dumps({"answer": json.dumps({"card": ["a"], "rate": ["b"]})}),
        json.dumps(json.dumps({"card": ["a"], "rate": ["b"]})),
        json.dumps([json.dumps({"card": ["a"]}), json.dumps({"rate": ["b"]})]),
    ],
)
def test_clean_json_in_other_shapes(answer):
    assert parse(answer, TWO) == (AB, ())


def test_the_labels_of_a_text_under_any_key():
    answer = (
        '{"texts": [{"message": "a", "classes": ["rate", "card"]}, {"q": "b", "tags": "rate"}]}'
    )
    assert parse(answer, TWO, several=True) == (
        (Example("a", ("card", "rate")), Example("b", ("rate",))),
        (),
    )


@pytest.mark.parametrize(
    "answer",
    [
        '{"card": [{"q": "of which?", "label": "rate"}]}',
        '[{"q": "card", "label": "rate"}]',
        '[{"q": "of which?", "and": "this?", "label": "cards"}]',
        '{"labels": ["card", "rate"], "texts": ["of which?"]}',
        '[["cards", "of which?"]]',
        '{"answer": "{of which?}"}',
    ],
)
def test_no_class_is_guessed_in_other_shapes(answer):
    examples, refused = parse(answer, TWO)
    assert examples == ()
    assert refused


@pytest.mark.parametrize("text", ["use </think> here", "<think>a</think>", "[THINK] [/THINK]"])
def test_a_text_may_speak_of_thinking(text):
    assert parse(json.dumps({"card": [text]}), TWO) == ((Example(text, "card"),), ())


@pytest.mark.parametrize(
    ("answer", "n_refused"),
    [
        ('{"card": {"rate": ["of which?"]}}', 1),
        ('{"text": "of which?", "labels": ["card", "rate"]}', 1),
        ('{"texts": ["of which?", "and this?"]}', 2),
        ('["of which?", "and this?"]', 2),
        ('[{"text": "of which?"}]', 1),
        ("[" * 900 + '"deep"' + "]" * 900, 1),
        ("['card', 'see [1]", 1),
    ],
)
def test_no_class_is_guessed(answer, n_refused):
    examples, refused = parse(answer, TWO)
    assert examples == ()
    assert len(refused) == n_refused


def test_a_bare_list_for_the_only_class():
    assert parse('["a", "b"]', {"card": 7})[0] == (Example("a", 7), Example("b", 7))
    assert parse('[{"cards": ["a"]}]', {"card": 7}) == (
        (),
        (Refusal("unknown label", "a", "cards"),),
    )
    named_by_numbers = {"Long, name": "Long, name", "1": "Long, name"}
    assert parse('["a"]', named_by_numbers)[0] == (Example("a", "Long, name"),)


def test_numbers_of_texts_are_no_numbers_of_classes():
    names = {"Long, name": "x", "Other, name": "y", "1": "x", "2": "y"}
    answer = '{"Long, name": {"1": "a", "2": "b"}}'
    assert parse(answer, names)[0] == (Example("a", "x"), Example("b", "x"))


def test_a_class_called_text():
    names = {"text": "text", "label": "label"}
    assert parse('{"text": ["a"], "label": ["b"]}', names)[0] == (
        Example("a", "text"),
        Example("b", "label"),
    )


def test_a_whole_number_as_a_class():
    assert parse('{"0.0": ["a"], "1": ["b"]}', {"0": 0, "1": 1})[0] == (
        Example("a", 0),
        Example("b", 1),
    )
