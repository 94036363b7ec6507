"""The paper's sampler: the student's performance decides what is asked for and what is shown."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from pgkd.records import Feedback, GenerationRequest, Label, Prediction, State, StudentReport
from pgkd.samplers.base import (
    apportion,
    draft,
    find_contrasts,
    group,
    is_about,
    look_at_folds,
    pick,
)
from pgkd.samplers.quota import QUOTAS, weigh
from pgkd.system.component import Component

#: Mistakes named in a request's report, the most frequent ones.
MAX_CONFUSIONS = 10


class PerformanceGuidedSampler(Component):
    """Ask for texts where the student is weak, and show the teacher the evidence.

    Classes that the student confuses go into one request, with their rows of the validation report,
    what changed since the last batch, the hard negatives (most confident mistakes), and samples
    that the student got right and wrong. Texts are asked for that are of one class and that a
    reader could mistake for another one which the student does mistake it for.

    Parameters
    ----------
    quota : str, default="auto"
        How the texts are shared out among the classes:

        - ``"auto"``: by what a text is expected to add to the score: how frequent the class is
          (less so where `scoring` is a macro average), times what is wrong in it out of fold, times
          a falling power of the texts it has, times the share of its texts that could be learnt.
          A quarter of the texts is shared out evenly all the same: where a class is perfect out of
          fold, that may be luck.
        - ``"weakness"``: by 1 - F1.
        - ``"errors"``: by the number of its texts that are got wrong.
        - ``"confusion"``: by the mistakes it has a part in, true or given.
        - ``"past_gain"``: by the F1 that a text of it brought in earlier cycles, a bandit.
        - ``"prior"``, ``"uniform"``: as the labelled texts, or evenly; not by performance.
    texts_per_request : int, default=10
        Texts asked for at once.
    classes_per_request : int, default=2
        Classes that share a request, each with at most its even share of the texts.
    n_examples : int, default=2
        Real texts shown of each class, for the style.
    n_hard_negatives : int, default=2
        Hard negatives shown of each class; 0 leaves them out.
    n_samples : int, default=1
        Samples got right, and as many got wrong, shown of each class; 0 leaves them out.
    report : bool, default=True
        Whether to show the validation report.
    contrast : bool, default=True
        Whether to ask for texts that could be mistaken for another class.

    References
    ----------
    Paper (arXiv 2411.05045), section 3: gradual evaluation check and hard-negative mining.
    """

    _parameter_constraints = {  # noqa: RUF012
        "quota": [StrOptions(set(QUOTAS))],
        "texts_per_request": [Interval(Integral, 1, None, closed="left")],
        "classes_per_request": [Interval(Integral, 1, None, closed="left")],
        "n_examples": [Interval(Integral, 0, None, closed="left")],
        "n_hard_negatives": [Interval(Integral, 0, None, closed="left")],
        "n_samples": [Interval(Integral, 0, None, closed="left")],
        "report": ["boolean"],
        "contrast": ["boolean"],
    }

    def __init__(
        self,
        *,
        quota: str = "auto",
        texts_per_request: int = 10,
        classes_per_request: int = 2,
        n_examples: int = 2,
        n_hard_negatives: int = 2,
        n_samples: int = 1,
        report: bool = True,
        contrast: bool = True,
    ) -> None:
        self.quota = quota
        self.texts_per_request = texts_per_request
        self.classes_per_request = classes_per_request
        self.n_examples = n_examples
        self.n_hard_negatives = n_hard_negatives
        self.n_samples = n_samples
        self.report = report
        self.contrast = contrast

    def propose(
        self, state: State, n_samples: int, rng: np.random.Generator
    ) -> list[GenerationRequest]:
        """Return requests for `n_samples` texts."""
        self._validate_params()
        feedback = state.feedback
        assert feedback is not None, "the loop evaluates the student for this sampler"
        # In random order: systematic sampling would else round neighbours against each other.
        order = rng.permutation(len(state.classes))
        classes = [state.classes[i] for i in order]
        weights = weigh(self.quota, state, feedback)[order]
        quota = apportion(classes, weights, n_samples, rng)
        groups = group(
            quota, self.texts_per_request, self.classes_per_request, feedback.report.confusions
        )
        requests = []
        for number, counts in enumerate(groups, start=1):
            views = look_at_folds(state, counts, max(self.n_examples, 1), rng)
            request = draft(state, number, counts, self.n_examples, rng, views)
            requests.append(self._add_evidence(request, views, feedback, rng))
        return requests

    def _add_evidence(
        self,
        request: GenerationRequest,
        views: Mapping[Label, State],
        feedback: Feedback,
        rng: np.random.Generator,
    ) -> GenerationRequest:
        """Show how the student does on the classes of `views`, which have what may be shown."""
        hard_negatives: list[Prediction] = []
        correct: list[Prediction] = []
        wrong: list[Prediction] = []
        for label, view in views.items():
            assert view.feedback is not None
            predictions = view.feedback.predictions
            # With several labels a text may be shown for one class already; else none is.
            shown = {*hard_negatives, *correct, *wrong}
            own = [p for p in predictions if is_about(p, label) and p not in shown]
            missed = [p for p in own if label not in p.predicted_labels]
            if request.choices:  # one label is given in place of another, several by themselves
                given = [p for p in predictions if label in p.predicted_labels]
                missed += [p for p in given if label not in p.labels and p not in shown]
            mistakes = sorted(missed, key=lambda p: -p.confidence)
            hard_negatives += mistakes[: self.n_hard_negatives]
            wrong += pick(mistakes[self.n_hard_negatives :], self.n_samples, rng)
            correct += pick([p for p in own if p.correct], self.n_samples, rng)
        classes, previous = tuple(views), feedback.previous
        return replace(
            request,
            hard_negatives=tuple(hard_negatives),
            correct=tuple(correct),
            wrong=tuple(wrong),
            contrasts=find_contrasts(classes, feedback.report) if self.contrast else {},
            report=cut(feedback.report, classes) if self.report else None,
            previous_report=cut(previous, classes) if self.report and previous else None,
        )


def cut(report: StudentReport, classes: Container[Label]) -> StudentReport:
    """Keep a report's rows of `classes`, and the mistakes that one of them has a part in.

    A report of hundreds of classes would drown the evidence, and be paid for in every request.
    """
    confusions = {
        pair: n for pair, n in report.confusions.items() if pair[0] in classes or pair[1] in classes
    }
    return StudentReport(
        accuracy=report.accuracy,
        f1_macro=report.f1_macro,
        log_loss=report.log_loss,
        classes={label: s for label, s in report.classes.items() if label in classes},
        confusions=dict(list(confusions.items())[:MAX_CONFUSIONS]),
        f1_micro=report.f1_micro,
        n_texts=report.n_texts,
    )
