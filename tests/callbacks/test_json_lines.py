import json

from conftest import WordTeacher, write_hard
from test_progress import fit

from pgkd.callbacks import JSONLinesCallback


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_an_event(tmp_path):
    path = tmp_path / "runs" / "run.jsonl"
    clf = fit(callbacks=[JSONLinesCallback(path)])
    lines = read(path)
    steps = [line["value"] for line in lines if line["kind"] == "step"]
    assert [step["route"] for step in steps] == [step.route for step in clf.history_]
    assert [step["score"] for step in steps] == [step.score for step in clf.history_]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert lines[0]["kind"] == "begin"
    assert [line["value"] for line in lines if line["kind"] == "end"] == [clf.stop_reason_]
    assert "generation" not in {line["kind"] for line in lines}


def test_answers_if_they_are_wanted(tmp_path):
    path = tmp_path / "run.jsonl"
    teacher = WordTeacher(write=lambda label, i: write_hard(label, i) + " \ud83d")
    fit(teacher, callbacks=[JSONLinesCallback(path, generations=True)], routes=("write",))
    answers = [line["value"] for line in read(path) if line["kind"] == "generation"]
    assert answers
    assert answers[0]["request"]
    assert answers[0]["examples"][0]["text"].endswith("\ud83d")
