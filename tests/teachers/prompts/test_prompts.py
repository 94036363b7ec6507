import hashlib
import json
import random
import re
from dataclasses import replace

import pytest

from pgkd.records import (
    ClassScore,
    Example,
    GenerationRequest,
    Prediction,
    StudentReport,
)
from pgkd.teachers.prompts.manner import MAX_LENGTHS, N_ANGLES
from pgkd.teachers.prompts.parsing import parse
from pgkd.teachers.prompts.writing import (
    DESCRIBE_SYSTEM,
    REWRITE_SYSTEM,
    SYSTEM,
    answer_names,
    answer_schema,
    render,
    split_static,
)

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
        '- "post me it" (wrongly taken for "rate")\n',
        '- "a good rate" (recognised)',
        'Request 2-7: write 3 new texts, 2 for "card" (3 and 3 words), 1 for "rate" (3 words).',
        'Answer as {"card": ["...", "..."], "rate": ["..."]}',
    ],
)
def test_prompt_carries_the_evidence(part):
    assert part in text(REQUEST)


def test_what_is_not_there_leaves_no_heading():
    bare = GenerationRequest("1-1", {"card": 2})
    assert len(text(bare)) < 700
    for word in ("Task", "accuracy", "Real texts", "Precision", "confuses", "words)", "words."):
        assert word not in render(bare)[1]["content"]


def test_same_content_other_request():
    assert render(REQUEST) != render(replace(REQUEST, id="2-8"))


def test_a_text_is_shown_once():
    example = Example("it never came", "card")
    assert text(replace(REQUEST, examples=(example,))).count("it never came") == 1


def order(request):
    return render(request)[1]["content"].split("\n\n")[-1]


def test_confidence_is_that_of_hard_negatives_alone():
    assert text(REQUEST).count("confidence") == 1
    assert "confidence" not in text(replace(REQUEST, hard_negatives=()))
    both = replace(REQUEST, wrong=(*REQUEST.wrong, *REQUEST.hard_negatives))
    assert text(both) == text(REQUEST)


def test_contrasts():
    bare = replace(REQUEST, hard_negatives=(), contrasts={"card": ("pin", "rate")})
    hint = ' that a hasty reader could take for "pin" or "rate"'
    assert f'2 for "card"{hint} (3 and 3 words), 1 for "rate" (3 words).' in order(bare)
    aim = "They must show the classifier how the labels that it confuses differ."
    assert aim in order(bare)
    assert aim not in order(replace(bare, contrasts={}))
    assert len(order(bare)) - len(order(REQUEST)) < 60  # every token is paid for


def test_contrasts_of_numbered_classes():
    request = GenerationRequest("1-1", {"a b": 2, "c": 1}, contrasts={"a b": ("c", "other one")})
    assert (
        'write 3 new texts, 2 for label 1 that a hasty reader could take for label 2 or "other one"'
        ", 1 for label 2."
    ) in order(request)


def test_rewrite():
    request = replace(REQUEST, hard_negatives=(), report=None, kind="rewrite")
    system, user = (message["content"] for message in render(request))
    assert system == REWRITE_SYSTEM
    assert "rephrase" in SYSTEM  # which is forbidden there, so it must not be the one
    assert 'rewrite the wrongly taken texts into 3 new ones, 2 for "card", 1 for "rate".' in user
    assert '- "post me it" (wrongly taken for "rate")\n' in user
    assert answer_schema(request) == answer_schema(REQUEST)


def lengths(request):
    """The lengths that are asked for, text by text."""
    told = re.findall(r"\(([\d, and]+) words?\)", order(request))
    return [int(n) for part in told for n in re.findall(r"\d+", part)]


REAL = tuple(Example(" ".join(["word"] * n) + f" {n}", "card") for n in range(1, 21))


def test_lengths_are_drawn_from_those_of_the_real_texts():
    request = GenerationRequest("1-1", {"card": 4, "rate": 4}, examples=REAL)
    drawn = lengths(request)
    assert len(drawn) == 8
    assert set(drawn) <= set(range(2, 22))
    assert min(drawn) < 8 < 16 < max(drawn)  # all parts of the range
    assert drawn != sorted(drawn)
    assert "Each has" not in order(request)
    other = [lengths(replace(request, id=f"1-{i}")) for i in range(2, 9)]
    assert drawn not in other


def test_a_prompt_depends_on_its_request_alone():
    random.seed(0)
    once = render(REQUEST)
    random.seed(1)
    assert render(REQUEST) == once


def test_many_texts_get_the_range():
    request = GenerationRequest("1-1", {"card": MAX_LENGTHS + 1}, examples=REAL)
    assert "Each has 4 to 19 words." in order(request)
    assert not lengths(request)


@pytest.mark.parametrize("field", ["hard_negatives", "correct", "wrong"])
def test_length_is_that_of_all_real_texts(field):
    long = Prediction("one two three four five six", "card", "pin", 0.9)
    request = GenerationRequest("1-1", {"card": 2}, examples=(Example("one two", "card"),))
    assert "Each has about 2 words." in order(request)
    assert sorted(lengths(replace(request, **{field: (long,)}))) == [2, 6]
    assert "Each has about 6 words." in order(replace(request, examples=(), **{field: (long,)}))
    rewrite = replace(request, kind="rewrite", **{field: (long,)})
    assert "Each has 2 to 6 words." in order(rewrite)


def test_length_counts_a_text_once():
    """Real texts of a request are often examples and mistakes at once."""
    examples = tuple(Example(f"one two {i}", "card") for i in range(7))
    long = Prediction("one two three four five six", "card", "pin", 0.9)
    request = GenerationRequest(
        "1-1", {"card": 1}, examples=(*examples, Example(long.text, "card"))
    )
    assert order(request) == order(replace(request, wrong=(long,)))


def angles(request):
    [told] = re.findall(r" Think of (.*?)\.(?: They| Answer)", order(request))
    return set(told.split(" and of "))


def test_requests_look_from_different_angles():
    found = [angles(replace(REQUEST, id=f"1-{i}")) for i in range(20)]
    assert all(len(own) == N_ANGLES for own in found)
    assert len(set().union(*found)) > 4
    assert len(set(map(frozenset, found))) > 8


def test_a_class_without_a_text():
    request = GenerationRequest("1-1", {"card": 2}, class_descriptions={"card": "delivery"})
    assert 'Label "card": delivery\n\n' in text(request)
    assert "No text is there to follow: write as the users of such a classifier would." in order(
        request
    )
    assert "No text" not in order(REQUEST)


DESCRIBE = GenerationRequest(
    "1-3",
    {"card": 4, "pin": 1},
    examples=REQUEST.examples,
    contrasts={"card": ("rate", "pin")},
    task_description="Messages to a bank.",
    kind="describe",
)


def test_describe():
    system, user = (message["content"] for message in render(DESCRIBE))
    assert system == DESCRIBE_SYSTEM
    assert "Task of the classifier: Messages to a bank." in user
    assert '- "where is my card"' in user
    assert order(DESCRIBE) == (
        'Request 1-3: describe the labels, a sentence and 3 phrases for "card", a sentence for '
        '"pin". "card" is close to "rate" and "pin". Answer as {"card": ["...", "..."], "pin": '
        '["..."]}'
    )
    schema = answer_schema(DESCRIBE)
    assert schema["properties"]["card"]["minItems"] == 4
    answer = '{"card": ["All about cards.", "my card"], "pin": ["About pins."]}'
    examples, _ = parse(answer, answer_names(DESCRIBE))
    assert [e.text for e in examples if e.label == "card"] == ["All about cards.", "my card"]


def test_describe_without_a_real_text():
    bare = GenerationRequest("1-3", {"a b": 3}, kind="describe")
    assert "a sentence and 2 phrases for label 1." in order(bare)
    assert 'Label 1 is "a b"' in text(bare)
    assert "Real texts" not in render(bare)[1]["content"]


def test_schema_holds_classes_and_counts():
    schema = answer_schema(REQUEST)
    assert schema["required"] == ["card", "rate"]
    assert schema["properties"]["card"]["minItems"] == 2
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("labels", [(0, 1), (True, False), ("card_arrival", "A00.1", "x" * 64)])
def test_labels_that_are_names_stand_for_themselves(labels):
    request = GenerationRequest("1-1", dict.fromkeys(labels, 1))
    assert answer_names(request) == {str(label): label for label in labels}
    assert answer_schema(request)["required"] == [str(label) for label in labels]
    answer = json.dumps({str(label): ["x"] for label in labels})
    assert [e.label for e in parse(answer, answer_names(request))[0]] == list(labels)


def test_their_prompt_stays_as_it_is():
    """To the byte: answers that were paid for are found by the hash of their prompt."""
    text = json.dumps([render(REQUEST), answer_schema(REQUEST)])
    digest = "214a88b184044ee3b66134c0c5830f6531292cd7f83469e17953056846ad46bd"
    assert hashlib.sha256(text.encode()).hexdigest() == digest, "this makes all caches worthless"


INDUSTRIES = (
    "Oilseed and Grain Farming",
    "Warehouse Clubs, Supercenters, and Other General Merchandise Retailers",
    'Beer; wine "and"\nliquor',
    "b",
)


@pytest.mark.parametrize("labels", [INDUSTRIES, ("1", "2", "none of these"), ("x" * 65,), ("é",)])
def test_numbers_stand_for_other_labels(labels):
    request = GenerationRequest("1-1", dict.fromkeys(labels, 2), class_descriptions={"b": "bees"})
    names = answer_schema(request)["required"]
    assert all(re.fullmatch("[0-9]+", name) for name in names)
    assert not set(names) & set(labels)
    prompt = render(request)[1]["content"]
    for name, label in zip(names, labels):
        shown = json.dumps(" ".join(label.split()), ensure_ascii=False)
        assert f"Label {name} is {shown}" in prompt
        assert f"2 for label {name}" in prompt
        # An LLM that writes the label itself is understood as well.
        for said in (name, label):
            answer = json.dumps({said: ["x"]})
            assert parse(answer, answer_names(request)) == ((Example("x", label),), ())
    assert json.dumps({name: ["...", "..."] for name in names}) in prompt
    if "b" in labels:
        assert f'Label {names[labels.index("b")]} is "b": bees' in prompt


@pytest.mark.parametrize("task", [None, "Messages to a bank.", "Long.\n\nLabel each text.\n\n"])
@pytest.mark.parametrize("labels", [("card", "rate"), INDUSTRIES])
@pytest.mark.parametrize("report", [None, REPORT])
def test_static_part(task, labels, report):
    request = GenerationRequest(
        "1-1", dict.fromkeys(labels, 1), report=report, task_description=task
    )
    content = render(request)[1]["content"]
    static, rest = split_static(content)
    assert static + rest == content
    assert not task or static == f"Task of the classifier: {' '.join(task.split())}"
    assert bool(static) == bool(task)
    later = replace(request, id="9-9", counts={"other": 3}, report=None)
    assert split_static(render(later)[1]["content"])[0] == static


def test_no_word_count_where_words_have_no_spaces():
    request = GenerationRequest("1-1", {"a": 1}, examples=(Example("為替レートはいくら", "a"),))
    assert not re.search(r"\d words", text(request))
    assert not lengths(request)
