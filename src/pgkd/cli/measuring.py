"""How good a model is on labelled texts that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pgkd.evaluation.estimates import estimate_share
from pgkd.exceptions import InvalidInputError

#: So many standard errors above what is expected are no luck.
MAX_ERRORS = 3.0


def measure(model: Any, texts: Sequence[Any], labels: Sequence[Any]) -> str:
    """Say how many of the labels a model gives are right.

    Labels are compared as they are written: those of a CSV file are str.

    Parameters
    ----------
    model : PGKDClassifier or ExportedClassifier
    texts : sequence of str
    labels : sequence of str, int, bool or, with several a text, of lists of these

    Returns
    -------
    found : str
        With several labels a text, the accuracy is the share of texts whose labels are all right.
        Labels that the model does not know are named, and so is an accuracy that is too good.

    Raises
    ------
    InvalidInputError
        If no label is a class of the model.
    """
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import MultiLabelBinarizer

    if not texts:
        raise InvalidInputError("There is no text to measure the model on.")
    given = [_write(label) for label in model.predict_iter(texts)]
    true = [_write(label) for label in labels]
    classes = sorted(map(str, model.classes_))
    if set().union(*true).isdisjoint(classes):
        raise InvalidInputError(
            f"The labels must be classes of the model, {classes[:5]} and so on. Got "
            f"{sorted(set().union(*true))[:5]} instead: check `--label-column`."
        )
    binarizer = MultiLabelBinarizer().fit([*true, *given])
    f1_macro = f1_score(*map(binarizer.transform, (true, given)), average="macro", zero_division=0)
    n_right = sum(map(frozenset.__eq__, true, given))
    share = estimate_share(n_right, len(texts), 0.95)
    found = (
        f"accuracy {share.value:.3f} (95 %: {share.low:.3f} to {share.high:.3f}), "
        f"macro F1 {f1_macro:.3f}, on {len(texts)} texts"
    )
    if unknown := sorted(set().union(*true).difference(classes)):
        n = sum(not own.isdisjoint(unknown) for own in true)
        found += (
            f"\nLabels that the model does not know, in {n} of them, count as wrong: "
            + ", ".join(map(repr, unknown[:5]))
            + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        )
    own = getattr(model, "comparison_", None)  # an exported one has none
    if own is not None and own.scoring == "accuracy":
        error = math.hypot(*(_error(own.after, n) for n in (own.n_texts, len(texts))))
        if share.value - own.after > MAX_ERRORS * error:
            found += (
                f"\nThat is far above the {own.after:.3f} on texts that it had not learnt. Has it "
                "learnt these?"
            )
    return found


def _error(share: float, n: int) -> float:
    """Return the standard error of a share of `n` texts; none is known better than by one text."""
    return max(math.sqrt(share * (1 - share) / n), 1 / n)


def _write(label: Any) -> frozenset[str]:
    """Return the labels of a text as they are written."""
    return frozenset(map(str, label if isinstance(label, (list, tuple)) else [label]))
