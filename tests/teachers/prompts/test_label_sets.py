"""Prompts, schemas and answers where texts have several labels."""

import json
from dataclasses import replace

import pytest

from pgkd.records import (
    AnnotationRequest,
    ClassScore,
    Completion,
    Example,
    GenerationRequest,
    Prediction,
    Refusal,
    StudentReport,
)
from pgkd.teachers.base import answer_schema, find_missing, parse_answer
from pgkd.teachers.prompts import labelling, writing
from pgkd.teachers.prompts.writing import SETS_SYSTEM, render, split_static
from pgkd.testing import PoolTeacher, ScriptedTeacher

REPORT = StudentReport(
    0.61, 0.5, 1.2, {"card": ClassScore(0.5, 0.4, 0.44, 10)}, {("card", "pin"): 3}, 0.5, 30
)
REQUEST = GenerationRequest(
    "2-7",
    {("card", "rate"): 2, ("rate",): 1},
    examples=(Example("where is\nmy card", ("card",)),),
    hard_negatives=(Prediction("it never came", ("card", "rate"), ("pin", "rate"), 0.93),),
    correct=(Prediction("a good rate", ("rate",), ("rate",), 0.8),),
    wrong=(Prediction("post me it", ("card",), (), 0.4),),
    contrasts={"card": ("pin",)},
    report=REPORT,
    task_description="Messages to a bank.",
    class_descriptions={"card": "delivery of cards"},
    choices=("card", "pin", "rate"),
)


def text(request):
    return "\n".join(message["content"] for message in render(request))


@pytest.mark.parametrize(
    "part",
    [
        SETS_SYSTEM,
        "Task of the classifier: Messages to a bank.",
        "Its accuracy: 0.61",
        'Label "card": delivery of cards\nPrecision 0.50, recall 0.40, F1 0.44; 10 texts; 3 times '
        'missed where "pin" was wrongly given',
        'Label "rate"',
        'Labels that texts may have besides: "pin"',
        '- "where is my card" (labels: "card")',
        '- "a good rate" (labels: "rate"; recognised)',
        '- "it never came" (labels: "card", "rate"; wrongly given "pin", missed "card", '
        "confidence 0.93)",
        '- "post me it" (labels: "card"; missed "card")',
        'write 3 new texts, 2 with "card", "rate" that a hasty reader could give "pin" as well '
        '(3 and 3 words), 1 with "rate" only (3 words). Think of ',
        'Answer as {"texts": [{"text": "...", "labels": ["card", "rate"]}]}',
    ],
)
def test_prompt(part):
    assert part in text(REQUEST)
    assert ScriptedTeacher([]).render(REQUEST) == render(REQUEST)


DESCRIBE = replace(
    REQUEST,
    counts={("card",): 3, ("rate",): 1},
    hard_negatives=(),
    correct=(),
    wrong=(),
    report=None,
    kind="describe",
)


def test_describe():
    system, user = (message["content"] for message in render(DESCRIBE))
    assert system == writing.DESCRIBE_SYSTEM
    assert 'Label "card": delivery of cards\nReal texts:\n- "where is my card"\n' in user
    assert 'a sentence and 2 phrases for "card", a sentence for "rate".' in user
    assert '"card" is close to "pin".' in user
    assert answer_schema(DESCRIBE)["properties"]["card"]["minItems"] == 3
    cut = Completion('{"card": ["About cards.", "my card", "it ne', truncated=True)
    teacher = ScriptedTeacher([cut, '{"card": ["post it"], "rate": ["About rates."]}'])
    [generation] = teacher.generate([DESCRIBE])
    texts = [(e.text, e.label) for e in generation.examples]
    assert texts == [
        ("About cards.", ("card",)),
        ("my card", ("card",)),
        ("post it", ("card",)),
        ("About rates.", ("rate",)),
    ]
    followed = teacher.prompts_[1][1]["content"]
    assert 'a sentence for "card", a sentence for "rate"' in followed


def test_rewrite_asks_for_no_new_angle():
    text_of_it = text(replace(REQUEST, kind="rewrite"))
    assert "Think of" not in text_of_it
    assert " Each has 3 to 4 words." in text_of_it


def test_the_task_is_shared_by_all_requests():
    assert split_static(render(REQUEST)[1]["content"])[0] == (
        "Task of the classifier: Messages to a bank."
    )


def test_schema():
    schema = answer_schema(REQUEST)
    texts = schema["properties"]["texts"]
    assert (texts["minItems"], texts["maxItems"]) == (3, 3)
    assert texts["items"]["required"] == ["text", "labels"]
    labels = texts["items"]["properties"]["labels"]
    assert labels["items"] == {"type": "string", "enum": ["card", "pin", "rate"]}
    assert labels["minItems"] == 1
    schema = answer_schema(replace(REQUEST, counts={(): 1, ("card",): 2}))
    labels = schema["properties"]["texts"]["items"]["properties"]["labels"]
    assert labels["minItems"] == 0  # a text without a label is wanted
    for part in (schema, texts["items"]):  # as providers demand for strict answers
        assert part["additionalProperties"] is False


def read(answer, request=REQUEST):
    examples, refused = parse_answer(answer, request)
    return [(e.text, e.label) for e in examples], refused


def test_answers_are_read_in_the_order_of_the_classes():
    answer = {"texts": [{"text": "t", "labels": ["rate", " CARD", "rate"]}]}
    assert read(json.dumps(answer)) == ([("t", ("card", "rate"))], ())
    assert read(json.dumps(answer["texts"])) == ([("t", ("card", "rate"))], ())
    assert read('{"text": "t", "labels": "card"}') == ([("t", ("card",))], ())
    numbers = GenerationRequest("1-1", {(3,): 1}, choices=(3, 5))
    assert read('{"texts": [{"text": "t", "labels": ["5", 3]}]}', numbers) == ([("t", (3, 5))], ())


def test_labels_from_outside_are_left_out_and_counted():
    answer = {
        "texts": [
            {"text": "kept", "labels": ["card", "bird"]},
            {"text": "lost", "labels": ["bird", "fish"]},
            {"text": "bare", "labels": []},
            {"text": 3, "labels": ["card"]},
            {"text": "half \ud83d", "labels": ["card"]},
            {"text": "no list"},
        ]
    }
    examples, refused = read(json.dumps(answer))
    assert examples == [("kept", ("card",))]
    assert refused == (
        Refusal("unknown label", None, "bird"),
        Refusal("unknown label", "lost", "bird, fish"),
        Refusal("no label fits", "bare", ""),
        Refusal("malformed"),
        Refusal("malformed", "half \ud83d", "card"),
        Refusal("malformed"),
    )
    empty = replace(REQUEST, counts={(): 1})
    examples, refused = read(json.dumps(answer), empty)
    assert examples == [("kept", ("card",)), ("bare", ())]
    assert Refusal("unknown label", "lost", "bird, fish") in refused


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n{"texts": [{"text": "a \\"b\\"", "labels": ["card"]}]}\n```',
        'Sure: {"texts": [{"text": "a \\"b\\"", "labels": ["card"]}, {"text": "cut o',
        '{"texts": [{"text": "a \\"b\\"", "labels": ["card"]}, {"text": "c", "labels": ["ca',
        '[{"labels": ["card"], "text": "a \\"b\\""}, {"labels": ["rate"]',
        "{'texts': [{'text': 'a \"b\"', 'labels': ['card',]}]}",
    ],
)
def test_broken_answers_keep_their_whole_texts(answer):
    assert read(answer)[0] == [('a "b"', ("card",))]


@pytest.mark.parametrize("answer", ["", "I cannot.", "{}", "[]", "null", '{"card": ["text"]}'])
def test_nothing_is_invented(answer):
    examples, refused = read(answer)
    assert examples == []
    assert refused


@pytest.mark.parametrize(
    "answer",
    [
        '{"result": {"texts": [{"text": "a", "labels": ["card"]}]}}',
        '{"texts": {"1": {"text": "a", "label": "card"}}}',
        '<think>{"texts": [{"text": "draft", "labels": ["card"]}]}</think>'
        '{"texts": [{"text": "a", "labels": ["card"]}]}',
        '{"texts": [{"text": "a", "text": "a", "labels": ["card"], "labels": ["card"]}]}',
    ],
)
def test_other_shapes(answer):
    assert read(answer) == ([("a", ("card",))], ())


def test_a_key_that_comes_twice_loses_nothing():
    answer = '{"texts": [{"text": "a", "labels": ["card"], "labels": ["rate"]}], "texts": []}'
    assert read(answer)[0] == [("a", ("card", "rate"))]


def test_a_follow_up_asks_for_what_is_missing():
    teacher = ScriptedTeacher(
        [
            '{"texts": [{"text": "one", "labels": ["card", "rate"]}, {"text": "tw',
            '{"texts": [{"text": "two", "labels": ["rate"]}]}',
        ],
        repeat=True,
    )
    [generation] = teacher.generate([REQUEST])
    assert [e.label for e in generation.examples] == [("card", "rate")]
    broken = (
        '{"texts": [{"text": "one", "labels": ["card", "rate"]}, {"text": "x", "labels": ["b"]}]}'
    )
    teacher = ScriptedTeacher([broken, '{"texts": [{"text": "two", "labels": ["rate"]}]}'])
    [generation] = teacher.generate([REQUEST])
    assert [e.label for e in generation.examples] == [("card", "rate"), ("rate",)]
    assert "2-7-2: write 2 new texts" in teacher.prompts_[1][1]["content"]
    delivered = [Example(str(i), ("pin",)) for i in range(2)]  # with other labels
    assert find_missing(REQUEST, delivered, 2).n_texts == 1
    assert find_missing(REQUEST, delivered * 2, 2) is None


LABELLING = AnnotationRequest(
    "1-a1",
    ("both", "none", "odd"),
    (("card", "rate"),) * 3,
    (Example("my card's rate", ("card", "rate")),),
    multilabel=True,
)


def test_annotation():
    items = {"type": "string", "enum": ["A", "B"]}
    assert answer_schema(LABELLING)["properties"]["2"] == {"type": "array", "items": items}
    [system, user] = labelling.render(LABELLING)
    assert "all options that fit it" in system["content"]
    assert '- "my card\'s rate" (labels: "card", "rate")' in user["content"]
    assert 'Options:\nA. "card"\n' in user["content"]
    assert "with an empty list for a text that none fits" in user["content"]
    apart = replace(LABELLING, shortlists=(("card",), ("card", "rate"), ("rate",)))
    assert 'Options: A. "card", B. "rate"\n' in labelling.render(apart)[1]["content"]
    assert labelling.NONE not in user["content"]
    examples, refused = parse_answer(
        '{"1": ["rate", "card"], "2": [], "3": ["bird", "card"]}', LABELLING
    )
    assert examples == (Example("both", ("card", "rate")), Example("odd", ("card",)))
    assert refused == (
        Refusal("no label fits", "none", ""),
        Refusal("unknown label", None, "bird"),
    )
    examples, _ = parse_answer('{"2": []}', replace(LABELLING, may_be_empty=True))
    assert examples == (Example("none", ()),)
    examples, _ = parse_answer('Well: "1": ["card", "rate"], "2": ["ra', LABELLING)
    assert examples == (Example("both", ("card", "rate")),)


def test_pool_teacher_serves_what_is_most_alike():
    labels = [("card",), ("card", "rate"), ("pin",), ("rate",)]
    teacher = PoolTeacher(list("wxyz"), labels)
    request = replace(REQUEST, counts={("card", "rate"): 2})
    [generation] = teacher.generate([request])
    assert generation.examples[0] == Example("x", ("card", "rate"))
    assert generation.examples[1].label in {("card",), ("rate",)}
    [generation] = teacher.generate([replace(request, counts={("card", "rate"): 5})])
    assert len(generation.examples) == 1  # no pin
    wrong = PoolTeacher(list("wxyz"), labels, error_rate=1.0)
    request = replace(REQUEST, counts=dict.fromkeys(labels, 4))
    [generation] = wrong.generate([request])
    truth = dict(zip("wxyz", labels))
    assert all(e.label != truth[e.text] for e in generation.examples)
    assert generation.examples
