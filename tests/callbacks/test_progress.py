"""What a run prints, and the line that lives."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import WORDS, WordTeacher, write_hard
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.callbacks import PrintProgress
from pgkd.callbacks.following import following
from pgkd.callbacks.progress import _State, format_step
from pgkd.records import Begin, Comparison, Event, Progress, Step, Usage

LABELLED = [(write_hard(label, i), label) for i in range(8) for label in WORDS]
PARTS = [str(Path(__file__).parents[1]), *sys.path]
SCRIPT = """
import time
from sklearn.linear_model import LogisticRegression
from test_progress import fit

class Slow(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        time.sleep(0.3)
        return super().fit(X, y, sample_weight)

fit(head=Slow(), verbose=1, routes=("names",))
"""


def fit(teacher=None, head=None, **params):
    params = {"max_cycles": 1, "samples_per_cycle": 12, "random_state": 0} | params
    student = make_pipeline(TfidfVectorizer(), head or LogisticRegression())
    clf = PGKDClassifier(teacher or WordTeacher(write=write_hard), student, **params)
    return clf.fit(*map(list, zip(*LABELLED)))


class Recorder:
    def __init__(self):
        self.events = []

    def on_event(self, event):
        self.events.append(event)


def test_events_tell_what_is_done_and_in_which_order():
    recorder = Recorder()
    clf = fit(callbacks=[recorder], routes=("names", "write"))
    kinds = [event.kind for event in recorder.events]
    assert kinds[:2] == ["begin", "progress"]
    assert kinds.index("end") < len(kinds) - 1  # the last training comes after it
    begin = recorder.events[0].value
    assert (begin.n_labelled, begin.n_classes, begin.scoring) == (24, 3, "accuracy")
    assert begin.parameters["max_cycles"] == "1"
    assert "callbacks" not in begin.parameters
    at = [event.value for event in recorder.events if event.kind == "progress"]
    n = sum(own.doing == "asking" for own in at)
    assert n == 1
    assert next(own for own in at if own.doing == "asking").n_requests == kinds.count("generation")
    assert at[-1] == Progress(len(clf.history_), "", "finishing")
    trained = [own for own in at if own == Progress(0, "labelled", "training")]
    assert len(trained) == 1 + 5  # five folds
    routes = dict.fromkeys(own.route for own in at if own.route)
    assert list(routes) == [step.route for step in clf.history_]


def test_the_line_says_where_a_run_is():
    state = _State()
    assert str(state) == "preparing"
    state.hear(Event("begin", Begin({}, 24, 0, 3, "accuracy", max_cost=5.0)))
    asking = Progress(2, "write", "asking", 12)
    state.hear(Event("progress", asking))
    assert str(state) == "step 2, teacher writes · 0 of 12 answers"
    clf = fit(routes=("names", "write"))
    for step in clf.history_[:1]:
        state.hear(Event("step", step))
    state.usage = Usage(3, 100, 100, cost=0.25)
    assert re.fullmatch(
        r"step 2, teacher writes · 0 of 12 answers · accuracy 0\.\d+ \(\+0\.000\) · 24 texts"
        r" · \$0\.25 of \$5\.00( · at most .* left)?",
        str(state),
    )
    for _ in range(3):
        state.hear(Event("progress", Progress(2, "write", "training")))
    assert "teacher writes · training · " in str(state)  # nobody knows of how many
    state.seconds_left = 0.2
    assert "left" not in str(state)
    state.seconds_left = 170.0
    assert str(state).endswith(" · at most 3 min left")


def test_a_step_says_what_was_found_and_what_decides():
    own = Comparison("accuracy", 0.75, 0.766, 0.016, -0.052, 0.03, 0.3, 62)
    step = Step(
        1,
        "names",
        True,
        0.766,
        comparison=own,
        factor=0.3,
        n_accepted=6,
        seconds=0.1,
        seconds_left=0.2,
    )
    gain = f"expected gain {own.gain:+.3f}"
    assert format_step(step, "accuracy") == (
        f"names of the classes: 6 texts, taken at weight 0.3; {gain}; "
        "accuracy 0.766, +0.016 (95 %: -0.016 to +0.048); log loss rises by 0.052; 0.1 s"
    )
    left = replace(step, taken=False, score=0.75, comparison=replace(own, log_loss_gain=0.0))
    line = format_step(left, "accuracy")
    assert "6 texts, not taken; expected gain " in line
    assert "accuracy would be 0.766, +0.016 (95 %" in line
    assert "log loss stays the same" in line
    screened = replace(left, score=0.8)  # by some of the folds, which had 0.75 before
    assert "accuracy would be 0.816, +0.016 (95 %" in format_step(screened, "accuracy")
    none_right = replace(left, score=0.0)
    assert "accuracy would be 0.016, +0.016 (95 %" in format_step(none_right, "accuracy")
    nothing = Step(2, "label", False, 0.75, n_accepted=0, n_requested=5, seconds=0.1)
    assert format_step(nothing, "accuracy").startswith("teacher labels: 0 texts of 5, not taken; ")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal")
def test_a_terminal_has_a_line_that_lives():
    import pty

    main, end = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *PARTS]),
    }
    environment |= {"TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=end, stderr=end, env=environment
    )
    os.close(end)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the end of a terminal
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait(60) == 0, shown.decode()
    text = shown.decode()
    assert "preparing" in text
    assert "step 0, labelled texts alone · training" in text
    assert "stopped because " in text
    assert "training on all that was taken" in text
    assert text.rindex("\x1b[2K") > text.rindex("training on all")  # the line is taken away


def test_a_pipe_has_lines_alone(capsys):
    clf = fit(verbose=1, routes=("names", "write"))
    out = capsys.readouterr().out.splitlines()
    assert out[2] == f"asking the teacher: {clf.usage_.n_requests} requests"
    assert len(out) == len(clf.history_) + 2
    assert out[-1].startswith("stopped because ")


def test_silent_by_default(capfd):
    fit()
    assert capfd.readouterr() == ("", "")


def test_a_notebook_has_one_line_that_lives_and_keeps_its_last_words(tmp_path):
    """In a real kernel, without widgets: what is saved holds no line of long ago."""
    nbformat = pytest.importorskip("nbformat", reason="notebooks need pgkd[test]")
    nbclient = pytest.importorskip("nbclient", reason="notebooks need pgkd[test]")
    cells = [f"import sys; sys.path[:0] = {PARTS}", SCRIPT.replace("\nfit(", "\nclf = fit(")]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    updates = []

    class Client(nbclient.NotebookClient):
        def process_message(self, msg, cell, cell_index):
            if msg["msg_type"] == "update_display_data":
                updates.append(msg["content"]["data"]["text/plain"])
            return super().process_message(msg, cell, cell_index)

    Client(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any("step 0, labelled texts alone · training" in text for text in updates)
    (line,) = [own for own in book.cells[1].outputs if own.output_type == "display_data"]
    assert line.data["text/plain"] == updates[-1]
    assert re.match(r"\d+ s · done · accuracy 0\.\d+ \(", updates[-1])
    printed = [own for own in book.cells[1].outputs if own.output_type == "stream"]
    assert {own.name for own in printed} == {"stdout"}
    lines = "".join(own.text for own in printed).splitlines()
    assert lines[-1].startswith("stopped because ")
    assert max(map(len, lines)) <= 100 < len(" ".join(lines[1:-1]))  # one is in two, by words


def test_the_line_is_closed_when_fit_fails_and_callbacks_hear_of_it(capfd):
    recorder = Recorder()
    begin = Event("begin", Begin({}, 24, 0, 3, "accuracy"))
    with pytest.raises(ZeroDivisionError), following([recorder], 1) as emit:  # noqa: PT012
        emit(begin)
        raise ZeroDivisionError
    assert recorder.events == [begin, Event("end", "error")]
    assert "stopped" not in capfd.readouterr().out  # the error says what it is


def test_it_is_a_callback_by_itself(capsys):
    fit(callbacks=[PrintProgress(2)], routes=("names", "write"))
    assert "  request 2-1: " in capsys.readouterr().out
