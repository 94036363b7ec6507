"""Controls from earlier work: the teacher sees the student's errors, but no measure of them."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval

from pgkd.records import GenerationRequest, Prediction, State
from pgkd.samplers.base import apportion, draft, group, is_about, look_at_folds, pick
from pgkd.system.component import Component


class EvoKDSampler(Component):
    """Ask for texts of every class, and show samples that the student got right and wrong.

    The control in the manner of EvoKD. The teacher is to see by itself what the student is bad at:
    it gets no report, no confidence and no ranking of the mistakes, and every class has the same
    share.

    Parameters
    ----------
    texts_per_request : int, default=10
        Texts asked for at once.
    classes_per_request : int, default=2
        Classes that share a request.
    n_examples : int, default=2
        Real texts shown of each class, for the style.
    n_samples : int, default=2
        Samples got right, and as many got wrong, shown of each class.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.records import Feedback, Prediction, State, StudentReport
    >>> from pgkd.samplers import EvoKDSampler
    >>> report = StudentReport(accuracy=0.5, f1_macro=0.3, log_loss=0.9, classes={}, confusions={})
    >>> taken = Prediction("Hi Bob", "ham", "spam", 0.8), Prediction("Win!", "spam", "spam", 0.8)
    >>> state = State(1, ("ham", "spam"), (), feedback=Feedback(taken, report))
    >>> [request] = EvoKDSampler().propose(state, 4, np.random.default_rng(0))
    >>> [p.text for p in request.wrong], [p.text for p in request.correct]
    (['Hi Bob'], ['Win!'])

    References
    ----------
    Liu et al., https://arxiv.org/abs/2403.06414. There the teacher writes an analysis first; here
    it answers with texts alone, as it does for every sampler.
    """

    _parameter_constraints = {  # noqa: RUF012
        "texts_per_request": [Interval(Integral, 1, None, closed="left")],
        "classes_per_request": [Interval(Integral, 1, None, closed="left")],
        "n_examples": [Interval(Integral, 0, None, closed="left")],
        "n_samples": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        texts_per_request: int = 10,
        classes_per_request: int = 2,
        n_examples: int = 2,
        n_samples: int = 2,
    ) -> None:
        self.texts_per_request = texts_per_request
        self.classes_per_request = classes_per_request
        self.n_examples = n_examples
        self.n_samples = n_samples

    def propose(
        self, state: State, n_samples: int, rng: np.random.Generator
    ) -> list[GenerationRequest]:
        """Return requests for `n_samples` texts, shared out evenly among the classes."""
        self._validate_params()
        assert state.feedback is not None, "the loop evaluates the student for this sampler"
        classes = pick(state.classes, len(state.classes), rng)
        quota = apportion(classes, np.ones(len(classes)), n_samples, rng)
        groups = group(quota, self.texts_per_request, self.classes_per_request, confusions={})
        requests = []
        for number, counts in enumerate(groups, start=1):
            correct: list[Prediction] = []
            wrong: list[Prediction] = []
            views = look_at_folds(state, counts, max(self.n_examples, 1), rng)
            for label, view in views.items():
                assert view.feedback is not None
                shown = {*correct, *wrong}
                own = [
                    p for p in view.feedback.predictions if is_about(p, label) and p not in shown
                ]
                correct += pick([p for p in own if p.correct], self.n_samples, rng)
                wrong += pick([p for p in own if not p.correct], self.n_samples, rng)
            request = draft(state, number, counts, self.n_examples, rng, views)
            requests.append(replace(request, correct=tuple(correct), wrong=tuple(wrong)))
        return requests


class LLM2LLMSampler(Component):
    """Have the texts rewritten that the student got wrong.

    The control in the manner of LLM2LLM. The texts asked for are shared out evenly among the
    mistakes, so a class has as large a part of them as it has of the mistakes. Where there is no
    mistake, nothing is asked for, and a run ends by its patience.

    Parameters
    ----------
    texts_per_request : int, default=10
        Texts asked for at once.
    classes_per_request : int, default=2
        Classes that share a request.
    n_examples : int, default=0
        Further real texts shown of each class.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.records import Feedback, Prediction, State, StudentReport
    >>> from pgkd.samplers import LLM2LLMSampler
    >>> report = StudentReport(accuracy=0.5, f1_macro=0.3, log_loss=0.9, classes={}, confusions={})
    >>> taken = Prediction("Hi Bob", "ham", "spam", 0.8), Prediction("Win!", "spam", "spam", 0.8)
    >>> state = State(1, ("ham", "spam"), (), feedback=Feedback(taken, report))
    >>> [request] = LLM2LLMSampler().propose(state, 4, np.random.default_rng(0))
    >>> request.counts, [p.text for p in request.wrong], request.kind
    ({'ham': 4}, ['Hi Bob'], 'rewrite')

    References
    ----------
    Lee et al., https://arxiv.org/abs/2403.15042. There each mistake is rewritten once a cycle; here
    as often as the texts that the cycle asks for allow, so that samplers can be compared.
    """

    _parameter_constraints = {  # noqa: RUF012
        "texts_per_request": [Interval(Integral, 1, None, closed="left")],
        "classes_per_request": [Interval(Integral, 1, None, closed="left")],
        "n_examples": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self, *, texts_per_request: int = 10, classes_per_request: int = 2, n_examples: int = 0
    ) -> None:
        self.texts_per_request = texts_per_request
        self.classes_per_request = classes_per_request
        self.n_examples = n_examples

    def propose(
        self, state: State, n_samples: int, rng: np.random.Generator
    ) -> list[GenerationRequest]:
        """Return requests for `n_samples` texts, or none if the student makes no mistake."""
        self._validate_params()
        assert state.feedback is not None, "the loop evaluates the student for this sampler"
        mistakes = [p for p in state.feedback.predictions if not p.correct]
        if not mistakes:
            return []
        # In turn: none is rewritten twice before each was once.
        turns = [mistakes[i] for i in np.resize(rng.permutation(len(mistakes)), n_samples)]
        fold_of = {e.text: fold for e, fold in zip(state.examples, state.folds)}
        queues: dict[object, list[Prediction]] = {}
        for mistake in sorted(turns, key=lambda p: fold_of.get(p.text, 0)):  # few folds a request
            queues.setdefault(mistake.label, []).append(mistake)
        quota = {label: len(queue) for label, queue in queues.items()}
        groups = group(quota, self.texts_per_request, self.classes_per_request, confusions={})
        requests = []
        for number, counts in enumerate(groups, start=1):
            wrong = [queues[label].pop(0) for label, n in counts.items() for _ in range(n)]
            request = draft(state, number, counts, self.n_examples, rng)
            requests.append(replace(request, wrong=tuple(dict.fromkeys(wrong)), kind="rewrite"))
        return requests
