"""
An LLM as teacher, and what it costs
====================================

`fit` first finds out for a few cents where the LLM is better than the student. Then it buys that,
within a budget, and says what each dollar brought.
"""

# %%
# So that this page needs no key, the teacher is a stand-in: it knows 1,500 diagnoses and their
# chapters, and is wrong about every fifth. Any LLM takes its place:
# ``OpenAITeacher("gpt-5-mini")``, ``AnthropicTeacher("claude-haiku-4-5")``,
# ``OpenAITeacher("qwen", base_url="http://localhost:8080/v1")`` for a local server.

from pgkd.datasets import load_icd10
from pgkd.testing import PoolTeacher

X, y, X_test, y_test = load_icd10("chapter", n_train=1500, n_test=2000)
n_labelled = 88
teacher = PoolTeacher(X, y, error_rate=0.2)

# %%
# What would an LLM cost? `plan` counts without a call. The price is in US dollars for a million
# tokens of input and of output; those of well-known models are known.

from pgkd import PGKDClassifier
from pgkd.students import StaticStudent
from pgkd.teachers import OpenAITeacher

llm = OpenAITeacher("my-llm", base_url="http://localhost:8080/v1", price=(0.25, 2.00))
clf = PGKDClassifier(
    llm,
    StaticStudent("wordllama"),
    max_cycles=4,
    samples_per_cycle=100,
    task_description="Diagnoses in a clinician's words, by chapter of ICD-10-CM.",
    random_state=0,
    verbose=1,
)
print(clf.plan(X[:n_labelled], y[:n_labelled], X_unlabeled=X[500:]))

# %%
# Here the stand-in teaches. It labels texts of which the student is unsure, and writes new ones.
#
# "72 texts of 100" in a line counts texts: it was asked about 100, and 72 can be learnt. The others
# are copies, or got no label, since their class was not on the shortlist that it chooses from.

clf.set_params(teacher=teacher).fit(X[:n_labelled], y[:n_labelled], X_unlabeled=X[500:])
print(clf.probe_.verdict)

# %%
# Was it worth it? `comparison_` has the gain out of fold with its interval, `usage_` the bill: this
# teacher is free.

low, high = clf.comparison_.interval
print(f"{clf.comparison_.before:.3f} -> {clf.comparison_.after:.3f}")
print(f"gain {clf.comparison_.after - clf.comparison_.before:+.3f} ({low:+.3f} to {high:+.3f})")
print(f"{clf.usage_.n_requests} requests, ${clf.usage_.cost:.2f}")
alone = StaticStudent("wordllama").fit(X[:n_labelled], y[:n_labelled])
print(f"test texts: {alone.score(X_test, y_test):.3f} -> {clf.score(X_test, y_test):.3f}")

# %%
# What each step brought, with its interval:

from pgkd.plots import LadderDisplay

display = LadderDisplay.from_estimator(clf)

# %%
# Every text says where it comes from, what it cost and what became of it. "pool" are those that the
# teacher labelled. Where it and the student disagree, a text is learnt with several labels, each at
# a weight of its own, and has a row for each: so there are more rows than texts.

import pandas as pd

table = pd.DataFrame(clf.synthetic_)
print(table.groupby(["source", "verdict"])["text"].agg(rows="size", texts="nunique"))

# %%
# The report tells it in words. In a notebook it is a page.

print(str(clf.report())[:600])
