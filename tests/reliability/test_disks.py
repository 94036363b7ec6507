"""A disk that is full or cannot be written: each place, what is said, and what is not lost."""

import contextlib
import os
import re
import subprocess
import sys
from functools import partial

import pytest
from reliability import fits
from reliability.fits import LABELLED, Log, Speaker, check_outcome, count_answers
from reliability.processes import Child

from pgkd import Evidence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mount and fork")
CANNOT_WRITE = "pass a directory that can be written"
SIZE = 2**20  # of the small disk, in bytes
PARAMS = {"teacher": Speaker(0.02, 4), "max_cycles": 2}
long = pytest.mark.slow
X, Y = (list(column) for column in zip(*LABELLED))


@pytest.fixture
def disk(tmp_path):
    """A real disk of a megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted, which root can in its own machine: {error}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def make_read_only(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def fill(disk, room=0):
    """Leave so many bytes."""
    with contextlib.suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - room)


class Filler:
    """Fills the disk after an event of some kind, and whatever becomes free later."""

    def __init__(self, disk, kind, number):
        self.disk, self.kind, self.number = disk, kind, number

    def on_event(self, event):
        self.number -= event.kind == self.kind
        if self.number <= 0:
            fill(self.disk)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Child(fits.fit, tmp_path_factory.mktemp("whole") / "run", **PARAMS).result()


@pytest.mark.parametrize("budget", [{"max_cost": 5.0}, pytest.param({}, marks=long)])
def test_a_disk_that_is_full_in_the_midst_of_answers(tmp_path, disk, whole, budget):
    """What has been answered is used; nothing more is bought; once there is room, it goes on."""
    run_dir = disk / "run"
    callbacks = [fits.Steps(), Filler(disk, "generation", 5)]
    found = Child(fits.fit, run_dir, callbacks=callbacks, **PARAMS, **budget).result()
    assert found["stop_reason"] == "error"
    log = found["log"]
    assert log.count("asked") == log.count("answered") == found["n_requests"]
    assert any(
        re.search(rf"{str(run_dir / 'run.sqlite')!r} cannot be .* free the disk, or pass", warning)
        for warning in found["warnings"]
    )
    (disk / "filler").unlink()
    kept = count_answers(run_dir)
    assert log.count("asked") - kept <= 2 * PARAMS["teacher"].max_concurrency
    again = Child(fits.fit, run_dir, **PARAMS, **budget).result()
    check_outcome(again, whole)
    # A store that is closed leaves room, in which a step may be kept whose answers were not.
    assert again["n_requests"] <= whole["log"].count("asked") - kept


def test_a_disk_that_is_full_in_the_midst_of_steps(disk, whole):
    """The checkpoint is not written, and that is said; the fit goes on."""
    callbacks = [fits.Steps(), Filler(disk, "step", 2)]
    params = {**PARAMS, "max_cycles": 0, "callbacks": callbacks}
    found = Child(fits.fit, disk / "run", **params).result()
    [warning] = [w for w in found["warnings"] if "checkpoint" in w]
    assert re.search(
        rf"The checkpoint '{disk}/run/checkpoints/\w+\.npz' cannot be written \(.*No space left.*"
        r"the run goes on\. Should it be cut off, its trainings are done again",
        warning,
    )
    assert found["routes"] == whole["routes"][:3]  # without a batch
    (disk / "filler").unlink()
    assert Child(fits.fit, disk / "run", **params).result()["history"] == found["history"]


def test_a_disk_that_is_full_from_the_start(tmp_path, disk):
    """Nothing is bought or trained."""
    fill(disk)
    check_refused(disk / "run", "free the disk")


def test_a_folder_that_cannot_be_written(tmp_path, disk):
    make_read_only(disk)
    check_refused(disk / "run", "make its folder one that can be written")


def test_a_run_that_cannot_be_written_any_more(tmp_path, disk, whole):
    params = {**PARAMS, "max_cycles": 1}
    Child(fits.fit, disk / "run", **params).result()
    make_read_only(disk)
    check_refused(disk / "run", "make its folder one that can be written")


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "file").touch()
    check_refused(tmp_path / "file" / "run", "make its folder one that can be written")


def check_refused(run_dir, fix):
    """Assert that nothing was asked or trained, and what is said."""
    kind, error, message, _ = Child(fit_without_an_effect, run_dir).end()
    assert (kind, error) == ("raised", "PersistenceError"), message
    path = re.escape(repr(str(run_dir / "run.sqlite")))
    assert re.fullmatch(
        rf"The answers in {path} cannot be read or kept \(.+\): {fix}, or pass another `run_dir`\.",
        message,
    )


def fit_without_an_effect(run_dir):
    """Fit, and raise another error if anything was trained or asked."""
    Log.begin(os.devnull)
    try:
        fits.make_classifier(run_dir, **PARAMS).fit(X, Y)
    finally:
        assert not Log.counts


# What is saved


def save_on_a_full_disk(disk, writer, model=None):
    """Try to save without any room, with too little, and where nothing can be written."""
    Log.begin(os.devnull)
    clf = fits.make_classifier(None, max_cycles=0, routes=("write",), evidence=Evidence(n_folds=2))
    if model is not None:
        from pgkd.students import TransformerStudent  # which other processes need not import

        clf.set_params(student=TransformerStudent(model, n_epochs=1, batch_size=8))
    clf.fit(X, Y)
    write = clf.save if writer == "save" else partial(clf.export, min_agreement=0)
    write(disk / "saved")
    before, trials = read(disk / "saved"), []
    for spoil in (partial(fill, room=0), partial(fill, room=40_000), make_read_only):
        spoil(disk)
        try:
            write(disk / "saved")
        except Exception as error:
            trials.append((type(error).__name__, str(error)))
        assert read(disk / "saved") == before
        assert {path.name for path in disk.iterdir()} == {"saved", "filler"}
    return trials


def read(directory):
    return {p.name: p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("student", "writer"),
    [
        ("linear", "save"),
        pytest.param("transformer", "save", marks=long),
        pytest.param("transformer", "export", marks=long),
    ],
)
def test_a_classifier_that_cannot_be_saved(tmp_path, disk, student, writer):
    """Nothing is left of it, and what was there before is."""
    if student == "transformer":
        from students.tiny_bert import write_tiny_bert

        write_tiny_bert(tmp_path / "model")
        trials = Child(save_on_a_full_disk, disk, writer, tmp_path / "model").result()
    else:
        trials = Child(save_on_a_full_disk, disk, writer).result()
    full, read_only = (
        "free the disk, or pass another directory",
        "pass a directory that can be written",
    )
    for (error, message), fix in zip(trials, [full, full, read_only]):
        assert error == "PersistenceError", message
        assert re.fullmatch(rf"Cannot {writer} to '{disk}/saved' \(.+\): {fix}\.", message)
