"""
Distil the logs of your LLM
===========================

An application already has an LLM classify. Its calls were logged, and that is all a student needs:
no key, no new call, not even a labelled text.
"""

# %%
# So that this page needs no key, we write such a log: chat completions as OpenAI's client returns
# them, of an LLM that is wrong about a tenth of the texts.

import json
import random
import tempfile
from pathlib import Path

from pgkd.datasets import load_icd10

X, y, X_test, y_test = load_icd10("chapter", n_train=1500, n_test=2000)
chapters = sorted(set(y))
rng = random.Random(0)
log = Path(tempfile.mkdtemp()) / "calls.jsonl"
with log.open("w") as file:
    for text, label in zip(X[200:], y[200:]):
        given = rng.choice(chapters) if rng.random() < 0.1 else label
        call = {
            "request": {
                "model": "gpt-5",
                "messages": [
                    {"role": "system", "content": "Which chapter of ICD-10-CM? Answer with JSON."},
                    {"role": "user", "content": text},
                ],
            },
            "response": {"choices": [{"message": {"content": json.dumps({"label": given})}}]},
        }
        file.write(json.dumps(call) + "\n")

# %%
# `read_logs` finds the text, the last message of the user, and the label in the answer.

from pgkd import PGKDClassifier, read_logs
from pgkd.students import StaticStudent

logs = read_logs(log)
print(logs)

# %%
# Without labelled texts, the logs are taken as they are, and nothing vouches for the result.

student = StaticStudent("wordllama")
blind = PGKDClassifier(student=student, random_state=0).fit(logs=logs)

# %%
# With 200 labelled texts, these decide how far the logs are trusted, and tell what is gained.

clf = PGKDClassifier(student=student, random_state=0, verbose=1)
clf.fit(X[:200], y[:200], logs=logs)

# %%
# What each step brought, with its interval:

from pgkd.plots import LadderDisplay

display = LadderDisplay.from_estimator(clf)

# %%
# On texts of other diseases than those that were logged:

print(f"from the logs alone      {blind.score(X_test, y_test):.3f}")
print(f"with 200 labelled texts  {clf.score(X_test, y_test):.3f}")
print(f"the labelled texts alone {student.fit(X[:200], y[:200]).score(X_test, y_test):.3f}")

# %%
# :doc:`plot_6_service` puts it in the LLM's place: the application changes its base URL alone.
