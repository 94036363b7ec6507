"""A person in the loop: the labels of a person are the dearest, and go where they tell most.

`export_review` chooses the texts that a classifier is unsure of, and writes them with its answers
for a tool in which people label; `read_review` reads what they said, for the next `fit`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from pgkd._version import __version__
from pgkd.exceptions import InvalidInputError, did_you_mean
from pgkd.inputs.text import fold_text
from pgkd.inputs.validation import check_texts
from pgkd.records import Label, State, labels_of
from pgkd.samplers import UncertaintySampler
from pgkd.system.files import write_text

__all__ = ["export_review", "read_review"]

FORMATS = ("label_studio", "argilla", "csv")
_AGENT = f"pgkd {__version__}"
#: With one of these at its beginning, a cell is a formula for a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_DELIMITERS = (",", ";", "\t")


def export_review(
    classifier: Any,
    texts: Any,
    path: str | os.PathLike[str],
    *,
    format: str = "label_studio",
    n: int = 100,
) -> NDArray[np.intp]:
    """Write the texts whose labels would tell most, for a person to label.

    They are those that the classifier is unsure of and that differ from each other, as
    :class:`~pgkd.samplers.UncertaintySampler` chooses them. The same texts give the same choice.

    Parameters
    ----------
    classifier : fitted classifier
        `PGKDClassifier`, what `pgkd.load` returns, or another one with `classes_` and
        `predict_proba`.
    texts : list, 1-D array or Series of str
        Texts without a label. Blank ones and copies are passed over.
    path : str or path
        The file to write.
    format : {"label_studio", "argilla", "csv"}, default="label_studio"
        Label Studio's tasks with predictions, and, beside them with the ending ``.xml``, the
        labelling interface of the project. Or Argilla's records with suggestions, as
        ``dataset.records.from_json`` reads them, for a dataset with the field ``text`` and the
        question ``label``. Or a table for a spreadsheet, whose column ``label`` is to be filled in;
        several labels are a JSON list. What a spreadsheet would take for a formula has a ``'``
        before it there.
    n : int, default=100
        Texts to write, at most.

    Returns
    -------
    rows : array of shape (n_chosen,)
        Which of `texts` were written.

    Raises
    ------
    InvalidInputError
        If there is no such format, or `texts` are none.

    References
    ----------
    https://labelstud.io/guide/predictions

    https://docs.argilla.io/latest/how_to_guides/record/

    https://owasp.org/www-community/attacks/CSV_Injection

    Examples
    --------
    >>> from pgkd.review import export_review
    >>> export_review(clf, new_texts, "review.json", n=50)  # doctest: +SKIP
    """
    if format not in FORMATS:
        raise InvalidInputError(
            f"`format` must be one of {list(FORMATS)}. Got {format!r}."
            f"{did_you_mean(format, FORMATS)}"
        )
    if n < 1:
        raise InvalidInputError(f"`n` must be an int of 1 or more. Got {n!r}.")
    given = check_texts(texts, "texts")
    first = {fold_text(text): row for row, text in reversed([*enumerate(given)])}
    kept = np.array(sorted(row for key, row in first.items() if key), dtype=np.intp)
    if not len(kept):
        raise InvalidInputError(f"`texts` must not be blank. Got {len(given)} that are.")
    pool = [given[row] for row in kept]
    probabilities = np.asarray(classifier.predict_proba(pool))
    multilabel = getattr(classifier, "multilabel_", False)
    state = State(
        1,
        tuple(classifier.classes_.tolist()),
        (),
        pool=tuple(pool),
        pool_probabilities=probabilities,
        multilabel=multilabel,
    )
    n = min(n, len(pool))
    chosen = UncertaintySampler().rank(state, n, np.random.default_rng(0))[:n]
    asked = [pool[i] for i in chosen]
    answers: list[Label] = (
        list(classifier.predict_iter(asked))
        if multilabel
        else classifier.classes_[probabilities[chosen].argmax(axis=1)].tolist()
    )
    # Of several labels, how sure the least sure decision is.
    sure = np.maximum(probabilities, 1 - probabilities).min if multilabel else probabilities.max
    items = [*zip(asked, answers, sure(axis=1)[chosen].tolist())]
    path = Path(path)
    if format == "csv":
        # With the mark by which Excel knows UTF-8.
        write_text(path, "\ufeff" + _write_csv(items))
        return kept[chosen]
    make = _make_task if format == "label_studio" else _make_record
    document = [make(text, answer, score) for text, answer, score in items]
    write_text(path, json.dumps(document, ensure_ascii=False, indent=1))
    if format == "label_studio":
        write_text(path.with_suffix(".xml"), _make_interface(state.classes, multilabel))
    return kept[chosen]


def read_review(path: str | os.PathLike[str], classifier: Any) -> tuple[list[str], list[Label]]:
    """Read what people have labelled: what `export_review` wrote, as their tool exports it.

    Parameters
    ----------
    path : str or path
        Label Studio's export as JSON, JSON-MIN or CSV; Argilla's, of ``dataset.records.to_json``;
        or the table, filled in. The file says itself which.
    classifier : fitted classifier
        Whose classes the labels are.

    Returns
    -------
    texts : list of str
    labels : list of labels
        For the next `fit`, beside the labelled texts that there are. Texts that nobody has
        labelled, or skipped, are left out. So are those of which people gave different labels;
        a warning counts them.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, is none of these, or has a label that is none of the classes.

    Examples
    --------
    >>> from pgkd.review import read_review
    >>> texts, labels = read_review("reviewed.json", clf)  # doctest: +SKIP
    >>> clf.fit(X + texts, y + labels)  # doctest: +SKIP
    """
    multilabel = getattr(classifier, "multilabel_", False)
    classes = {str(label): label for label in classifier.classes_.tolist()}
    found: dict[str, set[Label]] = {}
    for text, given in _read(Path(path), multilabel):
        unknown = [label for label in given if label not in classes]
        if unknown:
            raise InvalidInputError(
                f"{str(path)!r} has the label {unknown[0]!r} of {text!r}, which is none of the "
                f"{len(classes)} classes: correct it, or leave this text out."
                f"{did_you_mean(unknown[0], classes)}"
            )
        if multilabel:
            own = tuple(label for name, label in classes.items() if name in given)
            found.setdefault(text, set()).add(own)
        elif given:
            found.setdefault(text, set()).update(classes[label] for label in given)
    agreed = {text: next(iter(labels)) for text, labels in found.items() if len(labels) == 1}
    if len(agreed) < len(found):
        warnings.warn(
            f"{len(found) - len(agreed)} of {len(found)} texts of {str(path)!r} got different "
            "labels from different people, and are left out.",
            stacklevel=2,
        )
    return list(agreed), list(agreed.values())


def _make_task(text: str, answer: Label, score: float) -> dict[str, Any]:
    result = {
        "from_name": "label",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": [str(label) for label in labels_of(answer)]},
    }
    prediction = {"model_version": _AGENT, "score": score, "result": [result]}
    return {"data": {"text": text}, "predictions": [prediction]}


def _make_interface(classes: Sequence[Label], multilabel: bool) -> str:
    choices = "\n".join(f"    <Choice value={quoteattr(str(label))}/>" for label in classes)
    choice = "multiple" if multilabel else "single"
    return (
        '<View>\n  <Text name="text" value="$text"/>\n'
        f'  <Choices name="label" toName="text" choice="{choice}">\n{choices}\n  </Choices>\n'
        "</View>\n"
    )


def _make_record(text: str, answer: Label, score: float) -> dict[str, Any]:
    value: Any = str(answer)
    if isinstance(answer, tuple):
        value = [str(label) for label in answer]
    suggestion = {"value": value, "agent": _AGENT}
    if not isinstance(answer, tuple):  # which would need a score for each
        suggestion["score"] = score
    return {"fields": {"text": text}, "suggestions": {"label": suggestion}}


def _write_csv(items: Iterable[tuple[str, Label, float]]) -> str:
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow(["text", "suggestion", "probability", "label"])
    for text, answer, score in items:
        several = isinstance(answer, tuple)
        shown = json.dumps(answer, ensure_ascii=False) if several else str(answer)
        rows.writerow([_guard(text), _guard(shown), f"{score:.4f}", ""])
    return file.getvalue()


def _guard(cell: str) -> str:
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) else cell


def _unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:2] in (*_FORMULA, "'") else cell


def _read(path: Path, multilabel: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield each text that a person has labelled, with the labels."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
        records = json.loads(content) if content.lstrip().startswith("[") else _parse_csv(content)
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidInputError(
            f"{str(path)!r} cannot be read ({error}): pass a JSON or CSV export in UTF-8."
        ) from error
    for number, record in enumerate(records, 1):
        try:
            yield from _read_record(record, multilabel)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"Record {number} of {str(path)!r} is not of `export_review` ({error!r}): it must "
                "have `text` and `label`. Pass what Label Studio or Argilla exports of it, or the "
                "filled-in table."
            ) from error


def _parse_csv(content: str) -> list[dict[str, Any]]:
    header = content.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)  # spreadsheets choose it by the language
    csv.field_size_limit(2**31 - 1)
    rows = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    is_own = "suggestion" in (rows.fieldnames or ())
    return [
        {key: _unguard(cell) if is_own and cell else cell for key, cell in row.items()}
        for row in rows
    ]


def _read_record(record: Mapping[str, Any], multilabel: bool) -> Iterator[tuple[str, list[str]]]:
    if "annotations" in record:  # Label Studio's JSON
        for annotation in record["annotations"]:
            if not annotation.get("was_cancelled"):
                given = [
                    label
                    for result in annotation["result"]
                    if result["from_name"] == "label"
                    for label in result["value"]["choices"]
                ]
                yield record["data"]["text"], given
    elif "fields" in record:  # Argilla's, of which a draft has the status pending
        if record.get("status", "completed") == "completed":
            for response in (record.get("responses") or {}).get("label", ()):
                if response["value"] is not None:
                    yield record["fields"]["text"], _list_labels(response["value"], False)
    # A table, or Label Studio's CSV and JSON-MIN, which have tasks that nobody has seen as well.
    elif record.get("label") or record.get("annotation_id"):
        yield record["text"], _list_labels(record.get("label") or [], multilabel)


def _list_labels(value: Any, may_be_json: bool) -> list[str]:
    if isinstance(value, str):
        if not may_be_json or not value.lstrip().startswith(("[", "{")):
            return [value.strip()]
        value = json.loads(value)
    if isinstance(value, Mapping):  # how Label Studio writes more than one
        value = value["choices"]
    return [str(label) for label in value]
