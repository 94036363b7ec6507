"""Labelled texts as they travel through the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgkd.records import FloatArray, LabelArray


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, their labels and, where given, their weights, row by row."""

    texts: list[str]
    y: LabelArray
    weights: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Any) -> LabelledTexts:
        """Return the given rows."""
        return LabelledTexts(
            [self.texts[i] for i in rows],
            self.y[rows],
            None if self.weights is None else self.weights[rows],
        )
