"""Directories that are written whole or not at all, and values that JSON can hold."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np

from pgkd.exceptions import PersistenceError
from pgkd.system.ranks import is_main_process

DOCUMENT = "pgkd.json"


@contextmanager
def replacing(directory: Path, writer: str) -> Iterator[Path]:
    """Yield a draft that takes the place of `directory`, whole or not at all.

    `writer` is the method that writes it, and the only one whose directories it replaces. Of the
    processes of a launcher, rank 0 replaces it, and the drafts of the others are thrown away.
    """
    if not is_main_process():
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            yield Path(scratch)
        return
    try:
        directory = Path(os.path.abspath(directory))
        _check_replaceable(directory, writer)
        # In the same parent, so that the last step is a rename. No mkdtemp: that is private.
        draft = directory.with_name(f".{directory.name}-{uuid4().hex[:8]}")
        draft.mkdir(parents=True)
        try:
            yield draft
            _replace(directory, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise PersistenceError(
            f"Cannot {writer} to {str(directory)!r} ({error}): pass a directory that can be "
            "written."
        ) from error


def _check_replaceable(directory: Path, writer: str) -> None:
    """Refuse a place where something would be destroyed, or where all work would be in vain."""
    place = f"Cannot {writer} to {str(directory)!r}"
    if directory.is_symlink():
        raise PersistenceError(
            f"{place}, a symbolic link: pass the directory itself, {str(directory.resolve())!r}."
        )
    if not directory.exists():
        return
    if not directory.is_dir():
        raise PersistenceError(f"{place}, which is a file: pass a new or an empty directory.")
    if Path.cwd().is_relative_to(directory.resolve()):
        raise PersistenceError(
            f"{place}, in which the process works, so that it cannot be replaced: pass another "
            "directory."
        )
    strange = _find_strange(directory, writer)
    if strange:
        raise PersistenceError(
            f"{place}: it holds {len(strange)} thing(s) that `{writer}` did not write or no longer "
            f"knows, e.g. {strange[:3]}. Move them away, or pass a new or an empty directory."
        )


def _find_strange(directory: Path, writer: str) -> list[str]:
    """Return what a directory holds besides what `writer` wrote."""
    found = list_files(directory)
    try:
        document = json.loads((directory / DOCUMENT).read_text(encoding="utf-8"))
        if find_writer(document) != writer:
            return found
        written = {*document["files"]}
    except KeyError:  # saved before there was a list
        saved = [name for name in found if name.startswith("student/")]
        written = {"synthetic.jsonl", "student", *saved}
    except (AttributeError, OSError, TypeError, ValueError):  # damaged, or none of ours
        return found
    return sorted({*found} - {DOCUMENT} - written)


def find_writer(document: Any) -> str:
    """Return the method that wrote a directory."""
    return str(document.get("writer", "save"))  # which does not name itself


def list_files(directory: Path) -> list[str]:
    """Name all that a directory holds, as `replacing` wants to find it in ``pgkd.json``."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def _replace(directory: Path, draft: Path) -> None:
    """Put the draft in the directory's place. A kill in between leaves both, side by side."""
    old = draft.with_name(f"{draft.name}-old")
    try:
        if directory.exists():
            directory.rename(old)
        draft.rename(directory)
    finally:
        if old.exists() and not directory.exists():
            old.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text whatever it holds."""
    # A rejected text can hold half a surrogate pair, which JSON has as \ud83d and UTF-8 has not.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what JSON can hold: a `RandomState` is left out, and the head has its own file."""
    kept = {}
    for name, value in values.items():
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (str, bool, int, float)):
            kept[name] = value
    return kept
