"""Columns and tables of any library, as Python's own values: none of them is imported here."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_list(values: Any) -> list[Any]:
    """Return a column as a list: of a list, an array, a Series or what else can be iterated.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.inputs.columns import to_list
    >>> to_list(np.array(["a", "b"])), to_list(("a", None))
    (['a', 'b'], ['a', None])
    """
    # In turn: pyarrow's; pandas', NumPy's and torch's; polars'.
    for name in ("to_pylist", "tolist", "to_list"):
        if callable(method := getattr(values, name, None)):
            return list(method())
    found = list(values)
    # Of a pyarrow array only the whole converts itself, and not what iterates over it.
    return [item.as_py() for item in found] if found and hasattr(found[0], "as_py") else found


def name_columns(table: Any) -> list[Any] | None:
    """Return the names of a table's columns, ``None`` if it is no table."""
    names = getattr(table, "column_names", None)  # pyarrow's and datasets'
    if names is None:
        names = getattr(table, "columns", None)  # pandas' and polars'
    return None if names is None else to_list(names)


def to_matrix(table: Any) -> Any:
    """Return a table as a 2-D array."""
    if hasattr(table, "__array__"):
        return np.asarray(table)
    return np.array([to_list(table[name]) for name in table.column_names]).T
