import json
import os

import pytest

from pgkd.exceptions import InvalidInputError, PersistenceError, TeacherError
from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.teachers import FunctionTeacher, RecordedTeacher
from pgkd.teachers.wrappers import recorded
from pgkd.testing import check_teacher

REQUESTS = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 4)]


class LLM:
    def __init__(self):
        self.asked = 0

    def __call__(self, messages):
        self.asked += 1
        # A line separator that is none of JSONL.
        answer = '{"card": ["où est\u2028ma carte"]}'
        return Completion(answer, Usage(1, 100, 10, cost=None))


def test_replay_needs_no_teacher(tmp_path):
    path, llm = tmp_path / "sub" / "answers.jsonl", LLM()
    teacher = FunctionTeacher(llm, price=(1, 1))
    recorded = list(RecordedTeacher(path, teacher).generate(REQUESTS))
    assert llm.asked == 3
    again = list(RecordedTeacher(path, teacher).generate(REQUESTS))
    replayed = list(RecordedTeacher(path).generate(REQUESTS))
    assert llm.asked == 3
    assert recorded == again == replayed
    assert replayed[0].usage.cost == pytest.approx(110e-6)
    assert len(path.read_text(encoding="utf-8").rstrip("\n").split("\n")) == 3


def test_a_miss_says_what_differs(tmp_path):
    path = tmp_path / "answers.jsonl"
    list(RecordedTeacher(path, FunctionTeacher(LLM())).generate(REQUESTS))
    request = GenerationRequest("1-2", {"card": 7})
    with pytest.raises(TeacherError, match="has no answer") as caught:
        list(RecordedTeacher(path).generate([request]))
    lines = str(caught.value).splitlines()
    assert any(line.startswith("-") and "write 1 new texts" in line for line in lines)
    [after] = [line for line in lines if line.startswith("+") and "write 7 new texts" in line]
    assert "Request 1-2" in after


def test_no_recording(tmp_path):
    with pytest.raises(InvalidInputError, match=r"No recording at .*nowhere\.jsonl"):
        RecordedTeacher(tmp_path / "nowhere.jsonl").check_ready()


def test_damaged_recording(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"messages": []}\n')
    with pytest.raises(PersistenceError, match="Line 1 of the recording"):
        list(RecordedTeacher(path).generate(REQUESTS))


GOOD = '{"messages": [], "schema": {}, "answer": {"text": "", "usage": {}, "truncated": false}}'


@pytest.mark.parametrize(
    "line",
    [
        "[" * 10**6,
        "[" * 900 + "]" * 900,
        "[" + "[]," * 3_000_000 + "[]]",
        "1" * 10**6,
        "null",
        GOOD.replace('""', "7"),
        GOOD.replace('"usage": {}', '"usage": {"cost": NaN}'),
        GOOD.replace('"usage": {}', '"usage": {"input_tokens": "x"}'),
        GOOD.replace('"answer": {', '"answer": {"logprobs": [7], '),
        GOOD.replace("[]", '"' + "x" * (recorded.MAX_LINE + 1) + '"'),
    ],
    ids=lambda line: line[:30],
)
def test_hostile_lines(tmp_path, line):
    path = tmp_path / "answers.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(PersistenceError, match=r"Line 2 of the recording .*answers\.jsonl.*again"):
        list(RecordedTeacher(path).generate(REQUESTS))


def test_a_recording_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "device"):
        with pytest.raises(PersistenceError, match="is no file"):
            list(RecordedTeacher(path).generate(REQUESTS))
        with pytest.raises(PersistenceError, match="is no file"):
            RecordedTeacher(path).model_name  # noqa: B018


def test_conforms(tmp_path):
    check_teacher(RecordedTeacher(tmp_path / "answers.jsonl", FunctionTeacher(LLM())))


def test_recordings_of_before_there_were_logprobs_still_play(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = list(RecordedTeacher(path, FunctionTeacher(LLM())).generate(REQUESTS))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")]
    for line in lines:
        del line["answer"]["logprobs"]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    assert list(RecordedTeacher(path).generate(REQUESTS)) == first
