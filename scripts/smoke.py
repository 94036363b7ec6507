"""Use an installed pgkd from beginning to end, without extras, network or key."""

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import pgkd
from pgkd.teachers import FunctionTeacher

CARD = ["where is my card", "the card has not arrived", "card delivery takes long"]
RATE = ["what is the exchange rate", "the rate is wrong", "euro to dollar rate"]


def write(prompt):
    """The LLM."""
    return '{"card": ["my new card is late", "no card in the post"], "rate": ["rate of the euro"]}'


installed = distribution("pgkd")
assert Path(pgkd.__file__) == Path(installed.locate_file("pgkd/__init__.py")), pgkd.__file__
assert (Path(pgkd.__file__).parent / "py.typed").exists()
assert installed.version == pgkd.__version__
command = shutil.which("pgkd", path=Path(sys.executable).parent)
said = subprocess.run([command, "--version"], check=True, capture_output=True, text=True).stdout
assert said == f"pgkd {installed.version}\n", said

clf = pgkd.PGKDClassifier(
    FunctionTeacher(write),
    make_pipeline(TfidfVectorizer(), LogisticRegression()),
    routes=("write",),
    evidence=pgkd.Evidence(probe_size=0),
    max_cycles=1,
    random_state=0,
)
clf.fit(CARD + RATE, ["card"] * 3 + ["rate"] * 3)
with tempfile.TemporaryDirectory() as folder:
    clf.save(Path(folder) / "model")
    loaded = pgkd.PGKDClassifier.load(Path(folder) / "model")
texts = ["my card", "the rate"]
assert list(loaded.predict(texts)) == ["card", "rate"]
np.testing.assert_allclose(loaded.predict_proba(texts), clf.predict_proba(texts))
assert clf.usage_.n_requests > 0, "the teacher was not asked"
print(f"pgkd {installed.version} from {Path(pgkd.__file__).parent} works")
