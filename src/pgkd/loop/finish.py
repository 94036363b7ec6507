"""From the end of a run to the classifier: the student and how its probabilities are read."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from pgkd.evaluation.calibration import Calibration, calibrate
from pgkd.evaluation.label_thresholds import choose_label_thresholds
from pgkd.evaluation.scoring import TextScorer
from pgkd.inputs.labelled import LabelledTexts
from pgkd.inputs.labels import THRESHOLD
from pgkd.loop.distillation import Distillation
from pgkd.loop.learner import Learner
from pgkd.loop.training_set import TrainingSet
from pgkd.records import FloatArray
from pgkd.system.ranks import check_shared


class Finished(NamedTuple):
    """What a run comes to.

    Attributes
    ----------
    student : classifier
        Trained on all labelled texts and on what was found to help.
    judged : (LabelledTexts, array of shape (n_texts, n_classes)) or None
        The texts that decide, and their probabilities out of fold.
    calibration : Calibration or None
    label_thresholds : array of shape (n_classes,) or None
        With several labels a text.
    is_interrupted : bool
        Whether Ctrl-C has ended the last training, so that the student lacks what was found.
    """

    student: Any
    judged: tuple[LabelledTexts, FloatArray] | None
    calibration: Calibration | None
    label_thresholds: FloatArray | None
    is_interrupted: bool


def finish(run: Distillation) -> Finished:
    """Train the student on all that a run has found, and find out how its answers are read."""
    run.teller.say(len(run.history), "", "finishing")
    judged = _predict_judges(run)
    if run.task.multilabel:
        student, is_interrupted = _train(run)
        return Finished(student, judged, None, _choose_thresholds(run, judged), is_interrupted)
    calibration = None
    if judged is not None and run.evidence.calibrate:
        calibration = calibrate(*judged, run.classes, run.seed)
    student, is_interrupted = _train(run)
    return Finished(student, judged, calibration, None, is_interrupted)


def _predict_judges(run: Distillation) -> tuple[LabelledTexts, FloatArray] | None:
    """Return the texts that decide, and what students that have not learnt them predict."""
    if not run.splits.decide:
        return None
    deciding = run.splits.deciding
    judges = run.labelled.take(run.decider.rows(deciding))
    return judges, run.decider.predict(run.choice.current, deciding)


def _train(run: Distillation) -> tuple[Any, bool]:
    """Return the student, and whether Ctrl-C has ended its training on all that was found."""
    try:
        return _fit(run, run.choice.current), False
    except (Exception, KeyboardInterrupt) as error:
        if not run.choice.current.parts:
            raise
        check_shared(error)
        warnings.warn(
            f"Training the student on what was found to help failed ({error!r}); `student_` "
            "has learnt the labelled texts alone. `refit` tries again.",
            stacklevel=4,
        )
        return _fit(run, run.choice.baseline), isinstance(error, KeyboardInterrupt)


def _fit(run: Distillation, chosen: TrainingSet) -> Any:
    """Train the student on all labelled texts and on a training set."""
    labelled = run.labelled.take(run.splits.learnable)
    multilabel = run.task.multilabel
    learner = Learner(run.settings.student, run.classes, multilabel=multilabel, seed=run.seed)
    return learner.fit(labelled, chosen.examples)


def _choose_thresholds(
    run: Distillation, judged: tuple[LabelledTexts, FloatArray] | None
) -> FloatArray:
    if run.evidence.label_threshold != "auto":
        return np.full(len(run.classes), float(run.evidence.label_threshold))
    default = np.full(len(run.classes), THRESHOLD)
    if judged is None:
        return default
    judges, probabilities = judged
    try:
        scorer = TextScorer(run.settings.scoring, run.classes, judges.texts, judges.y)
        return choose_label_thresholds(scorer, probabilities, run.seed)
    except (Exception, KeyboardInterrupt) as error:  # what was bought must not be lost to it
        check_shared(error)
        warnings.warn(f"No thresholds were chosen ({error!r}): all are 0.5.", stacklevel=4)
        return default
