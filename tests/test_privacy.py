"""What leaves the machine: redacted texts, counted, and nothing else."""

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from conftest import FILLERS, WORDS, write_text
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import CascadeClassifier, PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.records import HERE, Sent
from pgkd.teachers import LocalTeacher, OpenAITeacher, RecordedTeacher
from pgkd.testing import Fault, FaultServer, PoolTeacher

CANARY = "Zanzibar"
X = [f"{write_text(label, i)} {CANARY}{i}" for label in WORDS for i in range(12)]
Y = [label for label in WORDS for i in range(12)]
POOL = [f"{write_text(label, i)} {CANARY}{i}" for label in WORDS for i in range(100, 110)]


def redact(text):
    """All numbers with the canary, so that some texts come to look alike."""
    words = text.split()
    return " ".join("<WHO>" if word.startswith(CANARY) else word for word in words)


def make_student():
    return make_pipeline(TfidfVectorizer(), LogisticRegression(C=30))


def make(teacher, **params):
    defaults = {"max_cycles": 3, "samples_per_cycle": 12, "redact": redact, "random_state": 0}
    return PGKDClassifier(teacher, make_student(), **defaults | params)


def fit(clf):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clf.fit(X, Y, X_unlabeled=POOL)


def find(folder, needle):
    """The files below a folder that hold a text, in whatever encoding of ours."""
    return [p.name for p in folder.rglob("*") if p.is_file() and needle.encode() in p.read_bytes()]


def label_by_words(document):
    """A good annotator: the class whose words a text has; other requests have good answers."""
    prompt = document["messages"][1]["content"]
    if "label the text" not in prompt:
        return Fault.none()
    [text] = [line for line in prompt.split("\n") if line.startswith("Text 1:")]
    label = max(WORDS, key=lambda own: sum(word in text for word in WORDS[own]))
    lines = [line for line in prompt.split("\n") if line.endswith(f'. "{label}"')]
    return json.dumps({"1": lines[0].split(".")[0] if lines else "A"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with FaultServer([label_by_words]) as server:
        teacher = OpenAITeacher("any", base_url=server.base_url, price=(1, 1))
        recorded = RecordedTeacher(folder / "answers.jsonl", teacher)
        clf = fit(make(recorded, run_dir=folder / "run"))
        yield clf, folder, server


def read_received(server):
    return [json.dumps(request.body, ensure_ascii=False) for request in server.requests]


def test_no_request_has_a_text_as_it_is(run):
    clf, _, server = run
    received = read_received(server)
    assert {step.route for step in clf.history_} >= {"describe", "label", "write"}
    assert clf.probe_ is not None
    assert len(received) > 10
    assert not [body for body in received if CANARY in body]
    assert sum("<WHO>" in body for body in received) > 10 or any("WHO>" in b for b in received)


def test_what_is_kept_of_requests_is_redacted(run):
    _, folder, _ = run
    names = {path.name for path in folder.rglob("*")}
    assert {"answers.jsonl", "run.sqlite"} <= names
    assert any(name.endswith(".npz") for name in names)
    assert find(folder, CANARY) == []
    assert "answers.jsonl" in find(folder, "WHO>")


def test_the_student_learns_the_texts_as_they_are(run):
    clf, _, _ = run
    labelled = [t for t in clf.synthetic_ if t.source == "pool" and t.model]
    assert labelled
    assert {t.text for t in labelled} <= set(POOL)
    assert any(CANARY in t for text in clf.synthetic_ for t in text.seed_texts)


def test_the_report_counts_what_was_sent(run):
    clf, _, server = run
    bodies = "".join(read_received(server))
    shown = {text for text in (*X, *POOL) if json.dumps(redact(text))[1:20] in bodies}
    sent = clf.sent_
    assert (sent.model, sent.destination) == ("any", HERE)
    assert 0 < sent.n_labelled <= len(X)
    assert 0 < sent.n_unlabelled <= len(POOL)
    assert sent.n_labelled + sent.n_unlabelled <= len(shown)
    assert sent.n_redacted == sent.n_labelled + sent.n_unlabelled
    assert sent.n_characters >= len(CANARY) * sent.n_redacted
    assert clf.report().sent == sent
    assert f"was shown {sent.n_labelled} labelled and {sent.n_unlabelled}" in str(clf.report())
    assert clf.report().to_dict()["sent"]["n_labelled"] == sent.n_labelled


def test_it_is_exactly_what_a_teacher_saw(tmp_path):
    seen = set()

    class Watching(PoolTeacher):
        def generate(self, requests):
            seen.update(*(r.shown_texts for r in requests))
            return super().generate(requests)

        def annotate(self, requests):
            seen.update(*(r.shown_texts for r in requests))
            return super().annotate(requests)

    new = [f"{write_text(label, i)}" for label in WORDS for i in range(200, 230)]
    labels = [label for label in WORDS for _ in range(30)]
    truth = dict(zip(POOL, [label for label in WORDS for _ in range(10)]))
    teacher = Watching([*new, *X, *truth], [*labels, *Y, *truth.values()])
    clf = fit(make(teacher, redact=None))
    sent = clf.sent_
    assert sent.n_labelled == len(seen & set(X)) > 0
    assert sent.n_unlabelled == len(seen & set(POOL)) > 0
    assert sent.n_written == len(seen - set(X) - set(POOL))
    assert (sent.n_redacted, sent.n_characters) == (0, 0)
    assert sent.model == "Watching"


def test_a_run_that_goes_on_counts_all(run, tmp_path):
    """By the checkpoint, which asks for nothing again; and by kept answers alone."""
    clf, folder, server = run
    n = server.n_requests
    again = fit(clone(clf))
    assert server.n_requests == n
    assert again.sent_ == clf.sent_
    for checkpoint in (folder / "run" / "checkpoints").iterdir():
        checkpoint.rename(tmp_path / checkpoint.name)
    kept = fit(clone(clf))
    assert server.n_requests == n
    assert kept.usage_.n_requests == 0
    assert kept.sent_ == clf.sent_


def test_another_redactor_is_another_run(run, recwarn):
    clf, _, server = run
    n = server.n_requests
    other = clone(clf).set_params(redact=lambda text: redact(text).replace("WHO", "ME"))
    other.fit(X, Y, X_unlabeled=POOL)
    assert any("other `redact`" in str(w.message) for w in recwarn)
    assert server.n_requests > n


def fail(text):
    if text == X[7]:
        raise LookupError("no model")
    return text


@pytest.mark.parametrize(
    ("redact", "why"),
    [
        (fail, r"For X\[7\] it raised LookupError"),
        (lambda text: None if text == POOL[3] else text, r"Got NoneType for X_unlabeled\[3\]"),
        ("hide", "redact"),
    ],
)
def test_nothing_is_sent_if_a_text_cannot_be_redacted(redact, why):
    with FaultServer() as server:
        teacher = OpenAITeacher("any", base_url=server.base_url)
        with pytest.raises((InvalidInputError, ValueError), match=why):
            make(teacher, redact=redact).fit(X, Y, X_unlabeled=POOL)
        assert server.n_requests == 0


def test_without_a_teacher_nothing_is_redacted():
    clf = fit(make(None, redact=fail))
    assert clf.sent_ is None
    assert "was shown" not in str(clf.report())


def test_a_plan_counts_redacted_prompts():
    teacher = OpenAITeacher("any", base_url="http://127.0.0.1:9", price=(1, 1))
    plan = make(teacher).plan(X, Y, X_unlabeled=POOL)
    longer = make(teacher, redact=lambda text: text * 9).plan(X, Y, X_unlabeled=POOL)
    assert longer.input_tokens[1] > 2 * plan.input_tokens[1]
    stranger = make(PoolTeacher(X, Y)).plan(X, Y, X_unlabeled=POOL)
    assert stranger.cost is None


def test_saved_and_copied(run, tmp_path):
    clf, _, _ = run
    clf.save(tmp_path / "saved")
    loaded = PGKDClassifier.load(tmp_path / "saved")
    assert loaded.redact is None
    assert loaded.sent_ == clf.sent_
    assert str(loaded.report()) == str(clf.report())
    assert clone(clf).redact is redact
    assert clone(clf).get_params()["redact"] is redact
    assert pickle.loads(pickle.dumps(clf)).redact is redact


@pytest.fixture(scope="module")
def cascade_texts():
    texts = [f"{write_text(label, i)} {CANARY}{i}" for label in WORDS for i in range(40)]
    return texts, [label for label in WORDS for _ in range(40)]


class Weak(LogisticRegression):
    """Never sure, and mostly wrong: all is escalated."""

    def predict_proba(self, X):
        return super().predict_proba(X) * 0 + [0.3, 0.3, 0.4]


def test_a_cascade(cascade_texts, tmp_path):
    texts, labels = cascade_texts
    student = make_pipeline(TfidfVectorizer(), Weak()).fit(
        texts[:1] + texts[-1:] + texts[60:61], ["card", "pin", "rate"]
    )
    with FaultServer([label_by_words]) as server:
        teacher = OpenAITeacher("any", base_url=server.base_url, price=(1, 1))
        cascade = CascadeClassifier(
            student,
            teacher,
            redact=redact,
            max_escalated=1.0,
            texts_per_request=1,
            run_dir=tmp_path,
            random_state=0,
        ).fit(texts, labels)
        sent = cascade.report().sent
        assert (sent.n_labelled, sent.n_unlabelled) == (len(texts), 0)
        new = [f"my pin {CANARY}{i} {FILLERS[i]} pin" for i in range(5)]
        assert cascade.escalates(new).all()
        assert cascade.predict(new).tolist() == ["pin"] * 5
        again = cascade.report().sent
        assert (again.n_labelled, again.n_unlabelled) == (len(texts), 5)
        assert again.n_redacted == len(texts) + 5
        assert "`any` on this machine was shown 120 labelled and 5 unl" in str(cascade.report())
        # A service does not keep what it has seen.
        assert not set(new) & set(cascade._escalator.redact.known)
        pickled = pickle.loads(pickle.dumps(cascade))
        assert pickled.predict(new).tolist() == ["pin"] * 5
        n = server.n_requests
        cascade.redact, cascade._escalator.redact.redact = None, lambda text: None
        with pytest.raises(InvalidInputError, match=r"Got NoneType for X\[1\]"):
            cascade.predict([texts[0], "my pin is new"])
        assert server.n_requests == n
    assert not [body for body in read_received(server) if CANARY in body]
    assert find(tmp_path, CANARY) == []


def test_a_redactor_of_a_cascade_is_checked_first(cascade_texts):
    texts, labels = cascade_texts
    student = make_student().fit(texts, labels)
    with FaultServer() as server:
        teacher = OpenAITeacher("any", base_url=server.base_url)
        cascade = CascadeClassifier(student, teacher, redact=lambda text: 1)
        with pytest.raises(InvalidInputError, match=r"Got int for X\[0\]"):
            cascade.fit(texts, labels)
        assert server.n_requests == 0


@pytest.mark.parametrize(
    ("teacher", "where"),
    [
        (OpenAITeacher("m"), "api.openai.com"),
        (OpenAITeacher("m", base_url="https://user:pass@llm.example:8443/v1"), "llm.example"),
        (OpenAITeacher("m", base_url="http://localhost:8080/v1"), HERE),
        (OpenAITeacher("m", base_url="http://127.0.0.2/v1"), HERE),
        (OpenAITeacher("m", base_url="http://10.0.0.7/v1"), "10.0.0.7"),
        (LocalTeacher("m"), HERE),
        (RecordedTeacher("answers.jsonl"), HERE),
        (RecordedTeacher("answers.jsonl", OpenAITeacher("m")), "api.openai.com"),
    ],
)
def test_destinations(teacher, where):
    assert teacher.destination == where


def test_the_words():
    assert Sent("m", HERE).verdict == "m on this machine was shown no texts."
    sent = Sent("m", "a.b", 3, 0, 2, 1, 7) + Sent("m", "a.b", 0, 4)
    assert sent.verdict == (
        "m at a.b was shown 3 labelled and 4 unlabelled and 2 of its own texts; redaction had "
        "changed 1 of them, by 7 characters."
    )


NO_NETWORK = """
import sys, json

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
                 "socket.sendto", "socket.sendmsg", "socket.bind"):
        raise SystemExit(f"{event}{args[1:]}")

sys.addaudithook(refuse)
from conftest import WORDS, write_text
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from pgkd import PGKDClassifier, CascadeClassifier
from pgkd.teachers import FunctionTeacher

X = [write_text(label, i) for label in WORDS for i in range(12)]
y = [label for label in WORDS for i in range(12)]
asked = []

def llm(messages):
    asked.append(messages)
    n = len(asked)
    if "label the text" in messages[1]["content"]:
        return '{"1": "A"}'
    return json.dumps({label: [f"new {n} {WORDS[label][n % 5]}"] for label in WORDS})

student = make_pipeline(TfidfVectorizer(), LogisticRegression())
clf = PGKDClassifier(FunctionTeacher(llm), student, max_cycles=2, samples_per_cycle=6,
                     random_state=0, run_dir=sys.argv[1] + "/run")
clf.fit(X, y, X_unlabeled=[f"{text} again" for text in X])
clf.predict(X), str(clf.report()), clf.save(sys.argv[1] + "/saved")
PGKDClassifier.load(sys.argv[1] + "/saved").predict(X)
CascadeClassifier(student, FunctionTeacher(llm), random_state=0).fit(X, y).predict(X)
print(len(asked))
"""


def test_there_is_no_telemetry(tmp_path):
    """All that is done with a local teacher, where any look at the network ends the process."""
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    command = [sys.executable, "-W", "ignore", "-c", path + NO_NETWORK, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) > 5


def test_the_hook_would_see_it(tmp_path):
    code = (
        NO_NETWORK.split("from conftest")[0]
        + "import urllib.request as u; u.urlopen('http://127.0.0.1:9')"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 1
    assert "socket." in out.stderr
