"""
Few labels, many unlabelled texts
=================================

One labelled text a class, and a pile without labels: `fit` takes the names, then lets the student
teach itself. Each step is taken only if the labelled texts say that it helps.
"""

# %%
# Two diagnoses of each of 22 chapters are labelled, and 1,456 are not.

from pgkd.datasets import load_icd10

X, y, X_test, y_test = load_icd10("chapter", n_train=1500, n_test=2000)
n_labelled = 44

# %%
# `verbose=1` prints a line a step. The score is *out of fold*: each labelled text is predicted by a
# student that has not learnt it.

from pgkd import PGKDClassifier
from pgkd.students import StaticStudent

clf = PGKDClassifier(student=StaticStudent("wordllama"), random_state=0, verbose=1)
clf.fit(X[:n_labelled], y[:n_labelled], X_unlabeled=X[n_labelled:])

# %%
# The same student, trained by hand on the labelled texts, is the one to beat.

import matplotlib.pyplot as plt

alone = StaticStudent("wordllama").fit(X[:n_labelled], y[:n_labelled])
scores = {
    "labelled texts alone": alone.score(X_test, y_test),
    "names and unlabelled texts": clf.score(X_test, y_test),
}
fig, ax = plt.subplots(figsize=(6, 1.8))
bars = ax.barh(list(scores), list(scores.values()))
ax.bar_label(bars, fmt="%.2f", padding=4)
ax.set(xlabel="accuracy on 2,000 test texts", xlim=(0, 0.6))
ax.invert_yaxis()
fig.tight_layout()

# %%
# What was learnt, and what became of it, is a table.

import pandas as pd

table = pd.DataFrame(clf.synthetic_)
print(table.groupby(["source", "verdict"]).size())
print(table.loc[table.source == "unlabelled", ["text", "label"]].head())

# %%
# The evidence is thin with 44 texts: the intervals of the gains reach below zero. The test texts
# say the same, more clearly. :doc:`plot_3_a_teacher` asks an LLM on top.
