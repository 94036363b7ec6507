"""Directories and files that are written whole or not at all, and values that JSON can hold."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np

from pgkd.exceptions import PersistenceError
from pgkd.system.artefacts import read_json
from pgkd.system.lease import has_lapsed, occupy
from pgkd.system.ranks import is_main_process

DOCUMENT = "pgkd.json"


@contextmanager
def replacing(directory: Path, writer: str, document: str = DOCUMENT) -> Iterator[Path]:
    """Yield a draft that takes the place of `directory`, whole or not at all.

    `writer` is the method that writes it, and the only one whose directories it replaces: those
    whose `document` lists all their files. Of the processes of a launcher, rank 0 replaces it, and
    the drafts of the others are thrown away.
    """
    if not is_main_process():
        with TemporaryDirectory(prefix="pgkd-") as scratch:
            yield Path(scratch)
        return
    try:
        directory = Path(os.path.abspath(directory))
        check_replaceable(directory, writer, document)
        # In the same parent, so that the last step is a rename. No mkdtemp: that is private.
        draft = directory.with_name(f".{directory.name}-{uuid4().hex[:8]}")
        draft.mkdir(parents=True)
        try:
            with occupy(draft):
                yield draft
                _replace(directory, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        for left in find_left(directory):
            if has_lapsed(left):
                shutil.rmtree(left, ignore_errors=True)
    except Exception as error:
        full = _find_full_disk(error)
        if full is None and not isinstance(error, OSError):
            raise
        fix = "free the disk, or pass another directory"
        raise PersistenceError(
            f"Cannot {writer} to {str(directory)!r} ({full or error}): "
            f"{fix if full else 'pass a directory that can be written'}."
        ) from error


def _find_full_disk(error: BaseException | None) -> BaseException | None:
    """Return the cause of an error that is a full disk; not all libraries raise OSError."""
    while error is not None:
        if any(words in str(error) for words in ("No space left", "too large", "iostream error")):
            return error
        error = error.__cause__
    return None


def check_replaceable(directory: Path, writer: str, document: str = DOCUMENT) -> None:
    """Refuse a place where something would be destroyed, or where all work would be in vain.

    Raises
    ------
    PersistenceError
    """
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
    other = _read_writer(directory / document)
    if other not in (writer, None):
        raise PersistenceError(
            f"{place}: it holds what `{other}` wrote. Pass a new or an empty directory."
        )
    if strange := _find_strange(directory, document):
        raise PersistenceError(
            f"{place}: it holds {len(strange)} thing(s) that `{writer}` did not write or no longer "
            f"knows, e.g. {strange[:3]}. Move them away, or pass a new or an empty directory."
        )


def _read_writer(path: Path) -> str | None:
    """Return the method that wrote a directory, by its document; ``None`` if it is none of ours."""
    try:
        return find_writer(read_json(path))
    except (AttributeError, OSError, TypeError, ValueError):
        return None


def _find_strange(directory: Path, document: str) -> list[str]:
    """Return what a directory holds besides what its document names."""
    found = list_files(directory)
    try:
        written = {*read_json(directory / document)["files"]}
    except KeyError:  # saved before there was a list
        saved = [name for name in found if name.startswith("student/")]
        written = {"synthetic.jsonl", "student", *saved}
    except (AttributeError, OSError, TypeError, ValueError):  # damaged, or none of ours
        return found
    return sorted({*found} - {document} - written)


def find_writer(document: Any) -> str:
    """Return the method that wrote a directory."""
    return str(document.get("writer", "save"))  # which does not name itself


def list_files(directory: Path) -> list[str]:
    """Name all that a directory holds, as `replacing` wants to find it in ``pgkd.json``."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def find_left(directory: Path, kind: str = "(-old)?") -> list[Path]:
    """Return what processes that were killed have left beside `directory`.

    A draft, or with "-old" at its end what was there before.
    """
    pattern = re.compile(rf"\.{re.escape(directory.name)}-[0-9a-f]{{8}}{kind}")
    try:
        return sorted(path for path in directory.parent.iterdir() if pattern.fullmatch(path.name))
    except OSError:
        return []


def explain_missing(directory: Path) -> str:
    """Say what is left, if a process was killed when it replaced `directory`."""
    left = [] if directory.exists() else find_left(directory, "-old")
    if not left:
        return ""
    return f" What was there before a process was cut off is {str(left[-1])!r}: rename it."


def _replace(directory: Path, draft: Path) -> None:
    """Put the draft in the directory's place."""
    if not directory.exists():
        draft.rename(directory)
    elif not _exchange(draft, directory):  # a kill in between leaves both, side by side
        old = draft.with_name(f"{draft.name}-old")
        try:
            directory.rename(old)
            draft.rename(directory)
        finally:
            if old.exists() and not directory.exists():
                old.rename(directory)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories in one step, where the system and the disk know how."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
            failed = ctypes.CDLL(None).renameat2(here, names[0], here, names[1], exchange)
        else:
            swap = 2  # RENAME_SWAP of macOS
            failed = ctypes.CDLL(None).renamex_np(*names, swap)
    except (AttributeError, OSError, TypeError):
        return False
    return not failed


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Put data in the place of a file, so that a kill leaves the one or the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{uuid4().hex[:8]}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    with suppress(OSError):  # a folder cannot be opened everywhere
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
