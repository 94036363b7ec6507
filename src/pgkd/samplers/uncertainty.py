"""Active learning: the teacher labels the texts that the student is least sure of."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from pgkd.annotating import make_requests
from pgkd.records import AnnotationRequest, FloatArray, GenerationRequest, State
from pgkd.samplers.base import needs_feedback
from pgkd.samplers.performance_guided import PerformanceGuidedSampler


class UncertaintySampler(BaseEstimator):  # type: ignore[misc]
    """Have the teacher label those texts of the unlabelled pool that the student is least sure of.

    A real text with the teacher's label needs no invention. The teacher chooses among the classes
    that the student finds likeliest, each with real examples: that is easier than among hundreds of
    names. When the pool is used up, texts are generated.

    Parameters
    ----------
    strategy : {"margin", "entropy", "least_confident", "random"}, default="margin"
        How unsure the student is: the difference of its two best probabilities, the entropy of all,
        its best one; or any text.
    pool_share : float, default=1.0
        Share of a cycle's texts that comes from the pool, in (0, 1]; the rest is generated.
    generator : sampler, default=None
        For what is generated. ``None``: :class:`PerformanceGuidedSampler`.
    n_candidates : int, default=5
        Classes a text's label is chosen from.
    n_examples : int, default=2
        Real texts shown of each of these classes.
    texts_per_request : int, default=5
        Texts labelled at once.

    References
    ----------
    Settles, Active Learning Literature Survey, section 3.1.
    """

    _parameter_constraints = {  # noqa: RUF012
        "strategy": [StrOptions({"margin", "entropy", "least_confident", "random"})],
        "pool_share": [Interval(Real, 0, 1, closed="right")],
        "generator": [HasMethods("propose"), None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_examples": [Interval(Integral, 0, None, closed="left")],
        "texts_per_request": [Interval(Integral, 1, None, closed="left")],
    }

    needs_pool = True

    def __init__(
        self,
        *,
        strategy: str = "margin",
        pool_share: float = 1.0,
        generator: Any = None,
        n_candidates: int = 5,
        n_examples: int = 2,
        texts_per_request: int = 5,
    ) -> None:
        self.strategy = strategy
        self.pool_share = pool_share
        self.generator = generator
        self.n_candidates = n_candidates
        self.n_examples = n_examples
        self.texts_per_request = texts_per_request

    def needs_feedback(self, state: State, n_samples: int) -> bool:
        """Tell whether texts are generated, by a sampler that needs it."""
        n_generated = n_samples - self._count_from_pool(state, n_samples)
        return n_generated > 0 and needs_feedback(self._resolve_generator(), state, n_generated)

    def propose(
        self, state: State, n_samples: int, rng: np.random.Generator
    ) -> list[AnnotationRequest | GenerationRequest]:
        """Return requests for `n_samples` texts, from the pool as far as it goes."""
        self._validate_params()
        requests: list[AnnotationRequest | GenerationRequest] = []
        n_pool = self._count_from_pool(state, n_samples)
        if n_pool:
            order = np.argsort(self._certainty(state.pool_probabilities, rng), kind="stable")
            requests += self._annotate(state, order[:n_pool], rng)
        if n_pool < n_samples:
            requests += self._resolve_generator().propose(state, n_samples - n_pool, rng)
        return requests

    def _count_from_pool(self, state: State, n_samples: int) -> int:
        return min(round(self.pool_share * n_samples), len(state.pool))

    def _resolve_generator(self) -> Any:
        return PerformanceGuidedSampler() if self.generator is None else self.generator

    def _certainty(self, probabilities: FloatArray, rng: np.random.Generator) -> FloatArray:
        if self.strategy == "random":
            return rng.random(len(probabilities))
        if self.strategy == "entropy":
            certainty: FloatArray = (probabilities * np.log(probabilities + 1e-12)).sum(axis=1)
            return certainty
        best = np.sort(probabilities, axis=1)[:, ::-1]
        return best[:, 0] if self.strategy == "least_confident" else best[:, 0] - best[:, 1]

    def _annotate(
        self, state: State, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> list[AnnotationRequest]:
        return make_requests(
            state,
            [state.pool[i] for i in rows],
            state.pool_probabilities[rows],
            rng,
            prefix="a",
            n_candidates=self.n_candidates,
            n_examples=self.n_examples,
            texts_per_request=self.texts_per_request,
        )
