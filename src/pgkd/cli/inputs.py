"""What `fit` and `plan` are given: files, read into what `PGKDClassifier.fit` takes."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgkd.cli.tables import check_columns, check_differ, find_format, read_rows
from pgkd.exceptions import InvalidInputError

#: What the first row is called, as a spreadsheet does: the header of a table is row 1.
_FIRST_ROW = {"csv": 2, "tsv": 2, "jsonl": 1, "parquet": 1}


@dataclass(frozen=True)
class Inputs:
    """Texts and classes.

    Attributes
    ----------
    data : dict
        Arguments of `PGKDClassifier.fit`.
    params : dict
        Parameters of `PGKDClassifier`: the classes.
    """

    data: dict[str, Any]
    params: dict[str, Any]

    @property
    def is_multilabel(self) -> bool:
        """Whether texts have several labels."""
        return any(isinstance(label, list) for label in self.data.get("y", ()))


def read_inputs(
    data: str | None,
    text_column: str,
    label_column: str,
    separator: str | None,
    unlabelled: str | None,
    validation: str | None,
    logs: str | None,
    classes: str | None,
) -> Inputs:
    """Read all files that were named.

    Raises
    ------
    InvalidInputError
        If a file cannot be read, or lacks a column.
    """
    if data is None and classes is None and logs is None:
        raise InvalidInputError(
            "Nothing says what the classes are: pass a file of labelled texts, `--classes FILE` or "
            "`--logs FILE`. `pgkd fit --help` has examples."
        )
    found: dict[str, Any] = {}
    if data is not None:
        found["X"], found["y"] = read_labelled(data, text_column, label_column, separator)
        if separator is not None and not any(
            isinstance(own, list) and len(own) > 1 for own in found["y"]
        ):
            raise InvalidInputError(
                f"No label of {data!r} has {separator!r} in it, so that each text has one: leave "
                "`--label-separator` out, or correct it."
            )
        _warn_of_contradictions(data, found["X"], found["y"])
    if validation is not None:
        found["X_val"], found["y_val"] = read_labelled(
            validation, text_column, label_column, separator
        )
    if unlabelled is not None:
        found["X_unlabeled"] = read_texts(unlabelled, text_column)
    if logs is not None:
        from pgkd.inputs.logs import read_logs

        found["logs"] = read_logs(logs, text=text_column, label=label_column)
    return Inputs(found, {} if classes is None else _read_classes(classes))


def read_labelled(
    path: str, text_column: str, label_column: str, separator: str | None
) -> tuple[list[Any], list[Any]]:
    """Read texts and labels; those of a CSV file are str, and each has one."""
    check_differ(text_column, label_column)
    format = find_format(path)
    if format == "text":
        raise InvalidInputError(
            f"{path!r} has no labels: pass a .csv, .tsv, .jsonl or .parquet file with the columns "
            f"{text_column!r} and {label_column!r}. `fit --unlabelled` takes texts without them."
        )
    texts, labels = [], []
    textless, unlabelled = [], []
    for number, row in enumerate(read_rows(path, format, text_column), _FIRST_ROW[format]):
        check_columns(row, path, text_column=text_column, label_column=label_column)
        label = row[label_column]
        if _is_empty(row[text_column]):
            textless.append(number)
        elif _is_empty(label) and separator is None:  # else it is a text without any of the labels
            unlabelled.append(number)
        if separator is not None and isinstance(label, str):
            label = [part.strip() for part in label.split(separator) if part.strip()]
        texts.append(row[text_column])
        labels.append(label)
    _check_filled(path, textless, unlabelled)
    if not texts:
        raise InvalidInputError(f"{path!r} has no rows: pass a file with texts and labels.")
    return texts, labels


def _check_filled(path: str, textless: list[int], unlabelled: list[int]) -> None:
    """Raise if cells are empty, and name all of their rows at once."""
    faults = []
    if textless:
        faults.append(f"no text in {_name_rows(textless)}: delete what has none")
    if unlabelled:
        faults.append(
            f"no label in {_name_rows(unlabelled)}: label these texts, or move them to a file of "
            "their own for `fit --unlabelled`"
        )
    if faults:
        raise InvalidInputError(f"{path!r} has {'; and '.join(faults)}.")


def _name_rows(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"row{'s' * (len(numbers) > 1)} {shown}{more}"


def _warn_of_contradictions(path: str, texts: list[Any], labels: list[Any]) -> None:
    """Tell of equal texts with different labels, which may be mistakes."""
    first: dict[str, int] = {}
    rows = [
        (before, i)
        for i, text in enumerate(texts)
        if _to_set(labels[before := first.setdefault(str(text), i)]) != _to_set(labels[i])
    ]
    if rows:
        a, b = rows[0]
        first_row = _FIRST_ROW[find_format(path)]
        warnings.warn(
            f"Rows {a + first_row} and {b + first_row} of {path!r} have the same text, but the "
            f"labels {labels[a]!r} and {labels[b]!r}. Such pairs: {len(rows)}. Both labels are "
            "learnt; correct the one that is wrong.",
            stacklevel=2,
        )


def _to_set(label: Any) -> set[str]:
    return set(map(str, label if isinstance(label, list) else [label]))


def read_texts(path: str, text_column: str) -> list[Any]:
    """Read texts, and leave out blank ones."""
    found = []
    for row in read_rows(path, find_format(path), text_column):
        check_columns(row, path, text_column=text_column)
        if not _is_empty(row[text_column]):
            found.append(row[text_column])
    if not found:
        raise InvalidInputError(f"{path!r} has no texts: leave it out, or pass another.")
    return found


def _is_empty(cell: Any) -> bool:
    return cell is None or not str(cell).strip()


def _read_classes(path: str) -> dict[str, Any]:
    try:
        classes = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"`--classes` cannot be read ({error}): pass a JSON file."
        ) from None
    if isinstance(classes, dict):
        return {"class_descriptions": classes}
    if isinstance(classes, list):
        return {"class_names": classes}
    raise InvalidInputError(
        "`--classes` must hold a JSON object of classes and descriptions, or a list of classes. "
        f"Got {type(classes).__name__} instead."
    )
