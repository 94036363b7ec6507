"""Who is alive: a file that the system keeps locked as long as a process lives, and no longer."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4


class Lease:
    """A lease of a file that lapses when it is released or its process ends, however that ends.

    The number of a process would not do: it is given again, and means nothing in another container.

    Parameters
    ----------
    of : Path
        The lease is a file beside this one.

    Attributes
    ----------
    name : str
    is_locked : bool
        Whether others can tell that it is held.
    """

    def __init__(self, of: Path) -> None:
        self.name = f".{uuid4().hex}.{of.name}.lease"
        self._path = of.with_name(self.name)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        self.is_locked = False
        with contextlib.suppress(OSError):  # as on the few disks that know no locks
            _lock(self._descriptor)
            self.is_locked = True

    def release(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):  # Windows removes no file that is open
            self._path.unlink()  # first, or it would seem to have lapsed
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
            self._path.unlink()


def find_lapsed(of: Path) -> list[Path]:
    """Return the leases of a file that ended without being released; each is named as its path."""
    pattern = f".{'[0-9a-f]' * 32}.{glob.escape(of.name)}.lease"
    return [path for path in of.parent.glob(pattern) if has_lapsed(path)]


def is_held(of: Path, name: str) -> bool:
    """Whether the process of a lease lives and has not released it."""
    path = of.with_name(name)
    return path.exists() and not has_lapsed(path)


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
