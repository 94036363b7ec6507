"""What a teacher is shown, and that its answers come back to the texts as they were given."""

import json
from dataclasses import replace

import pytest

from pgkd.records import (
    AnnotationRequest,
    Example,
    Generation,
    GenerationRequest,
    Prediction,
    Refusal,
)
from pgkd.teachers import CachedTeacher, FunctionTeacher, OpenAITeacher, RecordedTeacher
from pgkd.teachers.wrappers.redacted import RedactedStranger, RedactedTeacher
from pgkd.testing import FaultServer, PoolTeacher, ScriptedTeacher, check_teacher

LABELLING = AnnotationRequest(
    "1-a1",
    ("Ann lost it", "Bob lost it", "Bob asks"),
    (("card", "pin"),) * 3,
    (Example("Bob has it", "pin"),),
)
WRITING = GenerationRequest(
    "1-1",
    {"card": 1},
    examples=(Example("Bob one", "card"),),
    hard_negatives=(Prediction("Bob two", "card", "pin", 0.9),),
    correct=(Prediction("Bob three", "card", "card", 0.9),),
    wrong=(Prediction("Bob four", "card", "pin", 0.4),),
    task_description="Bob's bank",
    class_descriptions={"card": "what Bob calls a card"},
)


def hide(text):
    return text.replace("Ann", "<NAME>").replace("Bob", "<NAME>")


def test_no_text_is_shown_as_it_is():
    teacher = ScriptedTeacher(['{"card": ["x"]}', '{"1": "A"}'])
    redacted = RedactedTeacher(teacher, hide)
    list(redacted.generate([WRITING]))
    list(redacted.annotate([LABELLING]))
    writing, labelling = (prompt[1]["content"] for prompt in teacher.prompts_)
    for said in ("NAME> one", "NAME> two", "NAME> three", "NAME> four"):
        assert said in writing
    assert writing.count("Bob") == 2  # of the task and of the class, which are no texts
    assert "Ann" not in labelling
    assert "Bob" not in labelling


def test_texts_that_look_alike_get_both_answers():
    answer = '{"1": "A", "2": "B", "3": "A"}'
    [generation] = RedactedTeacher(ScriptedTeacher([answer]), hide).annotate([LABELLING])
    assert generation.request is LABELLING
    assert [(e.text, e.label) for e in generation.examples] == [
        ("Ann lost it", "card"),
        ("Bob lost it", "pin"),
        ("Bob asks", "card"),
    ]
    [generation] = RedactedTeacher(ScriptedTeacher(['{"2": "B"}']), hide).annotate([LABELLING])
    assert generation.examples == (Example("Bob lost it", "pin"),)
    assert {r.text for r in generation.refused} == {"Ann lost it", "Bob asks"}


def test_what_is_kept_and_recorded_is_redacted(tmp_path):
    with FaultServer() as server:
        teacher = OpenAITeacher("any", base_url=server.base_url)
        recorded = RecordedTeacher(tmp_path / "answers.jsonl", teacher)
        redacted = RedactedTeacher(CachedTeacher(recorded, tmp_path / "run.sqlite"), hide)
        first = [*redacted.generate([WRITING]), *redacted.annotate([LABELLING])]
        again = [*redacted.generate([WRITING]), *redacted.annotate([LABELLING])]
        assert server.n_requests == 2
    assert [g.examples for g in first] == [g.examples for g in again]
    received = "".join(json.dumps(request.body) for request in server.requests)
    kept = "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
    for text in (received, kept):
        assert "lost it" in text or text is kept
        assert "Ann" not in text
        assert text.replace("Bob's bank", "").replace("what Bob calls", "").count("Bob") == 0


def answer(messages):
    return json.dumps({"card": ["where is it?"], "pin": ["forgot it"], "rate": ["how much"]})


def test_conforms():
    check_teacher(RedactedTeacher(FunctionTeacher(answer), str.upper))


class Stranger:
    """Labels what it sees, each text once."""

    def generate(self, requests):
        for request in requests:
            self.seen = request
            yield Generation(request, (Example("new", "card"),))

    def annotate(self, requests):
        for request in requests:
            self.seen = request
            first, *others = dict.fromkeys(request.texts)
            yield Generation(
                request,
                (Example(first, "pin"),),
                refused=tuple(Refusal("no label fits", text) for text in others),
                probabilities={first: {"pin": 0.7, "card": 0.3}},
            )


def test_a_teacher_that_is_no_llm():
    teacher = Stranger()
    redacted = RedactedStranger(teacher, hide)
    [generation] = redacted.generate([WRITING])
    assert generation.request is WRITING
    assert "Bob" not in "".join(teacher.seen.shown_texts)
    assert len(teacher.seen.shown_texts) == 4
    [generation] = redacted.annotate([LABELLING])
    assert generation.request is LABELLING
    assert teacher.seen.texts[:2] == ("<NAME> lost it",) * 2
    assert generation.examples == (Example("Ann lost it", "pin"), Example("Bob lost it", "pin"))
    assert [r.text for r in generation.refused] == ["Bob asks"]
    own = {"pin": 0.7, "card": 0.3}
    assert generation.probabilities == {"Ann lost it": own, "Bob lost it": own}


def test_only_what_the_teacher_can_do():
    class Writer:
        generate = Stranger.generate

    assert not hasattr(RedactedStranger(Writer(), hide), "annotate")
    assert not hasattr(RedactedStranger(Stranger(), hide), "session")
    assert hasattr(RedactedStranger(PoolTeacher([], []), hide), "annotate")


@pytest.mark.parametrize("answer", ["nonsense", Generation(replace(WRITING, id="other"))])
def test_what_is_no_answer_goes_on_to_who_checks_it(answer):
    class Odd:
        def generate(self, requests):
            yield answer

    assert list(RedactedStranger(Odd(), hide).generate([WRITING])) == [answer]
