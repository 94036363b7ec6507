"""Records of a run as JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from pgkd.records import (
    ClassDiversity,
    ClassScore,
    Comparison,
    Diversity,
    Probe,
    Step,
    StudentReport,
    SyntheticText,
    Usage,
)
from pgkd.system.files import jsonable


def text_to_line(text: SyntheticText) -> str:
    """A row of `synthetic_` as a line of JSON."""
    return dumps(text_to_json(text)) + "\n"


def text_to_json(text: SyntheticText) -> dict[str, Any]:
    """A row of `synthetic_` in what JSON can hold."""
    row = _fields(text)
    # The label of a rejected text can be anything.
    label: Any = repr(text.label)
    if isinstance(text.label, tuple):
        label = [jsonable({"label": own}).get("label", repr(own)) for own in text.label]
    return {**row, "label": label, **jsonable(row)}


def text_from_json(row: dict[str, Any]) -> SyntheticText:
    """Read a row of `synthetic_`."""
    label = tuple(row["label"]) if isinstance(row["label"], list) else row["label"]
    seeds = tuple(row.get("seed_texts", ()))
    return SyntheticText(**{**row, "label": label, "seed_texts": seeds})


def step_to_json(step: Step) -> dict[str, Any]:
    """A step in what JSON can hold."""
    return {
        **_fields(step),
        "usage": asdict(step.usage),
        "saved": asdict(step.saved),
        "rejected": dict(step.rejected),
        "diversity": diversity_to_json(step.diversity),
        "comparison": step.comparison and asdict(step.comparison),
        "report": step.report and report_to_json(step.report),
        "feedback_report": step.feedback_report and report_to_json(step.feedback_report),
    }


def step_from_json(document: dict[str, Any]) -> Step:
    """Read a step; what an older one lacks has its default."""
    reports = {
        name: document[name] and report_from_json(document[name])
        for name in ("report", "feedback_report")
    }
    parts = {
        "usage": Usage(**document["usage"]),
        "saved": Usage(**document["saved"]),
        "diversity": diversity_from_json(document["diversity"]),
        "comparison": comparison_from_json(document["comparison"]),
    }
    return Step(**{**document, **parts, **reports})


def comparison_from_json(document: dict[str, Any] | None) -> Comparison | None:
    """Read what `asdict` made of a comparison."""
    return None if document is None else Comparison(**document)


def probe_from_json(document: dict[str, Any] | None) -> Probe | None:
    """Read what `asdict` made of a probe."""
    if document is None:
        return None
    return Probe(**{**document, "usage": Usage(**document["usage"])})


def report_to_json(report: StudentReport) -> dict[str, Any]:
    """A report in what JSON can hold."""
    return {
        **_fields(report),
        # Lists of pairs: labels need not be str.
        "classes": [[label, asdict(score)] for label, score in report.classes.items()],
        "confusions": [[*pair, n] for pair, n in report.confusions.items()],
    }


def report_from_json(document: dict[str, Any]) -> StudentReport:
    """Read a report."""
    parts = {
        "classes": {label: ClassScore(**score) for label, score in document["classes"]},
        "confusions": {(label, predicted): n for label, predicted, n in document["confusions"]},
    }
    return StudentReport(**{**document, **parts})


def diversity_from_json(document: dict[str, Any] | None) -> Diversity | None:
    """Read a diversity."""
    if document is None:
        return None
    classes = {label: ClassDiversity(*rest) for label, *rest in document.get("classes", ())}
    return Diversity(**{**document, "classes": classes})


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def diversity_to_json(diversity: Diversity | None) -> dict[str, Any] | None:
    """A diversity in what JSON can hold."""
    if diversity is None:
        return None
    classes = [[label, *own] for label, own in diversity.classes.items()]
    return {**_fields(diversity), "classes": classes}


def dumps(document: Any, indent: int | None = None) -> str:
    """Write JSON; numpy's scalars are taken for Python's."""

    def default(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"{type(value)} is no JSON")

    return json.dumps(document, ensure_ascii=False, indent=indent, default=default)
