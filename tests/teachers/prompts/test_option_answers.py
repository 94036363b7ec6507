"""From an annotator's answers, in whatever shape, to labels and probabilities."""

import json
from collections import Counter
from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_annotation import ALONE, REQUEST

from pgkd.records import AnnotationRequest, Completion, Example, Refusal
from pgkd.teachers.prompts.labelling import NONE, name_options
from pgkd.teachers.prompts.options import parse, read_probabilities
from pgkd.testing import ScriptedTeacher


@pytest.mark.parametrize(
    ("answer", "labels", "rejected"),
    [
        ('{"1": "A", "2": "A", "3": "B"}', ["card", "rate", "rate"], {}),
        ('{"1": "card", "2": "Rate", "3": "pin"}', ["card", "rate", "pin"], {}),
        ('{"3": "A", "1": "b"}', ["pin", "pin"], {"no answer": 1}),
        ('{"1": "C", "2": "None of these"}', [], {"no label fits": 2, "no answer": 1}),
        # "rate" is not on text 1's list, D on nobody's.
        ('{"1": "rate", "2": 7, "3": "D"}', [], {"unknown label": 3}),
        ('Sure! ```{"1": "pin", "2": "A", "3": "p', ["pin", "rate"], {"no answer": 1}),
        ('```json\n{"1": "A", "2": "A", "3": "A"}\n```', ["card", "rate", "pin"], {}),
        ('{"labels": {"1": "A", "2": "B", "3": "A"}}', ["card", "card", "pin"], {}),
        ('{"Text 1": "A", "text 2": "B", "Text_3:": "A"}', ["card", "card", "pin"], {}),
        ('{"1": ["A"], "2": {"label": "B"}, "3": "A."}', ["card", "card", "pin"], {}),
        ('{"1": "Option A", "2": "B)", "3": " a "}', ["card", "card", "pin"], {}),
        ('["A", "B", "pin"]', ["card", "card", "pin"], {}),
        ('{"answers": ["A", "B", "A"]}', ["card", "card", "pin"], {}),
        ('{"1": ["A", "B"], "2": "AB", "3": null}', [], {"unknown label": 2, "no answer": 1}),
        ('[{"1": "A"}, {"2": "B"}, {"3": "A"}]', ["card", "card", "pin"], {}),
        ('{"result": {"labels": {"1": "A", "2": "B", "3": "A"}}}', ["card", "card", "pin"], {}),
        (
            '[{"text": 1, "label": "A"}, {"text": "hello", "label": "A", "why": "x"}]',
            ["card", "pin"],
            {"no answer": 1},
        ),
        ('{"where is it": "A", "how many  yen": "B", "hello": "A"}', ["card", "card", "pin"], {}),
        ('[{"label": "A"}, {"label": "B"}, {"option": "A"}]', ["card", "card", "pin"], {}),
        (
            '{"1": {"label": "A", "why": "B"}, "2": "B. card", "3": "A: pin"}',
            ["card"] * 2 + ["pin"],
            {},
        ),
        ('{"0": "A", "1": "B", "2": "A"}', ["card", "card", "pin"], {}),  # counted from 0
        ('<think>{"1": "B"}</think>{"1": "A", "2": "B", "3": "A"}', ["card", "card", "pin"], {}),
        ('{"1": "B"}</think>{"1": "A", "2": "B", "3": "A"}', ["card", "card", "pin"], {}),
        ('{"1": "A", "1": "A", "2": "B", "3": "A"}', ["card", "card", "pin"], {}),
        ('{"1": "A", "1": "B", "2": "B"}', ["card"], {"unknown label": 1, "no answer": 1}),
        ('Well: {"1": "A", "1": "B", "2": "B"', ["card"], {"unknown label": 1, "no answer": 1}),
        (
            '{"1": "A. pin", "2": "None of these.", "3": "none"}',
            [],
            {"unknown label": 1, "no label fits": 2},
        ),
        *(
            (shape, ["card", "card", "pin"], {})
            for shape in (
                "1: A\n2: card\n3. A",
                "Text 1: A\n**Text 2**: B\nText 3: pin",
                "{'1': 'A', '2': 'B', '3': 'A'}",
                "{1: 'A', 2: 'B', 3: 'A'}",
                '[["1", "A"], ["2", "B"], ["3", "A"]]',
                '[{"id": 1, "class": "A"}, {"item": 2, "category": "B"}, {"id": 3, "intent": "A"}]',
                '{"card": [1, 2], "pin": [3]}',
                '{"card": ["where is it", "how many yen"], "pin": "hello"}',
                '{"1": {"card": 0.9, "pin": 0.1}, "2": {"A": 0.2, "B": 0.8}, "3": {"pin": 1.0}}',
                '{"1. where is it": "A", "message 2": "B", "#3": "A"}',
                '{"1": {"answer": {"label": "A"}}, "2": "Label: card", "3": "**pin**"}',
            )
        ),
        (
            '{"1": "N/A", "2": "None of these fit", "3": "no label fits"}',
            [],
            {"no label fits": 3},
        ),
        ('{"card": [1, 9], "pin": ["who?"]}', ["card"], {"no answer": 2}),
        ('{"cards": [1, 2], "pin": [3]}', [], {"unreadable answer": 1}),
        ('<think>{"1": "A"}', [], {"unreadable answer": 1}),
        # Which texts are these?
        ('["A", "B"]', [], {"unreadable answer": 1}),
        ('["A", "B", "D"]', [], {"unreadable answer": 1}),
        ('"A"', [], {"unreadable answer": 1}),
        ("A", [], {"unreadable answer": 1}),
        ('{"label": "A"}', [], {"unreadable answer": 1}),
        ("no idea", [], {"unreadable answer": 1}),
        ("[]", [], {"unreadable answer": 1}),
        ("", [], {"unreadable answer": 1}),
        ("[" * 100_000, [], {"unreadable answer": 1}),
    ],
)
def test_parse(answer, labels, rejected):
    examples, refused = parse(answer, REQUEST)
    assert [e.label for e in examples] == labels
    assert Counter(r.reason for r in refused) == rejected
    assert all(r.text in REQUEST.texts for r in refused if r.reason != "unreadable answer")


@pytest.mark.parametrize(
    "answer", ["A", " A.\n", '"A"', "card", '"Card"', '["A"]', '{"label": "A"}', '{"1": "A"}']
)
def test_an_answer_about_one_text(answer):
    assert parse(answer, ALONE) == ((Example("where is it", "card"),), ())


@pytest.mark.parametrize(
    "answer", ["I cannot label that.", "A card", "AB", '{"error": "overloaded"}', "7", "null", "{}"]
)
def test_no_sentence_is_taken_for_a_label(answer):
    assert parse(answer, ALONE) == ((), (Refusal("unreadable answer"),))


def test_none_of_these_by_letter_and_by_name():
    assert parse("C", ALONE) == ((), (Refusal("no label fits", "where is it", "C"),))
    # A label of that name is a label.
    request = replace(ALONE, shortlists=(("card", "None of these"),))
    assert parse(f'{{"1": "{NONE}"}}', request)[0] == (Example("where is it", "None of these"),)
    assert parse('{"1": "C"}', request)[0] == ()


@pytest.mark.parametrize("labels", [("A", "B", "C"), ("b", "a"), (1, 2), (True, False), ("D",)])
def test_labels_that_look_like_options(labels):
    request = AnnotationRequest("1-a1", ("x",), (labels,))
    letters = [*name_options(labels, multilabel=False)]
    for letter, label in zip(letters, labels):
        for said in (letter, letter.lower(), label, str(label)):
            for answer in ({"1": said}, said):
                assert parse(json.dumps(answer), request)[0] == (Example("x", label),), answer
    assert parse(json.dumps({"1": letters[-1]}), request)[0] == ()


def test_numbers_as_labels():
    request = AnnotationRequest("1-a1", ("x",), ((1, 2),))
    assert parse('{"1": "2"}', request)[0] == (Example("x", 2),)
    for said in (2.0, "2.0", " 2 ", [2.0]):
        assert parse(json.dumps({"1": said}), request)[0] == (Example("x", 2),), said
    request = AnnotationRequest("1-a1", ("x",), ((0, 1),))
    assert parse('{"1": 0.0}', request)[0] == (Example("x", 0),)


SETS = replace(REQUEST, shortlists=(("card", "pin", "rate"),) * 3, multilabel=True)


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ('{"1": ["C", "A"], "2": "B", "3": ["pin", "B"]}', [("card", "rate"), ("pin",), ("pin",)]),
        ('{"labels": {"1": ["A"]}}', [("card",)]),
        ('Well: "1": ["A", "rate"], "2": ["ra', [("card", "rate")]),
        ('[["A"], ["B", "C"], ["A"]]', [("card",), ("pin", "rate"), ("card",)]),
    ],
)
def test_sets(answer, labels):
    assert [e.label for e in parse(answer, SETS)[0]] == labels


def test_sets_of_one_text():
    request = replace(ALONE, multilabel=True)
    for answer in ('["A", "B"]', '{"labels": ["A", "B"]}', '[["B", "A"]]', '{"1": ["pin", "A"]}'):
        assert parse(answer, request)[0] == (Example("where is it", ("card", "pin")),), answer
    assert parse("B", request)[0] == (Example("where is it", ("pin",)),)
    assert parse('["A", "Z"]', request)[0] == ()


def test_none_of_these_among_several_labels():
    request = replace(ALONE, multilabel=True)
    for said in (NONE, "None", ["none of the above"], []):
        answer = json.dumps({"1": said})
        assert parse(answer, request) == (
            (),
            (
                Refusal(
                    "no label fits",
                    "where is it",
                    ", ".join([said] if isinstance(said, str) else said),
                ),
            ),
        )
        assert parse(answer, replace(request, may_be_empty=True))[0] == (
            Example("where is it", ()),
        )


@given(st.text() | st.dictionaries(st.text(max_size=2), st.text()).map(json.dumps))
def test_no_label_is_invented(answer):
    for request in (REQUEST, ALONE, SETS):
        shortlists = dict(zip(request.texts, request.shortlists))
        for example in parse(answer, request)[0]:
            assert set(example.labels) <= set(shortlists[example.text])


def tokens(*parts):
    """What a server says of each token; a part is its text, or probabilities, the chosen first."""
    return tuple(
        {p: 0.0} if isinstance(p, str) else {t: log(v) for t, v in p.items()} for p in parts
    )


def read(answer, *parts, request=ALONE):
    found = read_probabilities(Completion(answer, logprobs=tokens(*parts)), request)
    return {
        text: {label: round(p, 3) for label, p in probabilities.items()}
        for text, probabilities in found.items()
    }


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ('{"1": "A"}', ['{"', "1", '":', ' "', {"A": 0.6, "B": 0.2, "C": 0.2}, '"}']),
        ('{"1": "A"}', ['{"1":', {' "A': 0.6, ' "B': 0.2, '"C': 0.1, "C": 0.1}, '"}']),
        ('{"1":"A"}', ['{"1":"', {'A"}': 0.5, "A": 0.1, 'B"': 0.2, "C": 0.2}]),
        ("A", [{" A": 0.6, "B": 0.15, "\u2581B": 0.05, "\u0120C": 0.2}]),
        ("a", [{"a": 0.3, "A": 0.3, "B": 0.2, "C": 0.2}, ""]),
        # Less than all of it is on letters: what is left tells nothing.
        ('{"1": "A"}', ['{"1": "', {"A": 0.06, "card": 0.9, "B": 0.02, "C": 0.02}, '"}']),
    ],
)
def test_probabilities(answer, parts):
    assert read(answer, *parts) == {"where is it": {"card": 0.75, "pin": 0.25}}


def test_letters_that_are_not_among_the_candidates():
    # 0.1 is left for two letters, which is less than the least one listed.
    assert read("A", {"A": 0.9}) == {"where is it": {"card": 0.947, "pin": 0.053}}
    # No more than the least one.
    assert read("A", {"A": 0.3, "C": 0.1}) == {"where is it": {"card": 0.75, "pin": 0.25}}
    # Candidates that are no letters have their share.
    assert read("A", {"A": 0.9, "card": 0.1}) == {"where is it": {"card": 1.0, "pin": 0.0}}


def test_probabilities_where_none_fits():
    assert read("C", {"C": 0.8, "A": 0.15, "B": 0.05}) == {
        "where is it": {"card": 0.75, "pin": 0.25}
    }


def test_probabilities_of_several_texts_are_those_of_their_lists():
    parts = ['{"', "3", '":"', {"B": 0.6, "A": 0.2}, '","', "1", '":"', {"A": 0.9, "B": 0.1}, '"}']
    assert read('{"3":"B","1":"A"}', *parts, request=REQUEST) == {
        "hello": {"pin": 0.25, "rate": 0.75},
        "where is it": {"card": 0.9, "pin": 0.1},
    }


def test_probabilities_of_labels_that_are_letters():
    request = AnnotationRequest("1-a1", ("x",), (("A", "B"),))  # options C and D
    assert read('{"1": "D"}', '{"1": "', {"D": 0.8, "C": 0.2}, request=request) == {
        "x": {"A": 0.2, "B": 0.8}
    }


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ('{"1": "A"}', []),
        ('{"1": "A"}', [{}, {}, {}]),
        ('{"1": "A"}', ['{"1": "', {"B": 0.9, "A": 0.1}, '"}']),  # another answer
        ('{"1": "A"}', ['{"1": "A"}']),  # one token
        ('{"1": "card"}', ['{"1": "', "card", '"}']),
        ('{"1": "A little"}', ['{"1": "', {"A": 0.9, "B": 0.1}, " little", '"}']),
        ("A or B", [{"A": 0.9, "B": 0.1}, " or", {"B": 0.9, "A": 0.1}]),
        ("C or A", [{"C": 0.9, "B": 0.1}, " or", {"A": 0.9, "B": 0.1}]),
        ("I cannot", ["I", " cannot"]),
    ],
)
def test_probabilities_that_cannot_be_read(answer, parts):
    assert read(answer, *parts) == {}


@pytest.mark.parametrize("logprob", [float("nan"), float("inf"), -float("inf"), -1e308])
def test_odd_logprobs(logprob):
    found = read_probabilities(Completion("A", logprobs=({"A": logprob, "B": logprob},)), ALONE)
    for probabilities in found.values():
        assert sum(probabilities.values()) == pytest.approx(1)


def test_what_has_no_probabilities():
    sets = replace(ALONE, multilabel=True)
    assert read('{"1": ["A"]}', '{"1": ["', {"A": 0.9, "B": 0.1}, '"]}', request=sets) == {}
    for n, is_read in ((25, True), (26, False)):  # and "none of these"
        many = replace(ALONE, shortlists=(tuple(f"class {i}" for i in range(n)),))
        assert bool(read("A", {"A": 0.9, "B": 0.1}, request=many)) == is_read


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*"ABCDabc", " A", '"B', "card", "", "1"]),
            st.floats(-1e9, 1),
            max_size=6,
        ),
        max_size=4,
    ),
    st.sampled_from(["A", '{"1": "B"}', '{"1": "C"}', "junk", ""]),
)
def test_probabilities_are_probabilities(logprobs, answer):
    found = read_probabilities(Completion(answer, logprobs=tuple(logprobs)), ALONE)
    for probabilities in found.values():
        assert list(probabilities) == ["card", "pin"]
        assert sum(probabilities.values()) == pytest.approx(1)
        assert all(0 <= p <= 1 for p in probabilities.values())


def test_teachers_give_probabilities():
    answer = Completion('{"1": "A"}', logprobs=tokens('{"1": "', {"A": 0.6, "B": 0.2, "C": 0.2}))
    [generation] = ScriptedTeacher([answer]).annotate([ALONE])
    assert generation.examples == (Example("where is it", "card"),)
    assert generation.probabilities["where is it"]["pin"] == pytest.approx(0.25)
