"""The control: the same teacher and the same number of texts, without feedback."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from pgkd.inputs.labels import count_classes
from pgkd.records import GenerationRequest, State
from pgkd.samplers.base import apportion, draft, group, pick
from pgkd.system.component import Component


class UnguidedSampler(Component):
    """Ask for texts of every class and show real texts, but no feedback.

    This is the fair opponent of `PerformanceGuidedSampler`: what the teacher's texts are worth by
    themselves. With ``max_cycles=1`` all texts are bought at once, as in ZeroGen and in the first
    round of ProGen.

    Parameters
    ----------
    quota : {"uniform", "prior"}, default="uniform"
        The same number of texts of every class, or shares as in the labelled texts, where a class
        without one counts as if it had one.
    texts_per_request : int, default=10
        Texts asked for at once.
    classes_per_request : int, default=2
        Classes that share a request.
    n_examples : int, default=3
        Real texts shown of each class.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.records import Example, State
    >>> from pgkd.samplers import UnguidedSampler
    >>> state = State(1, ("spam", "ham"), (Example("Win!", "spam"), Example("Hi Bob", "ham")))
    >>> [request] = UnguidedSampler().propose(state, 4, np.random.default_rng(0))
    >>> request.counts
    {'spam': 2, 'ham': 2}

    References
    ----------
    ZeroGen: https://arxiv.org/abs/2202.07922; ProGen: https://arxiv.org/abs/2210.12329
    """

    _parameter_constraints = {  # noqa: RUF012
        "quota": [StrOptions({"uniform", "prior"})],
        "texts_per_request": [Interval(Integral, 1, None, closed="left")],
        "classes_per_request": [Interval(Integral, 1, None, closed="left")],
        "n_examples": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        quota: str = "uniform",
        texts_per_request: int = 10,
        classes_per_request: int = 2,
        n_examples: int = 3,
    ) -> None:
        self.quota = quota
        self.texts_per_request = texts_per_request
        self.classes_per_request = classes_per_request
        self.n_examples = n_examples

    def needs_feedback(self, state: State, n_samples: int) -> bool:
        """Tell that the student need not be evaluated."""
        return False

    def propose(
        self, state: State, n_samples: int, rng: np.random.Generator
    ) -> list[GenerationRequest]:
        """Return requests for `n_samples` texts."""
        self._validate_params()
        # In random order, so that a request mixes other classes in every cycle.
        classes = pick(state.classes, len(state.classes), rng)
        n_labelled = count_classes(e.label for e in state.examples if self.quota == "prior")
        weights = [max(n_labelled.get(label, 0), 1) for label in classes]
        quota = apportion(classes, weights, n_samples, rng)
        groups = group(quota, self.texts_per_request, self.classes_per_request, confusions={})
        return [
            draft(state, number, counts, self.n_examples, rng)
            for number, counts in enumerate(groups, start=1)
        ]
