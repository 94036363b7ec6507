"""Distil an LLM into a small classifier of diagnoses: the main job, end to end, on real data.

Without further ado this takes an embedded LLM (Qwen2.5-Coder-1.5B, a weak teacher) and an embedded
student (all-MiniLM-L6-v2). With OPENAI_API_KEY or OPENAI_BASE_URL set, it takes that teacher;
PGKD_MODEL names the model.
"""

import contextlib
import os
import time

from icd10 import load_icd10
from local_models import cache_dir, fetch_minilm, fetch_qwen, serve
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score

from pgkd import PGKDClassifier
from pgkd.students import EmbeddingStudent
from pgkd.teachers import OpenAITeacher


@contextlib.contextmanager
def find_teacher():
    """The server that the environment names, else the embedded one."""
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
    X_train, y_train, X_test, y_test = load_icd10("chapter", n_train=220, n_test=2000)
    print(f"{len(X_train)} labelled diagnoses, {len(set(y_train))} chapters of ICD-10-CM")
    student = EmbeddingStudent(fetch_minilm())

    with find_teacher() as teacher:
        clf = PGKDClassifier(
            teacher,
            student,
            max_cycles=2,
            samples_per_cycle=30,
            task_description="Diagnoses in a clinician's words, by chapter of ICD-10-CM.",
            run_dir=cache_dir() / "quickstart",  # run again, it pays for no answer twice
            random_state=0,
            verbose=1,
        )
        clf.fit(X_train, y_train)

    print("\nSome of the texts it wrote:")
    for text in [t for t in clf.synthetic_ if t.verdict == "accepted"][:5]:
        print(f"  {text.text}  [{text.label}]")

    # The test set is touched here, once. The loop has never seen it.
    print(f"\n{len(X_test)} test texts        accuracy  macro F1")
    baseline = clone(student).fit(X_train, y_train)
    for name, model in [("baseline", baseline), (f"cycle {clf.best_cycle_}", clf)]:
        predicted = model.predict(X_test)
        accuracy = accuracy_score(y_test, predicted)
        print(f"  {name:20}  {accuracy:.3f}     {f1_score(y_test, predicted, average='macro'):.3f}")
    usage = clf.usage_
    cost = "unknown" if usage.cost is None else f"${usage.cost:.2f}"
    print(
        f"\n{usage.n_requests} requests, {usage.input_tokens} tokens in, "
        f"{usage.output_tokens} out, cost {cost}; {time.perf_counter() - start:.0f} s in all"
    )


if __name__ == "__main__":
    main()
