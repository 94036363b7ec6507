"""Texts with several labels, and a teacher that has more of them."""

import numpy as np
from conftest import FILLERS, WORDS
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

WORDS = {**WORDS, "fee": ["fee", "charged", "refund", "bill", "cost"]}
CLASSES = sorted(WORDS)
STUDENT = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression(C=10)))


def write_texts(n, seed):
    """Write `n` texts, each with a word of each of its labels."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(n):
        size = rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])
        own = sorted(rng.choice(list(WORDS), size, replace=False, p=[0.4, 0.3, 0.2, 0.1]).tolist())
        words = [*(rng.choice(WORDS[label]) for label in own), *rng.choice(FILLERS, 4)]
        rng.shuffle(words)
        texts.append(" ".join([*words, f"x{seed}y{i}"]))
        labels.append(tuple(own))
    return texts, labels
