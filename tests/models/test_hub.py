"""A classifier goes to a hub and comes back, each time in a process of its own."""

import json
import os
import subprocess
import sys

import joblib
import pytest
from conftest import make_classifier
from models.hub_server import TOKEN, Hub

from pgkd.models.hub import make_card
from pgkd.teachers import OpenAITeacher

KEY = "sk-of-nobody-1234567890"
SET_UP = """
import json, sys, time
sys.path[:0] = {path!r}
import huggingface_hub.constants, joblib, traceback  # before `conftest`, which goes offline
from pgkd import PGKDClassifier
from pgkd.exceptions import PersistenceError

def say(function, *args, **options):
    try:
        return str(function(*args, **options))
    except PersistenceError as error:
        traceback.print_exception(error)
        return "PersistenceError: " + str(error)
"""


@pytest.fixture(scope="module")
def hub():
    hub = Hub()
    yield hub
    hub.shutdown()
    hub.server_close()
    assert hub.unknown == []


@pytest.fixture
def fitted(teacher, student, data):
    clf = make_classifier(
        teacher, student, max_cycles=1, samples_per_cycle=6, random_state=0, keep_all=True
    )
    return clf.fit(*data)


def run(program, tmp_path, url, token=TOKEN):
    """Run a program with that hub; return what it prints, as JSON."""
    home = tmp_path / "home"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SET_UP.format(path=sys.path) + program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert token not in done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_there_and_back(hub, fitted, data, tmp_path):
    joblib.dump(fitted, tmp_path / "clf.joblib")
    url = run(
        """
clf = joblib.load("clf.joblib")
clf.push_to_hub("me/open", texts=True)
clf.push_to_hub("me/intents", private=True, texts=True)
print(json.dumps(say(clf.push_to_hub, "me/intents", commit_message="Again")))
""",
        tmp_path,
        hub.url,
    )
    assert url == f"{hub.url}/me/intents"
    assert hub.private["me/intents"] in (True, "private")
    assert hub.messages == ["Upload a classifier of pgkd"] * 2 + ["Again"]
    texts = hub.repos["me/open"]["synthetic.jsonl"].decode().splitlines()
    assert len(texts) == len(fitted.synthetic_) > 0
    files = hub.repos["me/intents"]
    assert sorted(files) == ["README.md", "pgkd.json", "student/student.skops", "synthetic.jsonl"]
    assert files["synthetic.jsonl"] == b""  # but for the first time
    for name in ("README.md", "pgkd.json"):
        content = files[name].decode()
        assert not any(text in content for text in [*data[0], *(t.text for t in fitted.synthetic_)])
    files["huge.bin"] = b"0" * 9
    found = run(
        f"""
clf = PGKDClassifier.from_pretrained("me/intents")
texts = {data[0][:5]!r}
report = str(clf.report())
print(json.dumps([clf.predict_proba(texts).tolist(), len(clf.synthetic_), clf.n_cycles_]))
""",
        tmp_path,
        hub.url,
    )
    assert found == [fitted.predict_proba(data[0][:5]).tolist(), 0, 1]
    assert "huge.bin" not in hub.fetched
    found = run(
        """
clf = PGKDClassifier.from_pretrained("me/intents")
start = time.time()
found = [say(clf.push_to_hub, "me/a"), say(PGKDClassifier.from_pretrained, "me/a")]
print(json.dumps([clf.n_cycles_, *found, time.time() - start]))
""",
        tmp_path,
        "http://127.0.0.1:9",  # a hub that is down
    )
    assert found[0] == 1  # of the cache
    assert "Cannot upload to 'me/a': " in found[1]
    assert "Cannot load 'me/a' from the hub: the hub cannot be reached" in found[2]
    assert found[3] < 30


def test_what_goes_wrong(hub, fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "clf.joblib")
    hub.repos["me/other"] = {"model.safetensors": b"0"}
    wrong = run(
        """
clf = joblib.load("clf.joblib")
load = PGKDClassifier.from_pretrained
print(json.dumps([
    say(load, "me/other"),
    say(load, "me/nowhere"),
    say(load, "a b"),
    say(load, "me/other", revision="v9"),
    say(clf.push_to_hub, "me/intents", token="hf_a_wrong_one_of_nobody"),
]))
""",
        tmp_path,
        hub.url,
    )
    hub.unknown.clear()
    expected = (
        "'me/other' has no pgkd.json",
        "Cannot load 'me/nowhere' from the hub: there is no such repository",
        "Cannot load 'a b' from the hub: HFValidationError",
        "Cannot load 'me/other' from the hub: there is no such revision",
        "Cannot upload to 'me/intents': ",
    )
    for message, beginning in zip(wrong, expected, strict=True):
        assert message.startswith(f"PersistenceError: {beginning}"), message
        assert "hf_a_wrong_one_of_nobody" not in message


def test_card(fitted, tmp_path):
    fitted.set_params(teacher=OpenAITeacher("gpt-5-mini", api_key=KEY))
    fitted.classes_ = fitted.classes_.astype(object)
    fitted.classes_[0] = "`<b>\n# card"
    card = make_card(fitted, "me/intents")
    report = fitted.history_[-1].report
    assert card.startswith(
        "---\nlibrary_name: pgkd\npipeline_tag: text-classification\ntags: [pgkd]\n---\n"
    )
    assert '3 classes: `"\'<b>\\n# card"`, `"pin"`, `"rate"`' in card
    assert 'PGKDClassifier.from_pretrained("me/intents")' in card
    assert 'OpenAITeacher, `"gpt-5-mini"`' in card
    assert KEY not in card
    assert str(fitted.usage_) in card
    assert f"{report.n_texts} labelled texts" in card
    assert f"accuracy {report.accuracy:.3f}" in card
    assert str(fitted.comparison_) in card
    fitted.refit()
    assert "No labelled text has judged" in make_card(fitted, "me/intents")
    (tmp_path / "model.gguf").touch()
    fitted.set_params(teacher=OpenAITeacher(str(tmp_path / "model.gguf")))
    assert str(tmp_path) not in make_card(fitted, "me/intents")
