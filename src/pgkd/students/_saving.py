"""Any student in a directory that is no pickle."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pgkd import students
from pgkd.exceptions import PersistenceError


def save_student(student: Any, directory: Path, *, is_whole: bool = True) -> str | None:
    """Save a student by its own means or by skops; name its class in the first case.

    Parameters
    ----------
    student : classifier
    directory : Path
        Must not exist.
    is_whole : bool, default=True
        Whether pretrained weights that no training has changed are saved with it.

    Raises
    ------
    PersistenceError
    """
    directory.mkdir(parents=True)
    cls = type(student)
    name = f"{cls.__module__}:{cls.__qualname__}"
    own = hasattr(student, "save")
    if own and ("." in cls.__qualname__ or not hasattr(cls, "load")):
        raise PersistenceError(
            f"The student's class {name!r} has `save`, but could not be loaded again: give it a "
            "class method `load(directory)`, and define it at the top of its module."
        )
    try:
        if own:
            save = student.save if is_whole else getattr(student, "_save_trained", student.save)
            save(directory)
        else:
            from pgkd.students import _skops  # not needed to predict

            _skops.dump(student, directory / "student.skops")
    except (PersistenceError, OSError):
        raise
    except Exception as error:
        parts = [
            f"Its part `{key}`, of class {type(value).__name__}, can only be saved as the student "
            "itself. "
            for key, value in student.get_params().items()
            if hasattr(value, "save")
        ]
        raise PersistenceError(
            f"The student, of class {name!r}, cannot be saved without pickle ({error!r}). "
            f"{''.join(parts)}Use another student, or pickle the classifier with joblib.dump."
        ) from error
    return name if own else None


def load_student(
    name: str | None, directory: Path, trusted: Collection[str], *, is_whole: bool = True
) -> Any:
    """Load what `save_student` wrote, if its types are pgkd's, scikit-learn's or trusted.

    With `is_whole=False`, pretrained weights are looked for where the student says they are.
    """
    if name is None:
        from pgkd.students import _skops

        return _skops.load(directory / "student.skops", trusted)
    module, _, attribute = name.partition(":")
    # The directory names the class: importing just anything would be a pickle by another name.
    if module.split(".")[0] == "pgkd" and attribute in students.__all__:
        cls = getattr(students, attribute)
        return cls.load(directory) if is_whole else cls._load_trained(directory)
    if name not in trusted:
        raise PersistenceError(
            f"The student in {str(directory)!r} is of the class {name!r}, which is none of pgkd's. "
            f"If you know where it comes from, pass `trusted=[{name!r}]`."
        )
    return getattr(importlib.import_module(module), attribute).load(directory)


def name_types(student: Any) -> set[str]:
    """Name the types and functions of a student that is here already, so that they are trusted."""
    from pgkd.students._trusted import walk

    found = set()
    for part in walk(student):
        for own in (part, type(part)):
            if hasattr(own, "__module__") and hasattr(own, "__qualname__"):
                found |= {f"{own.__module__}{mark}{own.__qualname__}" for mark in ".:"}
    return found
