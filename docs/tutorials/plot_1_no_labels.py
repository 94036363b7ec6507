"""
No labels at all
================

You have classes and no labelled text. Their names alone make a first classifier, and forty labels
tell how good it is.
"""

# %%
# The data are diagnoses in the words of clinicians. The classes are the 22 chapters of ICD-10-CM,
# the catalogue of diseases that hospitals bill by. Half of the catalogue is kept for testing.

from pgkd.datasets import load_icd10

X, y, X_test, y_test = load_icd10("chapter", n_train=1500, n_test=2000)
chapters = sorted(set(y))
print(X[:3])
print(chapters[:3])

# %%
# Nothing is labelled yet, so `fit` gets no texts. The student is a table of word vectors that comes
# with a package; it trains in a second.

from pgkd import PGKDClassifier
from pgkd.students import StaticStudent

clf = PGKDClassifier(student=StaticStudent("wordllama"), class_names=chapters, random_state=0).fit()
print(clf.predict(["fracture of the left wrist", "measles without complication"]))

# %%
# How good is that? Nobody knows before somebody labels. Forty texts tell it to within 15 points,
# which a confidence interval shows. Here the labels of the data set play the somebody.

from sklearn.metrics import accuracy_score

from pgkd.records import wilson_interval

n_right = int(accuracy_score(y[:40], clf.predict(X[:40]), normalize=False))
low, high = wilson_interval(n_right, 40)
print(f"{n_right / 40:.2f} are right, 95 %: {low:.2f} to {high:.2f}")

# %%
# Where a name says nothing, as "A17" does, pass ``class_descriptions={"A17": "..."}`` instead.
#
# The labels are worth more than a number: give them to the next `fit`, with the texts that have
# none. :doc:`plot_2_few_labels` goes on from there.
#
# With 2,000 labels, which you would not have, we can see what the names were worth. Guessing is
# right on one text in 22.

import matplotlib.pyplot as plt

scores = {
    "guess": 1 / len(chapters),
    "names of the classes": clf.score(X_test, y_test),
}
fig, ax = plt.subplots(figsize=(6, 1.8))
bars = ax.barh(list(scores), list(scores.values()))
ax.bar_label(bars, fmt="%.2f", padding=4)
ax.set(xlabel="accuracy on 2,000 test texts", xlim=(0, 0.5))
ax.invert_yaxis()
fig.tight_layout()
