"""Files that a stranger may have made: looked at before anything else opens them.

What they may hold is bounded by what they have to hold, so that reading them takes memory and time
in proportion to their size: nothing is unpacked to more than it is, and nothing waits for a pipe.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pgkd.exceptions import PersistenceError

#: Bytes and values of a document: 10,000 classes with their scores for 40 steps. A value takes up
#: to 250 bytes of memory, whatever it takes in the file.
MAX_DOCUMENT, MAX_VALUES = 128 * 2**20, 5_000_000
#: Of a tokenizer: the largest that are in use have 262,000 tokens and 35 MB.
MAX_TOKENIZER, MAX_TOKENIZER_VALUES = 64 * 2**20, 4_000_000
#: Bytes of what an archive says of its members, and of the header of a file of tensors; its values.
MAX_INDEX, MAX_INDEX_VALUES = 16 * 2**20, 1_000_000
#: Sparse matrices alone are compressed: they may unpack to so many bytes, and four times their own.
MAX_UNPACKED = 64 * 2**20
#: Layers that a configuration may speak of beside those that there are weights for.
MAX_LAYERS = 500
#: Files and folders of a model.
MAX_FILES = 10_000
#: Bytes of the names of all classes.
MAX_CLASSES = 256 * 2**20
#: A text that loaded models are tried with: a tokenizer with a pattern that goes astray does here.
TRIAL = "a" * 40 + " !"
#: With these, transformers would import code, or read another model.
_NAMES_CODE = {"auto_map", "attn_implementation", "_attn_implementation", "quantization_config"}
_NAMES_FILES = {"merges_file", "spm_file", "tokenizer_file", "vocab_file"}
_FOREIGN = {"adapter_config.json"}


def check_folder(directory: Path) -> None:
    """Refuse a folder with anything but folders and files of its own.

    Raises
    ------
    PersistenceError
        If there is a pipe, a device, or a link that leads out of the folder.
    """
    root = directory.resolve()
    # The hub's cache has the files of a snapshot beside it.
    roots = [root, *(p.parent / "blobs" for p in root.parents if p.name == "snapshots")]
    n_files = 0
    for folder, *names in os.walk(root):
        for path in (Path(folder, name) for own in names for name in own):
            n_files += 1
            reason = "has more files than any model" if n_files > MAX_FILES else None
            try:
                mode, target = path.stat().st_mode, path.resolve()
            except (OSError, RuntimeError) as error:  # a link to nowhere, or in a circle
                reason = f"cannot be read: {error}"
            else:
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    reason = "is neither a file nor a folder"
                elif not any(map(target.is_relative_to, roots)):
                    reason = f"leads out of the folder, to {str(target)!r}"
            if reason:
                raise PersistenceError(
                    f"{str(directory)!r} cannot be trusted: {str(path.relative_to(root))!r} "
                    f"{reason}. Get it anew from where it was saved; a copy of what links lead to "
                    "is made by `cp -rL`."
                )


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes.

    Raises
    ------
    PersistenceError
        If it is larger, or no file.
    OSError
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:  # a pipe is opened at once, and refused
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _damaged(path, "it is no file")
        if status.st_size > limit:
            raise _damaged(path, f"it has {status.st_size:,} bytes, and {limit:,} are the most")
        return file.read(status.st_size)


def read_json(path: Path, limit: int = MAX_DOCUMENT, max_values: int = MAX_VALUES) -> Any:
    """Read a document.

    Raises
    ------
    PersistenceError
        If it is none, or larger than any that pgkd writes.
    OSError
    """
    try:
        return parse_json(read_bytes(path, limit), max_values)
    except PersistenceError:
        raise
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def parse_json(data: bytes, max_values: int = MAX_VALUES) -> Any:
    """Read JSON, if it has not more values than that; a comma in a str counts as one.

    Raises
    ------
    ValueError
    """
    count_values(data, max_values)
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def count_values(data: bytes, max_values: int) -> None:
    """Refuse JSON of more values than that, as `parse_json` does, and leave it to others."""
    n_values = sum(map(data.count, (b",", b"[", b"{")))
    if n_values > max_values:
        raise ValueError(f"it has {n_values:,} values, and {max_values:,} are the most")


def check_archive(path: Path, data: bytes | None = None) -> None:
    """Refuse an archive of arrays that would take more memory than its size.

    Parameters
    ----------
    path : Path
    data : bytes, default=None
        What the file holds, if it was read already.

    Raises
    ------
    PersistenceError
        If it is a bomb, two members share bytes, or an array is not what it says of itself.
    zipfile.BadZipFile
    OSError
    """
    if data is not None:
        return _check_archive(io.BytesIO(data), path)
    if not path.is_file():
        raise _damaged(path, "it is no file")
    with path.open("rb") as file:
        _check_archive(file, path)


def _check_archive(file: IO[bytes], name: Path, *, packed: bool = False) -> None:
    size = file.seek(0, os.SEEK_END)
    index = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # before all of it is read
    if index is not None and index[5] > MAX_INDEX:
        raise _damaged(name, "it has too many members")
    limit = 4 * size + MAX_UNPACKED if packed else size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(max(m.file_size, m.compress_size) for m in members) > limit:
            raise _damaged(name, "it would unpack to more than it may")
        if len({m.filename for m in members}) < len(members):
            raise _damaged(name, "two members have one name")
        for member in members:
            if member.filename != Path(member.filename).name or "\\" in member.filename:
                raise _damaged(name, f"its member {member.filename!r} is a path")
            if member.compress_type != zipfile.ZIP_STORED and not packed:
                raise _damaged(name, f"its member {member.filename!r} is compressed")
            if member.filename.endswith(".npy"):
                with archive.open(member) as array:
                    if not _is_sound(array, member.file_size):
                        raise _damaged(name, f"its array {member.filename!r} is none")
            elif member.filename.endswith(".npz"):
                _check_archive(io.BytesIO(archive.read(member)), name, packed=True)


def _is_sound(array: IO[bytes], size: int) -> bool:
    """Whether a file has as many numbers as it says, and no objects, which are pickles."""
    major, _ = np.lib.format.read_magic(array)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[major]
    shape, _, dtype = read(array)
    is_plain = not dtype.hasobject and dtype.itemsize > 0
    return is_plain and math.prod(shape) * dtype.itemsize == size - array.tell()


def read_shapes(path: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor in a file of safetensors, by its header alone.

    Raises
    ------
    PersistenceError
        If the header is larger than any, or none.
    OSError
    """
    if not path.is_file():
        raise _damaged(path, "it is no file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_INDEX:
            raise _damaged(path, f"its header has {length:,} bytes, {MAX_INDEX:,} are the most")
        try:
            header = parse_json(file.read(length), MAX_INDEX_VALUES)
            return {k: v["shape"] for k, v in header.items() if k != "__metadata__"}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"its header is none, {error!r}") from error


def read_classes(document: Mapping[str, Any]) -> NDArray[Any]:
    """Read the classes of a document.

    Raises
    ------
    ValueError
        If they are no labels, or one is there twice.
    """
    labels, dtype = document["classes"], np.dtype(document["classes_dtype"])
    if (
        not isinstance(labels, list)
        or not all(isinstance(label, (str, int, float)) for label in labels)
        or len(set(labels)) < max(len(labels), 1)
        or dtype.kind not in "OUSbiuf"
        or dtype.itemsize * len(labels) > MAX_CLASSES
    ):
        raise ValueError(f"its classes are not different labels of the type {str(dtype)[:50]!r}")
    return np.array(labels, dtype)


def read_kind(document: Mapping[str, Any]) -> str:
    """Read what form the labels have; older documents have one label a text and do not say so.

    Raises
    ------
    ValueError
    """
    kind = document.get("target_kind", "labels")
    if kind not in ("labels", "sets", "indicator"):
        raise ValueError(f"its target_kind is {kind!r:.50}")
    return str(kind)


def read_thresholds(document: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Read the threshold of each class, which those of several labels a text have.

    Raises
    ------
    ValueError
    """
    found = document.get("label_thresholds")
    if (found is None) != (read_kind(document) == "labels"):
        raise ValueError("it has thresholds and one label a text, or several and none")
    if found is None:
        return None
    if len(found) != len(document["classes"]):
        raise ValueError(f"it has {len(found)} thresholds for {len(document['classes'])} classes")
    return np.array([read_number(value, "label threshold", 0, 1) for value in found])


def read_number(value: Any, name: str, low: float, high: float) -> float:
    """Read a number in [low, high].

    Raises
    ------
    ValueError
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"its {name} is not in [{low:g}, {high:g}], but {value!r:.50}")
    return value


def check_pretrained(directory: Path) -> None:
    """Refuse a model of transformers' that could lead it to anything but this folder's weights.

    Raises
    ------
    PersistenceError
        If a file is larger than it has to be, names code, files or models elsewhere, or asks for
        layers that there are no weights for.
    OSError
        If there is no such folder, or a file is missing.
    """
    n_tensors = 0
    for path in sorted(directory.iterdir()):
        if path.suffix == ".safetensors":
            n_tensors += len(read_shapes(path))
        elif path.name in _FOREIGN:
            raise _damaged(path, "it names a model elsewhere, which `save` never does")
        elif path.is_file() and path.suffix != ".json":
            read_bytes(path, MAX_TOKENIZER)
    for path in sorted(directory.glob("*.json")):
        if path.name == "tokenizer.json":
            count_values(read_bytes(path, MAX_TOKENIZER), MAX_TOKENIZER_VALUES)
            continue
        for key, value in _walk(read_json(path)):
            if key in _NAMES_CODE or (key in _NAMES_FILES and isinstance(value, str)):
                raise _damaged(path, f"it has {key!r}, which `save` never writes")
            if "layer" in key and isinstance(value, int) and value > max(n_tensors, MAX_LAYERS):
                raise _damaged(path, f"its {key!r} is {value}, and there are {n_tensors} weights")
            if key == "weight_map" and isinstance(value, dict):
                for name in value.values():
                    if not isinstance(name, str) or Path(name).name != name:
                        raise _damaged(path, f"it has weights at {name!r}, which is a path")


def _walk(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key with its value, however deep it is, but no names of classes."""
    left = [document]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left.extend(part)
        elif isinstance(part, dict):
            yield from part.items()
            left.extend(value for key, value in part.items() if key not in ("id2label", "label2id"))


def is_fault(error: BaseException) -> bool:
    """Whether an error is one of the file, as a panic is with which tokenizers end."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def check_probabilities(found: Any, n_classes: int, *, multilabel: bool) -> None:
    """Refuse a model which answers to a text with what are no probabilities.

    Raises
    ------
    ValueError
    """
    found = np.asarray(found)
    is_sound = found.shape == (1, n_classes) and ((found >= 0) & (found <= 1 + 1e-6)).all()
    if not is_sound or not (multilabel or abs(found.sum() - 1) < 1e-3):
        raise ValueError(f"it answers to a text with no probabilities of {n_classes} classes")


def _damaged(path: Path, reason: str) -> PersistenceError:
    return PersistenceError(
        f"{str(path)!r} is damaged or forged ({reason}). Write it again, or get it anew from where "
        "it was made."
    )
