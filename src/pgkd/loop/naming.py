"""What a class is called is a text about it: the first one, and free."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence

from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.text import fold_name, fold_text, is_valid
from pgkd.records import Label, SyntheticText

#: A description that is longer is no text to learn: it would be cut by every student anyway.
MAX_LENGTH = 2000
#: Between a lower and an upper case letter ("cardArrival"), before the last capital of an acronym
#: ("ATMFee").
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\s_\-/.:|>]+")


def split_name(label: Label) -> str:
    """Write a class's name as words; ``""`` if it has none, as a number or a bool.

    Examples
    --------
    >>> from pgkd.loop.naming import split_name
    >>> [split_name(name) for name in ("card_arrival", "cardArrival", "ATM-fee", "Card Arrival")]
    ['card arrival', 'card arrival', 'ATM fee', 'card arrival']
    >>> split_name(True), split_name("7"), split_name("Überweisung_fehlt")
    ('', '', 'überweisung fehlt')
    """
    if not isinstance(label, str):
        return ""
    words = _SEPARATORS.sub(" ", _CAMEL.sub(" ", str(label))).split()
    name = " ".join(word if word.isupper() else word.lower() for word in words)
    return name if any(unicodedata.category(c).startswith("L") for c in name) else ""


def write_names(
    classes: Sequence[Label], descriptions: Mapping[Label, str], *, multilabel: bool = False
) -> list[SyntheticText]:
    """Make a training text of each class's name, and one of its description.

    Classes whose names are the same words ("card_late", "cardLate") get no name: it would teach two
    labels for one text.

    Parameters
    ----------
    classes : sequence of labels
    descriptions : mapping of label to str
    multilabel : bool, default=False
        Whether labels are tuples of classes.

    Returns
    -------
    texts : list of SyntheticText

    Examples
    --------
    >>> from pgkd.loop.naming import write_names
    >>> [(t.text, t.label, t.source) for t in write_names(["card_late", "x"], {"x": "All else."})]
    [('card late', 'card_late', 'name'), ('x', 'x', 'name'), ('All else.', 'x', 'description')]
    """
    texts: list[SyntheticText] = []
    for label in classes:
        for source, text in (
            ("name", split_name(label)),
            ("description", " ".join(descriptions.get(label, "").split())),
        ):
            if fold_text(text) and is_valid(text) and len(text) <= MAX_LENGTH:
                own = (label,) if multilabel else label
                texts.append(
                    SyntheticText(text, own, 0, "", cost=0.0, verdict="accepted", source=source)
                )
    owners: dict[str, set[Label]] = {}
    for item in texts:
        owners.setdefault(fold_text(item.text), set()).add(item.label)
    unique = {(fold_text(item.text), item.label): item for item in reversed(texts)}
    return [item for item in reversed(unique.values()) if len(owners[fold_text(item.text)]) == 1]


def warn_of_twins(classes: Sequence[Label]) -> None:
    """Tell of classes that are one to a reader: a slip of whoever has labelled, most likely."""
    first: dict[str, Label] = {}
    for label in classes:
        twin = first.setdefault(fold_name(str(label)), label)
        if twin != label:
            warnings.warn(
                f"The classes {twin!r} and {label!r} differ in case and white space alone: if they "
                "are one, correct the labels.",
                stacklevel=2,
            )


def drop_contrary(names: Sequence[SyntheticText], labelled: LabelledTexts) -> list[SyntheticText]:
    """Drop names that are a labelled text of another class: they would teach the contrary of it."""
    truth = {fold_text(text): label for text, label in zip(labelled.texts, labelled.y.tolist())}
    return [name for name in names if truth.get(fold_text(name.text), name.label) == name.label]
