from dataclasses import replace

import pytest

from pgkd.records import (
    ClassScore,
    Example,
    GenerationRequest,
    Prediction,
    StudentReport,
)
from pgkd.teachers.prompts import MAX_NAME_LENGTH, answer_names, answer_schema, render

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
        "Messages to a bank.",
        "* card: delivery of cards",
        '- "where is my card"',
        "accuracy 0.61, 0.55 before your last texts",
        "* card: precision 0.50, recall 0.40, F1 0.44 (F1 0.44 before your last texts)",
        "* 3 of card taken for pin",
        '"it never came" is card, taken for pin with confidence 0.93',
        '"post me it" is card, taken for rate with confidence 0.40',
        '* "a good rate" is rate',
        "Request 2-7: write 3 new texts",
        "Write 2 of card, 1 of rate.",
    ],
)
def test_prompt_carries_the_evidence(part):
    assert part in text(REQUEST)


def test_what_is_not_there_leaves_no_heading():
    bare = GenerationRequest("1-1", {"card": 2})
    assert len(text(bare)) < 700
    assert "Mistakes" not in text(bare)
    assert "report" not in text(bare)


def test_same_content_other_request():
    assert render(REQUEST) != render(replace(REQUEST, id="2-8"))


def test_schema_holds_the_labels():
    item = answer_schema(REQUEST)["properties"]["texts"]["items"]
    assert item["properties"]["label"]["enum"] == ["card", "rate"]
    assert list(item["properties"]) == ["label", "text"]


def test_long_names_become_ids():
    long = "Diseases; of many, kinds " * 3
    assert len(long) > MAX_NAME_LENGTH
    request = GenerationRequest("1-1", {long: 1, "short": 1}, examples=(Example("x", long),))
    assert answer_names(request) == {"c1": long, "c2": "short"}
    assert f"* c1 = {long}" in text(request)
    assert "Write 1 of c1, 1 of c2." in text(request)


@pytest.mark.parametrize("labels", [(0, 1), (True, False)])
def test_labels_that_are_no_str(labels):
    request = GenerationRequest("1-1", dict.fromkeys(labels, 1))
    assert list(answer_names(request).values()) == list(labels)
    assert answer_schema(request)["properties"]["texts"]["items"]["properties"]["label"][
        "enum"
    ] == [str(label) for label in labels]
