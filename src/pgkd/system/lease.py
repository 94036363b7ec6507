"""Who is alive: a file that the system keeps locked as long as a process lives, and no longer."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

#: How the files are named.
_PREFIX, _SUFFIX = ".", ".lease"


class Lease:
    """A lease that lapses when it is released or its process ends, however that ends.

    The number of a process would not do: it is given again, and means nothing in another container.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    name : str
    is_locked : bool
        Whether others can tell that it is held.
    """

    def __init__(self, folder: Path) -> None:
        self.name = uuid4().hex
        self._path = folder / f"{_PREFIX}{self.name}{_SUFFIX}"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        self.is_locked = False
        with contextlib.suppress(OSError):  # as on the few disks that know no locks
            _lock(self._descriptor)
            self.is_locked = True

    def release(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
            self._path.unlink()


def find_lapsed(folder: Path) -> list[Path]:
    """Return the files of leases whose processes have ended without releasing them."""
    return [path for path in folder.glob(f"{_PREFIX}*{_SUFFIX}") if has_lapsed(path)]


def is_held(folder: Path, name: str) -> bool:
    """Whether the process of a lease lives and has not released it."""
    path = folder / f"{_PREFIX}{name}{_SUFFIX}"
    return path.exists() and not has_lapsed(path)


def read_name(path: Path) -> str:
    """Return the name of the lease that a file is of."""
    return path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)


@contextlib.contextmanager
def occupy(directory: Path) -> Iterator[None]:
    """Be known inside to work in a directory, as far as the system can lock one."""
    descriptor = None
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        _lock(descriptor)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def has_lapsed(path: Path) -> bool:
    """Whether nobody holds the lease that a file is of, or occupies a directory."""
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:  # removed just now, or another user's
        return False
    try:
        _lock(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # This kind belongs to the open file, and is not lost when the process opens it again.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
