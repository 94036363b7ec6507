"""Logs: a teacher that has already answered."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pgkd.curation.curator import Curator
from pgkd.inputs.logs import Logs
from pgkd.records import Example, Generation, GenerationRequest, Label, SyntheticText


def judge_logs(
    logs: Logs, classes: Sequence[Label], curator: Curator, number: int
) -> list[SyntheticText]:
    """Give each logged text a verdict, and warn of labels that are no class."""
    names = {str(label): label for label in classes}
    pairs = map(Example, logs.texts, [_read_label(label, names) for label in logs.labels])
    generation = Generation(GenerationRequest("logs", {}), tuple(pairs))
    judged = curator.judge([generation], number)
    unknown = [text.label for text in judged if text.reason == "unknown label"]
    if unknown:
        warnings.warn(
            f"{len(unknown)} of {len(judged)} texts of the logs have labels that are no class, "
            f"e.g. {unknown[0]!r}: they are not learnt. Describe that class in "
            "`class_descriptions`, or map the label to one of the classes.",
            stacklevel=6,
        )
    return [replace(text, source="log", request_id="", cost=0.0) for text in judged]


def _read_label(label: Label, names: Mapping[str, Label]) -> Label:
    """Return the class that is meant: a file has ``"7"`` and ``"True"`` for 7 and True."""
    if isinstance(label, tuple):
        return tuple(names.get(str(own), own) for own in label)
    return names.get(str(label), label)
