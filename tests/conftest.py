"""Data, students and teachers that the tests share."""

import os
import random
from pathlib import Path

import hypothesis
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import Evidence, PGKDClassifier
from pgkd.records import Example, Generation, Usage

# A shared machine is slow at times; that is no failure.
hypothesis.settings.register_profile("pgkd", deadline=None)
hypothesis.settings.load_profile("pgkd")

# No test may reach a hub or a paid service.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["PGKD_BLOCK_PAID_CALLS"] = "1"
for _name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
    os.environ.pop(_name, None)

WORDS = {
    "card": ["card", "post", "delivery", "arrived", "envelope"],
    "rate": ["exchange", "rate", "euro", "dollar", "currency"],
    "pin": ["pin", "code", "digits", "blocked", "forgot"],
}
FILLERS = ["my", "please", "today", "why", "help", "again", "the", "a", "new", "still"]


def write_text(label, i):
    """Text number `i` of a class: two of its words among fillers, all different."""
    words = WORDS[label]
    return (
        f"{FILLERS[i % 10]} {words[i % 5]} {FILLERS[(i // 5) % 10]} "
        f"{words[(i // 2 + 1) % 5]} {FILLERS[(i * 7 + 3) % 10]} {label}{i}"
    )


def write_hard(label, i):
    """Text number `i` of a class of many words, of which a few texts show few."""
    rng = random.Random(f"{label}{i}")
    words = [f"{label[0]}{k}{label[-1]}" for k in rng.sample(range(30), 2)]
    return " ".join([*words, *rng.sample(FILLERS, 3), f"{label}{i}"])


class WordTeacher:
    """Writes texts as the tests' data are made; ``wrong``: with the next class's label."""

    def __init__(self, wrong=False, write=write_text):
        self.wrong = wrong
        self.write = write
        self.requests = []
        self.n_written = 1000

    def generate(self, requests):
        labels = list(WORDS)
        for request in requests:
            self.requests.append(request)
            examples = []
            for label, n in request.counts.items():
                source = labels[(labels.index(label) + 1) % 3] if self.wrong else label
                for _ in range(n):
                    self.n_written += 1
                    examples.append(Example(self.write(source, self.n_written), label))
            yield Generation(request, tuple(examples), usage=Usage(1, 100, 10, cost=0.01))


def make_classifier(*args, **params):
    """A classifier whose teacher writes, and nothing else happens; `Evidence`'s parameters too."""
    names = Evidence().get_params().keys() & params.keys()
    evidence = {"probe_size": 0, **{name: params.pop(name) for name in names}}
    return PGKDClassifier(
        *args, **{"routes": ("write",), "evidence": Evidence(**evidence), **params}
    )


class Recorder:
    """A callback that keeps the requests, as `fit` works with a clone of the teacher."""

    def __init__(self):
        self.requests = []

    def on_event(self, event):
        if event.kind == "generation":
            self.requests.append(event.value.request)


@pytest.fixture
def float32(monkeypatch):
    """Train in float32, as predictions are made, also where the CPU has bfloat16."""
    monkeypatch.setattr("pgkd.students._training.has_fast_bf16", lambda device: False)


@pytest.fixture
def data():
    """60 texts of three classes and their labels."""
    rows = [(write_text(label, i), label) for i in range(20) for label in WORDS]
    return [text for text, _ in rows], [label for _, label in rows]


@pytest.fixture
def hard():
    """24 texts of which a student that has not learnt them knows about half."""
    rows = [(write_hard(label, i), label) for i in range(8) for label in WORDS]
    return [text for text, _ in rows], [label for _, label in rows]


@pytest.fixture
def hard_test():
    """Texts of the same kind, to test with."""
    rows = [(write_hard(label, i), label) for i in range(500, 600) for label in WORDS]
    return [text for text, _ in rows], [label for _, label in rows]


@pytest.fixture
def student():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


@pytest.fixture
def teacher():
    return WordTeacher()


@pytest.fixture(scope="session")
def shared_data():
    """The folder of the real data sets, where the machine has it."""
    folder = Path(os.environ.get("PGKD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "banking77" / "train.csv").exists():
        pytest.skip("the data sets are not here: set PGKD_TEST_DATA to their folder")
    return folder
