"""The students of the folds, kept on disk as long as a step to come may ask them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from pgkd.loop.training_set import Result
from pgkd.students._saving import load_student, name_types, save_student
from pgkd.system.ranks import broadcast, is_main_process

#: Students must leave so many times their own size free: answers need the disk more.
SPARE = 20


class KeptStudent:
    """A student of another process, read when it is first asked.

    Parameters
    ----------
    directory : Path
    kind : str or None
        As `save_student` returns it.
    """

    def __init__(self, directory: Path, kind: str | None) -> None:
        self.directory = directory
        self.kind = kind
        self._student: Any = None

    def load(self, prototype: Any) -> Any:
        """Return the student, ``None`` if it cannot be read; all processes must call this.

        Types are trusted that `prototype`, the student before its training, is made of.
        """
        if self._student is None:
            self._student = broadcast(self._read(prototype) if is_main_process() else None)
        return self._student

    def _read(self, prototype: Any) -> Any:
        try:
            return load_student(self.kind, self.directory, name_types(prototype), is_whole=False)
        except Exception:  # whatever a damaged file leads to: it is trained again
            return None


class Shelf:
    """Keeps the students of one training set.

    Parameters
    ----------
    folder : Path
        Created when the first one is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[int, tuple[Any, KeptStudent]] = {}
        self._is_over = False  # whether one could not be kept

    def put(self, results: Mapping[int, Result]) -> dict[int, KeptStudent]:
        """Keep the students of some splits, unless they are; return those that are."""
        kept: dict[int, KeptStudent] = {}
        for number, result in results.items():
            if isinstance(result.student, KeptStudent):
                kept[number] = result.student
            elif result.student is not None and result.probabilities.size:
                known, own = self._kept.get(number, (None, None))
                own = own if known is result.student else self._write(result.student)
                if own is not None:
                    kept[number] = own
                    self._kept[number] = result.student, own
        return kept

    def keep_only(self, kept: Mapping[int, KeptStudent]) -> None:
        """Throw the others away."""
        wanted = {own.directory for own in kept.values()}
        self._kept = {n: pair for n, pair in self._kept.items() if pair[1].directory in wanted}
        if not wanted:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self.folder.exists():
            for path in set(self.folder.iterdir()) - wanted:
                shutil.rmtree(path, ignore_errors=True)

    def _write(self, student: Any) -> KeptStudent | None:
        if self._is_over:
            return None
        directory = self.folder / uuid4().hex[:8]
        try:
            kind = save_student(student, directory, is_whole=False)
            files = [path for path in directory.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            if shutil.disk_usage(directory).free < SPARE * size:
                raise OSError("the disk is nearly full")
            for path in files:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            return KeptStudent(directory, kind)
        except Exception:  # no pickle, no disk: should the process die, it is trained again
            self._is_over = True
            shutil.rmtree(directory, ignore_errors=True)
            return None
