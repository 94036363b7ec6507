import sys

import pytest
from conftest import WORDS, WordTeacher, make_classifier, write_hard
from sklearn.exceptions import NotFittedError

from pgkd import PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.plots import (
    ClassGainDisplay,
    CostDisplay,
    CyclesDisplay,
    LadderDisplay,
    ReliabilityDisplay,
)

pyplot = pytest.importorskip("matplotlib.pyplot")
pyplot.switch_backend("agg")
DISPLAYS = (LadderDisplay, CyclesDisplay, ClassGainDisplay, CostDisplay, ReliabilityDisplay)


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


@pytest.fixture
def clf(hard, student):
    clf = make_classifier(
        WordTeacher(write=write_hard),
        student,
        routes=("names", "write"),
        max_cycles=2,
        samples_per_cycle=24,
        random_state=0,
    )
    return clf.fit(*hard)


def test_each_draws_what_the_report_says(clf):
    report = clf.report()

    ax = LadderDisplay.from_estimator(clf).ax_
    assert ax.get_title() == "Gain by route"
    assert ax.get_xlabel() == "Gain in accuracy, with its 95 % interval"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "names of the classes",
        "teacher writes",
    ]
    assert [bar.get_width() for bar in ax.patches] == [own.gain for own in report.routes]
    ends = [tuple(line.get_xdata()) for line in ax.lines[:2]]
    assert ends == [own.interval for own in report.routes]

    ax = CyclesDisplay.from_estimator(clf).ax_
    [learnt] = [line for line in ax.lines if line.get_label() == "learnt"]
    assert list(learnt.get_ydata()) == [step.score for step in clf.history_]

    ax = ClassGainDisplay.from_estimator(clf).ax_
    assert [bar.get_width() for bar in ax.patches] == [own.gain for own in report.gains]

    ax = CostDisplay.from_estimator(clf).ax_
    assert ax.get_xlabel() == "US dollars"
    assert list(ax.lines[0].get_xdata()) == pytest.approx([0, 0, 0.03, 0.06])
    assert ax.lines[0].get_xdata()[-1] == pytest.approx(clf.usage_.cost)

    ax = ReliabilityDisplay.from_estimator(clf).ax_
    bins = clf.calibration_.bins_before
    assert list(ax.lines[0].get_xdata()) == [own.confidence for own in bins]
    assert sum(own.n_texts for own in bins) == len(clf._labelled)


def test_where_nothing_was_bought_there_is_no_cost(hard, student):
    clf = make_classifier(None, student, routes=("names",), random_state=0).fit(*hard)
    with pytest.raises(InvalidInputError, match="the run has no score against cost"):
        CostDisplay.from_estimator(clf)


def test_a_step_that_was_not_taken(hard, student):
    teacher = WordTeacher(wrong=True, write=write_hard)
    clf = make_classifier(teacher, student, max_cycles=1, samples_per_cycle=24, random_state=0)
    ax = CyclesDisplay.from_estimator(clf.fit(*hard)).ax_
    lines = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    first, step = clf.history_
    assert lines["learnt"] == [first.score, first.score]
    own = step.comparison  # by some of the folds, on which the score before was another one
    assert lines["not taken"] == [pytest.approx(first.score + own.after - own.before)]


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda cls: cls.__name__)
def test_the_contract_of_scikit_learn(display, clf, monkeypatch):
    _, ax = pyplot.subplots()
    drawn = display.from_estimator(clf, ax=ax)
    assert isinstance(drawn, display)
    assert drawn.ax_ is ax
    assert drawn.figure_ is ax.figure
    assert ax.get_title()
    assert drawn.plot().ax_ is not ax
    with pytest.raises(NotFittedError):
        display.from_estimator(PGKDClassifier())
    unjudged = PGKDClassifier(student=clf.student, class_names=list(WORDS)).fit()
    with pytest.raises(InvalidInputError, match=f"nothing to draw as {display.__name__}"):
        display.from_estimator(unjudged)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=rf"{display.__name__} needs matplotlib.*pgkd\[plot\]"):
        display.from_estimator(clf)
    assert drawn.plot(ax=ax).ax_ is ax  # whoever has axes has it


def test_names_with_dollars_are_no_formula(student):
    names = ["a $1_000$", r"a \frac{", "b"]
    X = [f"{name} {word}" for name in names for word in ("one", "two", "three", "four")]
    clf = make_classifier(None, student, routes=("names",), random_state=0)
    clf.fit(X, [name for name in names for _ in range(4)])
    display = LadderDisplay.from_estimator(clf)
    display.chart = display.chart.__class__(
        "t",
        "c",
        tuple(own.__class__(name, 0.1, "") for name, own in zip(names, display.chart.bars * 3)),
    )
    axes = display.plot().ax_
    axes.figure.canvas.draw()  # in which a formula would be read
    shown = " ".join(label.get_text() for label in axes.get_yticklabels())
    assert "1_000" in shown
