"""A run is kept after each step, so that another process goes on with the next one.

A file for each run in ``run_dir/checkpoints``, named by a hash of all that decides the run's
course: a NumPy archive of arrays and of JSON, without pickle. It takes the place of the last one
whole or not at all. Beside it lie the students that it names.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pgkd._version import __version__
from pgkd.exceptions import PersistenceError
from pgkd.loop.packing import pack, unpack
from pgkd.loop.routes import PAID
from pgkd.loop.shelf import KeptStudent, Shelf
from pgkd.loop.snapshot import Run, Snapshot, restore
from pgkd.records import Event, Progress
from pgkd.system.artefacts import check_archive, parse_json
from pgkd.system.documents import dumps
from pgkd.system.files import replace_file
from pgkd.system.ranks import broadcast

#: Of the file; a later one is left alone. 2: it names students, and no text of the user's.
FORMAT = 2
#: Name of the folder in a ``run_dir``.
FOLDER = "checkpoints"
#: Drafts that are so old are nobody's any more, in seconds; and runs that nobody goes on with.
STALE, ABANDONED = 3600.0, 30 * 86400.0
#: Of the document: some million texts.
MAX_VALUES = 20_000_000
#: What is said of a run that ends in the middle of a step.
GOES_ON = " With `run_dir` and an int as `random_state`, the same `fit` goes on from there."


class Checkpoint:
    """Where a run is kept.

    Parameters
    ----------
    folder : Path
        Created when the first step is kept.
    fingerprint : mapping of str to str
        Of each thing that decides the course of the run, by the name that the user knows.
    find_changes : callable
        Returns what of it a run has changed that no other process could change again: the state
        of a teacher, say. Such a run is kept no more.
    texts : sequence of str, default=()
        What the user gives, which is not kept; the fingerprint tells others.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: Mapping[str, str],
        find_changes: Callable[[], list[str]],
        texts: Sequence[str] = (),
    ) -> None:
        self.texts = texts
        self.fingerprint = dict(fingerprint)
        self.find_changes = find_changes
        name = hashlib.sha256(json.dumps(self.fingerprint, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"{name[:32]}.npz"
        self.shelf = Shelf(self.path.with_suffix(""))
        self._is_over = False  # whether it is of no use to write on

    def read(self, max_cycles: int) -> Snapshot | None:
        """Return where the run was left; ``None``, and why, if it begins.

        Parameters
        ----------
        max_cycles : int
            More batches than these must not have been bought.
        """
        try:
            if self.path.exists():
                snapshot = self._read()
                if snapshot.n_cycles <= max_cycles:
                    with contextlib.suppress(OSError):
                        self.path.touch()  # it is not abandoned
                    return snapshot
                self._warn_of_others(["max_cycles"])
                return None
        except Exception as error:  # whatever a damaged file leads to
            _warn(f"The checkpoint {str(self.path)!r} cannot be used ({error}): the run begins")
            return None
        if differing := self._compare_with_others():
            self._warn_of_others(differing)
        return None

    def write(self, snapshot: Snapshot) -> None:
        """Keep a run; if that cannot be done, it goes on without."""
        if self._is_over:
            return
        if self.find_changes():
            self._is_over = True
            return
        try:
            kept = self.shelf.put(snapshot.current.results) if snapshot.asks_students else {}
            document, arrays = pack(snapshot, self.texts)
            document["students"] = [[n, own.directory.name, own.kind] for n, own in kept.items()]
            draft = io.BytesIO()
            np.savez(
                draft,
                allow_pickle=False,
                **{
                    "format": np.array(FORMAT),
                    "pgkd": _encode(__version__),
                    "fingerprint": _encode(self.fingerprint),
                    "document": _encode(document),
                    **{f"array-{name}": array for name, array in arrays.items()},
                },
            )
            replace_file(self.path, draft.getbuffer())
            self.shelf.keep_only(kept)
            _clear(self.path.parent)
        except Exception as error:  # a full disk, or what JSON cannot hold
            self._is_over = True
            _warn(
                f"The checkpoint {str(self.path)!r} cannot be written ({error}): the run goes on. "
                "Should it be cut off, its trainings are done again"
            )

    def forget_students(self) -> None:
        """Throw the students away, after the last step."""
        self.shelf.keep_only({})

    def _read(self) -> Snapshot:
        with _open(self.path) as archive:
            arrays = {
                name.removeprefix("array-"): archive[name]
                for name in archive.files
                if name.startswith("array-")
            }
            document = _decode(archive["document"])
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("it has probabilities that are no numbers")
        snapshot = unpack(document, arrays, self.texts)
        results = snapshot.current.results
        for number, name, kind in document.get("students", ()):
            student = KeptStudent(self.shelf.folder / Path(name).name, kind)
            results[number] = results[number]._replace(student=student)
        return snapshot

    def _compare_with_others(self) -> list[str]:
        """Return in what the most similar run of the folder differs from this one."""
        found: list[list[str]] = []
        for path in sorted(self.path.parent.glob("*.npz")):
            try:
                with _open(path) as archive:
                    other = _decode(archive["fingerprint"])
                names = list(dict.fromkeys([*self.fingerprint, *other]))
                found.append([n for n in names if self.fingerprint.get(n) != other.get(n)])
            except Exception as error:
                _warn(f"The checkpoint {str(path)!r} cannot be used ({error}): it is ignored")
        return min(found, key=len, default=[])

    def _warn_of_others(self, differing: list[str]) -> None:
        names = [f"`{name}`" for name in differing]
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        _warn(
            f"`run_dir` ({str(self.path.parent.parent)!r}) holds a run with other {listed}: this "
            "one begins anew; answers that still fit are used"
        )


def resume(run: Run, checkpoint: Checkpoint | None, max_cycles: int) -> bool:
    """Begin a run where another process left it, if there is one; callbacks hear of its steps."""
    snapshot = broadcast(None if checkpoint is None else checkpoint.read(max_cycles))
    if snapshot is None:
        return False
    try:
        restore(run, snapshot)
    except Exception as error:  # what was read is in order, and fits to nothing
        raise PersistenceError(
            f"The checkpoint {str(checkpoint and checkpoint.path)!r} is damaged or forged "
            f"({error!r}): delete it, and the run begins anew with the answers that are kept."
        ) from error
    last = run.history[-1]
    doing = "repeating" if run.is_over else "resuming"
    run.emit(Event("progress", Progress(last.number, last.route, doing)))
    events = [Event("step", replace(step, seconds_left=None)) for step in run.history]
    if run.probe is not None:
        events.insert(
            sum(step.route not in PAID for step in run.history), Event("probe", run.probe)
        )
    for event in events:
        run.emit(event)
    return True


def _open(path: Path) -> Any:
    """Open a file of ours, if nothing is wrong with it."""
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} is damaged")
    archive = np.load(path, allow_pickle=False)
    if archive["format"] > FORMAT:
        version = _decode(archive["pgkd"])
        archive.close()
        raise ValueError(f"it was written by pgkd {version}, and this is {__version__}")
    return archive


def _clear(folder: Path) -> None:
    """Throw away what is nobody's any more: drafts and students of dead processes, old runs."""
    for path in folder.iterdir():
        is_run = path.suffix == ".npz"
        if not is_run and path.with_suffix(".npz").exists():
            continue  # students of a run that is kept
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > (ABANDONED if is_run else STALE):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _encode(value: Any) -> Any:
    return np.frombuffer(dumps(value).encode(errors="surrogatepass"), np.uint8)


def _decode(array: Any) -> Any:
    return parse_json(array.tobytes(), MAX_VALUES)


def _warn(what: str) -> None:
    warnings.warn(f"{what}.", stacklevel=6)
