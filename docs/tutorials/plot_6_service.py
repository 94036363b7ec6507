"""
From notebook to service
========================

A fitted model becomes a directory, an export without torch, and a service that speaks OpenAI's
chat completions: the application that asked an LLM changes its base URL, and nothing else.
"""

# %%
# A model, from 400 labelled diagnoses.

from pgkd import PGKDClassifier
from pgkd.datasets import load_icd10
from pgkd.students import StaticStudent

X, y, X_test, y_test = load_icd10("chapter", n_train=400, n_test=1000)
clf = PGKDClassifier(student=StaticStudent("wordllama"), random_state=0).fit(X, y)

# %%
# Does it know how sure it is? Right is how often its label is right, by its probability.

from pgkd.plots import ReliabilityDisplay

display = ReliabilityDisplay.from_estimator(clf)

# %%
# When is it sure enough? 500 labelled texts like those to come tell above which probability six
# labels in ten are right, and which share of the texts that is.

clf.fit_threshold(X_test[:500], y_test[:500], min_accuracy=0.6)
print(f"{clf.abstention_.threshold:.2f}, {clf.abstention_.coverage.value:.0%} of the texts")

# %%
# Saved, it needs no teacher. Exported, it needs no torch: a few megabytes that numpy reads.

import tempfile
from pathlib import Path

import pgkd

folder = Path(tempfile.mkdtemp())
clf.save(folder / "model")
print(clf.export(folder / "exported", texts=X_test))
model = pgkd.load(folder / "exported")

# %%
# How fast is that, on one core?

import time

start = time.perf_counter()
n = sum(1 for _ in model.predict_iter(X_test * 10))
print(f"{n / (time.perf_counter() - start):,.0f} texts a second")

# %%
# Served, it answers over HTTP. On the command line that is ``pgkd serve exported``; in a service of
# your own, ``pgkd.serving.make_app(model)`` is an ASGI application.
#
# .. code-block:: sh
#
#    pip install "pgkd[serve]"
#    pgkd serve exported --upstream https://api.openai.com/v1 --keep calls.jsonl
#
# With ``--upstream``, the LLM answers where the model is unsure, and its answers are kept for the
# next `fit`: see :doc:`plot_5_logs`.
