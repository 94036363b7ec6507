"""
Hundreds of classes
===================

246 classes, two labelled texts each. What helps where no prompt could hold all classes, and no
person would write examples for each.
"""

# %%
# The classes are the blocks of ICD-10-CM, such as "Intestinal infectious diseases".

from pgkd.datasets import load_icd10

X, y, X_test, y_test = load_icd10("block", n_train=1000, n_test=2000)
n_labelled = 492
print(len(set(y)), "classes")

# %%
# With many classes, a mean over classes tells more than accuracy: ``scoring="f1_macro"``. The
# names are the largest step, and cost nothing.

from pgkd import Evidence, PGKDClassifier
from pgkd.students import StaticStudent

clf = PGKDClassifier(
    student=StaticStudent("wordllama"),
    scoring="f1_macro",
    evidence=Evidence(n_folds=3),  # fewer trainings
    routes=("names",),
    random_state=0,
    verbose=1,
).fit(X[:n_labelled], y[:n_labelled])

# %%
# Which classes does the student know? The report of a step has precision, recall and F1 of each.

import matplotlib.pyplot as plt
import numpy as np

before, after = (
    np.sort([score.f1 for score in step.report.classes.values()])
    for step in (clf.history_[0], clf.history_[-1])
)
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(before, label="labelled texts alone")
ax.plot(after, label="with the names")
ax.set(xlabel="classes, the weakest first", ylabel="F1 out of fold")
ax.legend(frameon=False)
fig.tight_layout()

# %%
# Where a wrong label is worse than none, let the model abstain. `fit_threshold` finds the
# probability above which its labels are right as often as you need, with 95 % confidence. It takes
# labelled texts like those to come: here half of the test texts, and the others check it.

clf.fit_threshold(X_test[:1000], y_test[:1000], min_accuracy=0.5)
labels = clf.predict(X_test[1000:], abstain_label="ask somebody")
given = labels != "ask somebody"
right = labels[given] == np.array(y_test[1000:])[given]
print(f"{given.mean():.0%} of the texts get a label, and {right.mean():.0%} of these are right")
