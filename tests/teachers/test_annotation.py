import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkd.records import AnnotationRequest, Example
from pgkd.teachers import FunctionTeacher
from pgkd.teachers.annotation import NONE, answer_schema, parse, render

REQUEST = AnnotationRequest(
    "2-a1",
    ("where is it", "how many yen", "hello"),
    (("card", "pin"), ("rate", "card"), ("pin", "rate")),
    examples=(Example("the card is late", "card"), Example("forgot it", "pin")),
    task_description="Messages to a bank.",
    class_descriptions={"card": "delivery of cards"},
)


def test_prompt():
    text = "\n".join(message["content"] for message in render(REQUEST))
    for part in (
        "Task of the classifier: Messages to a bank.",
        'Label "card": delivery of cards\n- "the card is late"',
        f'Text 1: "where is it"\nIts label is one of: "card", "pin", "{NONE}"',
        "Request 2-a1: label the 3 texts.",
    ):
        assert part in text


def test_texts_share_a_list():
    request = replace(REQUEST, shortlists=(("card", "pin"),) * 3)
    text = render(request)[1]["content"]
    assert f'The label of each text is one of these, or "{NONE}".\n\nText 1: "where is it"' in text
    assert text.count('"pin"') == 1  # its heading: a list for each text would repeat all names


def test_schema():
    schema = answer_schema(REQUEST)
    assert schema["properties"]["2"]["enum"] == ["rate", "card", NONE]
    assert schema["required"] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("answer", "labels", "rejected"),
    [
        ('{"1": "card", "2": "Rate", "3": "pin"}', ["card", "rate", "pin"], {}),
        (f'{{"1": "card", "2": "{NONE}"}}', ["card"], {"no label fits": 1, "no answer": 1}),
        (
            '{"1": "rate", "2": 7}',
            [],
            {"unknown label": 2, "no answer": 1},
        ),  # "rate" is not on text 1's list
        ('Sure! ```{"1": "pin", "2": "rate", "3": "p', ["pin", "rate"], {"no answer": 1}),
        ("no idea", [], {"unreadable answer": 1}),
        ("[]", [], {"unreadable answer": 1}),
    ],
)
def test_parse(answer, labels, rejected):
    examples, refused = parse(answer, REQUEST)
    assert [e.label for e in examples] == labels
    assert Counter(r.reason for r in refused) == rejected
    assert all(r.text in REQUEST.texts for r in refused if r.reason != "unreadable answer")


@given(st.text() | st.dictionaries(st.text(max_size=2), st.text()).map(json.dumps))
def test_no_label_is_invented(answer):
    shortlists = dict(zip(REQUEST.texts, REQUEST.shortlists))
    assert all(e.label in shortlists[e.text] for e in parse(answer, REQUEST)[0])


def test_numbers_as_labels():
    request = AnnotationRequest("1-a1", ("x",), ((1, 2),))
    assert parse('{"1": "2"}', request)[0] == (Example("x", 2),)


def test_llm_teachers_annotate():
    teacher = FunctionTeacher(lambda messages: '{"1": "card", "3": "rate"}')
    [generation] = teacher.annotate([REQUEST])
    assert generation.examples == (Example("where is it", "card"), Example("hello", "rate"))
