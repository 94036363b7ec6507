"""From one labelled diagnosis a chapter to a classifier: the main job, end to end, on real data.

Free knowledge first: the names of the chapters and unlabelled diagnoses. Then an LLM, as far as it
measurably helps. Without further ado that is Qwen2.5-Coder-1.5B, a weak teacher, on this machine;
the student's encoder is all-MiniLM-L6-v2. With OPENAI_API_KEY or OPENAI_BASE_URL set the teacher is
that one, and PGKD_MODEL names its model. The student and a report are saved in `quickstart-out`.
"""

import contextlib
import os
import time
from pathlib import Path

from local_models import cache_dir, fetch_minilm, fetch_qwen, serve
from sklearn.metrics import accuracy_score, f1_score

from pgkd import PGKDClassifier
from pgkd.datasets import load_icd10
from pgkd.records import Usage
from pgkd.students import EmbeddingStudent
from pgkd.teachers import OpenAITeacher

OUT = Path("quickstart-out")
STEPS = {
    "names": "+ names of the chapters",
    "unlabelled": "+ unlabelled texts",
    "describe": "+ teacher describes",
    "label": "+ teacher labels",
    "write": "+ teacher writes",
}


@contextlib.contextmanager
def find_teacher():
    """The server that the environment names, else one on this machine."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        yield OpenAITeacher(os.environ.get("PGKD_MODEL", "gpt-5-mini"))
    else:
        with serve(fetch_qwen()) as base_url:
            # It runs on this machine, so it costs no money. A slow one reads 20 tokens a second:
            # with the usual timeout every request would be given up and sent again for ever.
            yield OpenAITeacher(
                "qwen",
                base_url=base_url,
                max_tokens=150,
                max_concurrency=4,
                timeout=600,
                price=(0, 0),
            )


def main():
    start = time.perf_counter()
    X, y, X_test, y_test = load_icd10("chapter", n_train=1500, n_test=2000)
    n_labelled = len(set(y))  # the first texts are one of each class
    X_train, y_train, X_unlabeled = X[:n_labelled], y[:n_labelled], X[n_labelled:]
    print(f"{n_labelled} labelled diagnoses, one of each chapter of ICD-10-CM, and")
    print(f"{len(X_unlabeled)} unlabelled ones. Each step, as the labelled ones judge it:\n")

    with find_teacher() as teacher:
        clf = PGKDClassifier(
            teacher,
            EmbeddingStudent(fetch_minilm()),
            max_cycles=3,
            samples_per_cycle=30,
            max_tokens=60_000,
            task_description="Diagnoses in a clinician's words, by chapter of ICD-10-CM.",
            run_dir=cache_dir() / "quickstart",  # run again, it pays for no answer twice
            random_state=0,
            verbose=1,
        )
        clf.fit(X_train, y_train, X_unlabeled=X_unlabeled)
    clf.save(OUT / "model")
    clf.report().save(OUT / "report.html")

    routes = {step.number: step.route for step in clf.history_}
    print("\nSome of the texts it was given:")
    for route in STEPS:
        own = [t for t in clf.synthetic_ if routes[t.cycle] == route]
        for text in own[:2]:
            print(f"  {text.source:11} {text.text[:50]:50}  [{text.label[:30]}] {text.verdict}")

    # The test set is touched here, once. The loop has never seen it.
    print(f"\n{len(X_test)} test texts              accuracy  macro F1   tokens  US dollars")
    learnt = set()
    usage = Usage()
    for name in (None, *STEPS):
        own = [step for step in clf.history_ if step.route == name]
        if name and not own:
            continue
        learnt |= {step.number for step in own}
        usage = sum((step.usage + step.saved for step in own), usage)
        clf.refit([t.verdict == "accepted" and t.cycle in learnt for t in clf.synthetic_])
        predicted = clf.predict(X_test)
        accuracy = accuracy_score(y_test, predicted)
        f1 = f1_score(y_test, predicted, average="macro")
        cost = "unknown" if usage.cost is None else f"{usage.cost:.2f}"
        tokens = usage.input_tokens + usage.output_tokens
        print(
            f"  {STEPS.get(name, 'labelled texts alone'):26}   {accuracy:.3f}     {f1:.3f}"
            f"  {tokens:7,}  {cost:>10}"
        )
    probe = clf.usage_ + clf.saved_usage_ - usage
    print(f"To find out what the teacher is good for took {probe.tokens:,} tokens more.")
    print(f"\n{time.perf_counter() - start:.0f} s in all. Now open {OUT / 'report.html'}, and try")
    print(f"  echo 'acute bronchitis' | .venv/bin/pgkd predict {OUT / 'model'}")


if __name__ == "__main__":
    main()
