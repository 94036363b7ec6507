"""Who is alive: a file that the system keeps locked as long as a process lives, and no longer."""

from __future__ import annotations

import contextlib
import os
import sys
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
    """

    def __init__(self, folder: Path) -> None:
        self.name = uuid4().hex
        self._path = folder / f"{_PREFIX}{self.name}{_SUFFIX}"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(OSError):  # as on the few disks that know no locks
            _lock(self._descriptor)

    def release(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
            self._path.unlink()


def find_lapsed(folder: Path) -> list[Path]:
    """Return the files of leases whose processes have ended without releasing them."""
    return [path for path in folder.glob(f"{_PREFIX}*{_SUFFIX}") if _has_lapsed(path)]


def read_name(path: Path) -> str:
    """Return the name of the lease that a file is of."""
    return path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)


def _has_lapsed(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
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
