"""Where a model is written."""

from __future__ import annotations

from pathlib import Path

from pgkd.exceptions import InvalidInputError, PersistenceError


def check_place(out: Path, writer: str, done: str) -> str:
    """Refuse a place before there is any work for it, and return what to say after the work.

    Parameters
    ----------
    out : Path
        The directory that is to be written.
    writer : {"save", "export"}
    done : str
        The same, as it is said of what was done.

    Returns
    -------
    said : str

    Raises
    ------
    InvalidInputError
        If something else would be destroyed there.

    Examples
    --------
    >>> from pathlib import Path
    >>> from pgkd.cli.places import check_place
    >>> check_place(Path("no-model-yet"), "save", "Saved")
    "Saved to 'no-model-yet'."
    """
    from pgkd.system.files import check_replaceable

    try:
        check_replaceable(out, writer)
    except PersistenceError as error:
        raise InvalidInputError(str(error)) from None
    is_there = out.is_dir() and any(out.iterdir())
    return f"{done} to {str(out)!r}{', in place of the model that was there' * is_there}."
