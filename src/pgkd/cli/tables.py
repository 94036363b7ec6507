"""Files of texts: a text a line, CSV, JSON lines or Parquet; read and written row by row."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from pgkd.exceptions import InvalidInputError, did_you_mean
from pgkd.export.engines import require
from pgkd.inputs.text import as_cell

#: By the end of a file's name.
FORMATS = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
#: What programs write in the place of the delimiter.
_OTHERS = (";", "\t", "|", ",")
#: Standard input or output.
STANDARD = "-"
Row = dict[str, Any]


def find_format(path: str, given: str | None = None) -> str:
    """Return the format of a file; standard input and output have a text a line."""
    if given is not None:
        known = sorted({*FORMATS.values()})
        if given not in known:
            raise InvalidInputError(
                f"`--format` must be one of {known}. Got {given!r} instead."
                f"{did_you_mean(given, known)}"
            )
        return given
    if path == STANDARD:
        return "text"
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InvalidInputError(
            f"The file {path!r} must end in one of {sorted(FORMATS)}. Got {suffix!r} instead: "
            "rename or convert it."
        )
    return FORMATS[suffix]


def read_rows(path: str, format: str, text_column: str) -> Iterator[Row]:
    """Read a file's rows, one after the other.

    Parameters
    ----------
    path : str
        ``"-"`` is standard input.
    format : {"text", "csv", "tsv", "jsonl", "parquet"}
    text_column : str
        Under which a line of a text file is returned.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or a line is broken; it is named by its number.
    """
    if format == "parquet":
        yield from _read_parquet(path)
        return
    with _open(path, "r") as file:
        if format == "text":
            yield from ({text_column: line.rstrip("\r\n")} for line in file)
        elif format == "jsonl":
            yield from _read_json_lines(path, file)
        else:
            yield from _read_csv(path, file, _DELIMITERS[format])


@contextlib.contextmanager
def writing(path: str, format: str, text_column: str, added: Sequence[str]) -> Iterator[Any]:
    """Open a file for rows; what is yielded is called with a list of them.

    A text file has a line of the columns `added` for each row.
    """
    if format == "parquet":
        with _writing_parquet(path) as write:
            yield write
        return
    with _open(path, "w") as file:
        yield _Writer(file, format, text_column, added)


def check_columns(row: Row, path: str, **columns: str) -> None:
    """Raise if a row lacks columns; the options that name them are those of `columns`."""
    missing = {option: column for option, column in columns.items() if column not in row}
    if missing:
        named = " and ".join(f"no column {column!r}" for column in missing.values())
        options = " and ".join(f"`--{option.replace('_', '-')}`" for option in missing)
        hints = "".join(did_you_mean(column, row) for column in missing.values())
        source = "The input" if path == STANDARD else repr(path)
        [*_, last] = row
        if len(row) == 1 and (separators := [own for own in _OTHERS if own in last]):
            raise InvalidInputError(
                f"{source} has one column, {last!r}, and seems to have {separators[0]!r} between "
                "its cells: write commas, or tabs in a file that ends in .tsv."
            )
        raise InvalidInputError(
            f"{source} has {named}, but {list(row)[:10]}: pass {options}.{hints}"
        )


def check_differ(text_column: str, label_column: str) -> None:
    """Raise if the texts would be the labels."""
    if text_column == label_column:
        raise InvalidInputError(
            f"`--text-column` and `--label-column` must differ. Got {text_column!r} for both."
        )


def check_files_differ(input: str, output: str) -> None:
    """Raise if a file would be emptied before it is read."""
    with contextlib.suppress(OSError):  # one of them is not there
        if STANDARD not in (input, output) and os.path.samefile(input, output):
            raise InvalidInputError(
                f"`--input` and `--output` must be two files. Got {output!r} for both."
            )


class _Writer:
    """Writes rows as lines."""

    def __init__(self, file: TextIO, format: str, text_column: str, added: Sequence[str]) -> None:
        self.file = file
        self.format = format
        self.text_column = text_column
        self.added = added
        self._csv: Any = None

    def __call__(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if self.format == "jsonl":
                self.file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            elif self.format == "text":
                self.file.write("\t".join(_show(row[name]) for name in self.added) + "\n")
            else:
                if self._csv is None:
                    delimiter = _DELIMITERS[self.format]
                    self._csv = csv.DictWriter(self.file, list(row), delimiter=delimiter)
                    self._csv.writeheader()
                self._csv.writerow({name: self._write(name, own) for name, own in row.items()})
        self.file.flush()

    def _write(self, name: str, value: Any) -> str:
        """Write a cell; the texts, which are the user's, come out as they came in."""
        is_own = name == self.text_column or not isinstance(value, str)
        return _show(value) if is_own else as_cell(value)


def _show(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _read_json_lines(path: str, file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"Line {number} of {path!r} is no JSON: {error}.") from None
        if not isinstance(row, dict):
            raise InvalidInputError(
                f"Line {number} of {path!r} must be a JSON object, e.g. "
                f'{{"text": "..."}}. Got {type(row).__name__} instead.'
            )
        yield row


def _read_csv(path: str, file: TextIO, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # a text may be long
    rows = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                raise InvalidInputError(
                    f"Line {rows.line_num} of {path!r} must have {len(rows.fieldnames or ())} "
                    "columns as the first one has: put texts with commas into quotes."
                )
            yield row
    except csv.Error as error:
        raise InvalidInputError(
            f"Line {rows.line_num + 1} of {path!r} is broken: {error}."
        ) from None


def _read_parquet(path: str) -> Iterator[Row]:
    require("pyarrow", extra="parquet")
    import pyarrow.parquet as pq

    source = sys.stdin.buffer if path == STANDARD else path
    try:
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path!r} cannot be read as Parquet: {error}.") from None


@contextlib.contextmanager
def _writing_parquet(path: str) -> Iterator[Any]:
    require("pyarrow", extra="parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None

    def write(rows: list[Row]) -> None:
        nonlocal writer
        table = pa.Table.from_pylist(rows, schema=None if writer is None else writer.schema)
        if writer is None:
            target = sys.stdout.buffer if path == STANDARD else path
            writer = pq.ParquetWriter(target, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextlib.contextmanager
def _open(path: str, mode: str) -> Iterator[TextIO]:
    if path == STANDARD:
        standard = sys.stdin if mode == "r" else sys.stdout
        if hasattr(standard, "reconfigure"):
            standard.reconfigure(encoding="utf-8-sig" if mode == "r" else "utf-8", newline="")
        yield standard
        return
    try:
        with open(path, mode, encoding="utf-8-sig" if mode == "r" else "utf-8", newline="") as file:
            yield cast("TextIO", file)
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path!r} is not UTF-8 ({error}): convert it, e.g. with `iconv -f latin1 -t utf-8`."
        ) from None
    except OSError as error:
        if error.filename != path:  # it was opened, and something else failed
            raise
        what = "read" if mode == "r" else "written"
        raise InvalidInputError(
            f"{path!r} cannot be {what} ({error.strerror}): check the path."
        ) from None
