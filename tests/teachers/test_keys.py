"""A canary key is given to a teacher, and searched for in all that it leaves behind."""

import logging
import pickle
import traceback

import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.records import GenerationRequest
from pgkd.teachers import OpenAITeacher, RecordedTeacher

CANARY = "sk-canary-7351"


@pytest.fixture(params=["argument", "environment"])
def teacher(request, monkeypatch):
    if request.param == "argument":
        return OpenAITeacher("m", base_url="http://127.0.0.1:9/v1", api_key=CANARY, max_retries=0)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    return OpenAITeacher("m", base_url="http://127.0.0.1:9/v1", max_retries=0)


def test_objects(teacher):
    clf = PGKDClassifier(teacher)
    shown = [repr(clf), str(clf.get_params()), repr(clone(clf)), str(vars(teacher))]
    shown.append(repr(pickle.dumps(clf)))
    assert CANARY not in "".join(shown)


def test_errors_and_logs(teacher, caplog):
    caplog.set_level(logging.DEBUG)
    [generation] = teacher.generate([GenerationRequest("1-1", {"card": 1})])
    assert generation.error
    assert CANARY not in generation.error + caplog.text


def test_a_refused_key_is_not_repeated(monkeypatch, data):
    """Servers like to quote the key that they refuse."""
    from pgkd.testing import FaultServer

    refusal = (401, {"error": {"message": f"Incorrect API key provided: {CANARY}"}}, {})
    with FaultServer([refusal]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, api_key=CANARY)
        with pytest.raises(Exception, match="401") as caught:
            list(teacher.generate([GenerationRequest("1-1", {"card": 1})]))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_files(tmp_path, data):
    from pgkd.testing import FaultServer

    with FaultServer() as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, api_key=CANARY)
        clf = PGKDClassifier(
            RecordedTeacher(tmp_path / "recording.jsonl", teacher),
            make_pipeline(TfidfVectorizer(), LogisticRegression()),
            max_cycles=1,
            samples_per_cycle=6,
            max_tokens=1_000_000,
            run_dir=tmp_path / "run",
            random_state=0,
        ).fit(*data)
        assert any(CANARY in str(request.headers) for request in server.requests)
    clf.save(tmp_path / "model")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"recording.jsonl", "run.sqlite", "pgkd.json"} <= {path.name for path in files}
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
