import json
from dataclasses import replace

import pytest

from pgkd.records import (
    ClassScore,
    Example,
    GenerationRequest,
    Prediction,
    StudentReport,
)
from pgkd.teachers.parsing import parse
from pgkd.teachers.prompts import answer_names, answer_schema, render

REPORT = StudentReport(
    0.61, 0.5, 1.2, {"card": ClassScore(0.5, 0.4, 0.44, 10)}, {("card", "pin"): 3}
)
REQUEST = GenerationRequest(
    "2-7",
    {"card": 2, "rate": 1},
    examples=(Example("where is\nmy card", "card"), Example("which rate", "rate")),
    hard_negatives=(Prediction("it never came", "card", "pin", 0.93),),
    correct=(Prediction("a good rate", "rate", "rate", 0.8),),
    wrong=(Prediction("post me it", "card", "rate", 0.4),),
    report=REPORT,
    previous_report=replace(REPORT, accuracy=0.55),
    task_description="Messages to a bank.",
    class_descriptions={"card": "delivery of cards"},
)


def text(request):
    return "\n".join(message["content"] for message in render(request))


@pytest.mark.parametrize(
    "part",
    [
        "Task of the classifier: Messages to a bank.",
        "Its accuracy: 0.61 (0.55 before your last texts)",
        'Label "card": delivery of cards\n',
        "Precision 0.50, recall 0.40, F1 0.44 (0.44 before your last texts); 10 texts; ",
        '10 texts; 3 taken for "pin"',
        '- "where is my card"\n',
        '- "it never came" (wrongly taken for "pin", confidence 0.93)',
        '- "post me it" (wrongly taken for "rate", confidence 0.40)',
        '- "a good rate" (recognised)',
        'Request 2-7: write 3 new texts, 2 for "card", 1 for "rate".',
        "Each has 2 to 4 words.",
        'Answer as {"card": ["...", "..."], "rate": ["..."]}',
    ],
)
def test_prompt_carries_the_evidence(part):
    assert part in text(REQUEST)


def test_what_is_not_there_leaves_no_heading():
    bare = GenerationRequest("1-1", {"card": 2})
    assert len(text(bare)) < 700
    for word in ("Task", "accuracy", "Real texts", "Precision", "confuses", "words."):
        assert word not in render(bare)[1]["content"]


def test_same_content_other_request():
    assert render(REQUEST) != render(replace(REQUEST, id="2-8"))


def test_a_text_is_shown_once():
    example = Example("it never came", "card")
    assert text(replace(REQUEST, examples=(example,))).count("it never came") == 1


def test_schema_holds_classes_and_counts():
    schema = answer_schema(REQUEST)
    assert schema["required"] == ["card", "rate"]
    assert schema["properties"]["card"]["minItems"] == 2
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "labels", [(0, 1), (True, False), ('of "many", kinds; and\nlong' * 9, "b")]
)
def test_labels_of_any_kind(labels):
    request = GenerationRequest("1-1", dict.fromkeys(labels, 1))
    assert list(answer_names(request).values()) == list(labels)
    assert answer_schema(request)["required"] == [str(label) for label in labels]
    answer = json.dumps({str(label): ["x"] for label in labels})
    assert [e.label for e in parse(answer, answer_names(request))[0]] == list(labels)


def test_no_word_count_where_words_have_no_spaces():
    request = GenerationRequest("1-1", {"a": 1}, examples=(Example("為替レートはいくら", "a"),))
    assert "words" not in render(request)[1]["content"].replace("other words", "")
