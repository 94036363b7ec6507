"""What the user wants, and what the user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.logs import Logs
from pgkd.inputs.splitting import Indices
from pgkd.records import Label, LabelArray


@dataclass(frozen=True)
class Settings:
    """What the user wants: parameters of `PGKDClassifier`, by name, as they are documented there.

    In a `Distillation`, what was left open is filled in: `student`, `evidence` and `routes`; and
    `redact` is a `Redactor` then, if there is a teacher.
    """

    teacher: Any = None
    student: Any = None
    sampler: Any = None
    routes: Any = ()
    max_cycles: int = 10
    samples_per_cycle: int = 200
    max_cost: float | None = None
    max_tokens: int | None = None
    scoring: Any = "accuracy"
    evidence: Any = None
    task_description: str | None = None
    class_descriptions: Mapping[Label, str] | None = None
    class_names: Sequence[Label] | None = None
    redact: Any = None
    run_dir: Any = None
    callbacks: Sequence[Any] | None = None
    random_state: Any = None

    @classmethod
    def of(cls, estimator: Any) -> Settings:
        """Read them from an estimator."""
        return cls(**{own.name: getattr(estimator, own.name) for own in fields(cls)})


@dataclass(frozen=True)
class Task:
    """What the user gives, checked.

    Attributes
    ----------
    classes : array of shape (n_classes,)
    labelled : LabelledTexts
        Those of `X_val` included, as the last rows.
    gate, learnable : arrays of int
        Rows that decide alone, if there are any; rows that the student may learn.
    multilabel : bool
    descriptions : mapping of label to str
    task_description : str or None
    pool : list of str
        Texts without a label.
    logs : Logs or None
    """

    classes: LabelArray
    labelled: LabelledTexts
    gate: Indices
    learnable: Indices
    multilabel: bool = False
    descriptions: Mapping[Label, str] = field(default_factory=dict)
    task_description: str | None = None
    pool: Sequence[str] = ()
    logs: Logs | None = None

    @property
    def texts(self) -> list[str]:
        """All texts, each once; of the teacher's answers about one, it has no outer white space."""
        logged = [] if self.logs is None else self.logs.texts
        every = [*self.labelled.texts, *self.pool, *logged]
        return list(dict.fromkeys([*every, *(text.strip() for text in every)]))

    def part_texts(self, *, show_gate: bool) -> tuple[list[str], list[str]]:
        """Return the texts that the teacher may see, and those of the gate."""
        is_gate = set(self.gate.tolist())
        gate = [self.labelled.texts[i] for i in sorted(is_gate)]
        seen = [text for i, text in enumerate(self.labelled.texts) if i not in is_gate]
        return seen + (gate if show_gate else []), gate
