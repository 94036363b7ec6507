"""A snapshot as JSON and arrays, and back. Each text and each array is there once.

A text that the user gives is there by its place among them: whoever goes on with a run has them.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.loop.buyer import Bill
from pgkd.loop.routes import Account
from pgkd.loop.snapshot import Shown, Snapshot
from pgkd.loop.training_set import Part, Result, TrainingSet
from pgkd.records import Batch, Example, FloatArray, StudentReport, SyntheticText, Usage
from pgkd.system.documents import (
    probe_from_json,
    report_from_json,
    report_to_json,
    step_from_json,
    step_to_json,
    text_from_json,
    text_to_json,
)


def pack(
    snapshot: Snapshot, given: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return what JSON can hold, without the texts that are given, and the arrays that it names."""
    packer = _Packer(given)
    shown, bill = snapshot.shown, snapshot.bill
    is_begun = snapshot.current is not snapshot.baseline
    document = {
        "history": [step_to_json(step) for step in snapshot.history],
        "synthetic": packer.texts(snapshot.synthetic),
        "baseline": packer.training_set(snapshot.baseline),
        "current": packer.training_set(snapshot.current) if is_begun else None,
        "bought": [[route, packer.part(part)] for route, part in snapshot.bought.items()],
        "accounts": {route: asdict(account) for route, account in snapshot.accounts.items()},
        "probe": snapshot.probe and asdict(snapshot.probe),
        "is_probed": snapshot.is_probed,
        "shown": {
            "cycle": shown.cycle,
            "batches": [_batch_to_json(batch) for batch in shown.batches],
            "descriptions": list(shown.descriptions.items()),
            "asked": packer.strings.put_all(sorted(shown.asked)),
            "synthetic": packer.examples(shown.synthetic),
            "previous": shown.previous and report_to_json(shown.previous),
            "probabilities": packer.array(shown.probabilities),
        },
        "bill": bill and packer.bill(bill),
    }
    document["tables"] = packer.tables()
    return document, packer.arrays


def unpack(
    document: Mapping[str, Any], arrays: Mapping[str, FloatArray], given: Sequence[str] = ()
) -> Snapshot:
    """Read what `pack` made of the same texts."""
    reader = _Reader(document["tables"], arrays, given)
    baseline = reader.training_set(document["baseline"])
    current, bill, shown = document["current"], document["bill"], document["shown"]
    return Snapshot(
        history=[step_from_json(step) for step in document["history"]],
        synthetic=reader.pick_texts(document["synthetic"]),
        baseline=baseline,
        current=baseline if current is None else reader.training_set(current),
        bought={route: reader.part(part) for route, part in document["bought"]},
        accounts={route: Account(**own) for route, own in document["accounts"].items()},
        probe=probe_from_json(document["probe"]),
        is_probed=document["is_probed"],
        shown=Shown(
            cycle=shown["cycle"],
            batches=tuple(map(_batch_from_json, shown["batches"])),
            descriptions=dict(shown["descriptions"]),
            asked=frozenset(reader.strings[i] for i in shown["asked"]),
            synthetic=reader.pick_examples(shown["synthetic"]),
            previous=shown["previous"] and report_from_json(shown["previous"]),
            probabilities=reader.array(shown["probabilities"]),
        ),
        bill=bill and reader.bill(bill),
    )


class _Table:
    """Rows, each once. Those that are given are not kept: their places are -1, -2 and so on."""

    def __init__(self, given: Sequence[str] = ()) -> None:
        self._places = {json.dumps(row): -1 - i for i, row in enumerate(given)}
        self.rows: list[Any] = []

    def put(self, row: Any) -> int:
        """Return the place of a row."""
        key = json.dumps(row)
        if key not in self._places:
            self._places[key] = len(self.rows)
            self.rows.append(row)
        return self._places[key]

    def put_all(self, rows: Iterable[Any]) -> list[int]:
        return [self.put(row) for row in rows]


class _Packer:
    """Turns texts and arrays into places and names.

    Attributes
    ----------
    strings, rows, learnt : _Table
        Strs, synthetic texts and examples.
    arrays : dict of str to array
    """

    def __init__(self, given: Sequence[str]) -> None:
        self.strings, self.rows, self.learnt = _Table(given), _Table(), _Table()
        self.arrays: dict[str, NDArray[Any]] = {}

    def tables(self) -> dict[str, list[Any]]:
        return {"strings": self.strings.rows, "texts": self.rows.rows, "examples": self.learnt.rows}

    def texts(self, texts: Iterable[SyntheticText]) -> list[int]:
        return [self.rows.put(self._text(text)) for text in texts]

    def examples(self, examples: Iterable[Example]) -> list[int]:
        return [
            self.learnt.put([self.strings.put(e.text), _plain(e.label), float(e.weight)])
            for e in examples
        ]

    def part(self, part: Part) -> dict[str, Any]:
        return {
            "texts": self.texts(part.texts),
            "by_split": [self.examples(examples) for examples in part.by_split],
            "factor": float(part.factor),
        }

    def training_set(self, chosen: TrainingSet) -> dict[str, Any]:
        results = [
            [number, self.array(result.probabilities), self.array(_find_guesses(result))]
            for number, result in chosen.results.items()
            if result.probabilities.size  # another one is a student and nothing else
        ]
        parts = [[route, self.part(part)] for route, part in chosen.parts.items()]
        return {"parts": parts, "results": results}

    def bill(self, bill: Bill) -> list[Any]:
        sent = self.strings.put_all(sorted(bill.sent))
        return [asdict(bill.paid), asdict(bill.kept), bill.n_answers, bill.is_refused, sent]

    def array(self, array: NDArray[Any] | None) -> str | None:
        if array is None:
            return None
        array = np.ascontiguousarray(array)
        name = hashlib.sha256(array.tobytes() + repr((array.dtype, array.shape)).encode())
        self.arrays[name.hexdigest()[:32]] = array
        return name.hexdigest()[:32]

    def _text(self, text: SyntheticText) -> dict[str, Any]:
        row = text_to_json(text)
        row["text"] = self.strings.put(text.text)
        row["seed_texts"] = self.strings.put_all(text.seed_texts)
        return {name: _plain(value) for name, value in row.items()}


class _Reader:
    """Turns places and names into texts and arrays."""

    def __init__(
        self, tables: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], given: Sequence[str]
    ) -> None:
        self.arrays = arrays
        self.strings = strings = [*tables["strings"], *reversed(given)]
        self._texts = [
            text_from_json(
                {
                    **row,
                    "text": strings[row["text"]],
                    "seed_texts": [strings[i] for i in row["seed_texts"]],
                }
            )
            for row in tables["texts"]
        ]
        self._examples = [
            Example(strings[place], _read_label(label), weight)
            for place, label, weight in tables["examples"]
        ]

    def pick_texts(self, places: Iterable[int]) -> list[SyntheticText]:
        return [self._texts[i] for i in places]

    def pick_examples(self, places: Iterable[int]) -> tuple[Example, ...]:
        return tuple(self._examples[i] for i in places)

    def part(self, row: Mapping[str, Any]) -> Part:
        by_split = tuple(self.pick_examples(places) for places in row["by_split"])
        return Part(tuple(self.pick_texts(row["texts"])), by_split, row["factor"])

    def training_set(self, row: Mapping[str, Any]) -> TrainingSet:
        results = {}
        for number, name, guesses in row["results"]:
            fair = self.arrays[name].copy()
            fair[self.arrays[guesses]] = 1 / fair.shape[1]
            results[number] = Result(None, self.arrays[name], fair)
        return TrainingSet({route: self.part(part) for route, part in row["parts"]}, results)

    def bill(self, row: list[Any]) -> Bill:
        paid, kept, n_answers, is_refused, sent = row
        texts = frozenset(self.strings[i] for i in sent)
        return Bill(Usage(**paid), Usage(**kept), n_answers, is_refused, texts)

    def array(self, name: str | None) -> FloatArray | None:
        return None if name is None else self.arrays[name]


def _find_guesses(result: Result) -> NDArray[np.intp]:
    """Return the rows that are credited with a guess."""
    return np.flatnonzero((result.fair != result.probabilities).any(axis=1))


def _batch_to_json(batch: Batch) -> list[Any]:
    counts = [[[_plain(k), n] for k, n in m.items()] for m in (batch.requested, batch.counts)]
    return [*counts, batch.feedback and report_to_json(batch.feedback)]


def _batch_from_json(row: list[Any]) -> Batch:
    requested, counts, report = row
    feedback: StudentReport | None = report and report_from_json(report)
    # They answer 0 for a class that they lack, as those that `Briefing` makes.
    return Batch(Counter(dict(requested)), Counter(dict(counts)), feedback)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: a number of NumPy's as Python's."""
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    return value.item() if isinstance(value, np.generic) else value


def _read_label(label: Any) -> Any:
    return tuple(label) if isinstance(label, list) else label
