"""Active learning: the teacher labels the texts that the student is least sure of."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.cluster import kmeans_plusplus
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from pgkd.annotating import make_requests
from pgkd.label_sets import decide
from pgkd.records import AnnotationRequest, FloatArray, GenerationRequest, State
from pgkd.samplers.base import needs_feedback
from pgkd.samplers.performance_guided import PerformanceGuidedSampler

#: Share that each source keeps with ``pool_share="auto"``, so that its gain goes on being measured.
MIN_SHARE = 0.1


class UncertaintySampler(BaseEstimator):  # type: ignore[misc]
    """Have the teacher label those texts of the unlabelled pool that the student is least sure of.

    A real text with the teacher's label needs no invention. The teacher chooses among the classes
    that the student finds likeliest, each with real examples: that is easier than among hundreds of
    names. When the pool is used up, texts are generated.

    Parameters
    ----------
    strategy : {"margin", "entropy", "least_confident", "random", "diverse"}, default="margin"
        How unsure the student is: the difference of its two best probabilities, the entropy of all,
        its best one; or any text. With several labels a text, the label that it is least sure of
        counts, or the sum of their entropies. ``"diverse"``: texts that the student is unsure of
        and that differ from each other, as in BADGE.
    pool_share : float or "auto", default=1.0
        Share of a cycle's texts that comes from the pool, in (0, 1]; the rest is generated.
        ``"auto"``: all in the first cycle, none in the second, and then in proportion to what each
        of the two has gained a token, see :func:`share_by_gain`. The student is evaluated for it.
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
    BADGE: https://arxiv.org/abs/1906.03671

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.records import State
    >>> from pgkd.samplers import UncertaintySampler
    >>> state = State(
    ...     1,
    ...     ("ham", "spam"),
    ...     (),
    ...     pool=("hi bob", "win or lose"),
    ...     pool_probabilities=np.array([[0.9, 0.1], [0.5, 0.5]]),
    ... )
    >>> [request] = UncertaintySampler().propose(state, 1, np.random.default_rng(0))
    >>> request.texts
    ('win or lose',)
    """

    _parameter_constraints = {  # noqa: RUF012
        "strategy": [StrOptions({"margin", "entropy", "least_confident", "random", "diverse"})],
        "pool_share": [Interval(Real, 0, 1, closed="right"), StrOptions({"auto"})],
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
        pool_share: float | str = 1.0,
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
        """Tell whether texts are generated, by a sampler that needs it, or gains are compared."""
        if self.pool_share == "auto" and state.pool:
            return True
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
            order = self._rank(state, n_pool, rng)
            requests += self._annotate(state, order[:n_pool], rng)
        if n_pool < n_samples:
            requests += self._resolve_generator().propose(state, n_samples - n_pool, rng)
        return requests

    def _count_from_pool(self, state: State, n_samples: int) -> int:
        share = share_by_gain(state) if self.pool_share == "auto" else float(self.pool_share)
        return min(round(share * n_samples), len(state.pool))

    def _resolve_generator(self) -> Any:
        return PerformanceGuidedSampler() if self.generator is None else self.generator

    def _rank(self, state: State, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Rank the pool's rows; the first `n` are what is asked about."""
        probabilities = state.pool_probabilities
        certainty = (
            self._certainty_of_sets(probabilities, rng)
            if state.multilabel
            else self._certainty(probabilities, rng)
        )
        order = np.argsort(certainty, kind="stable")
        if self.strategy == "diverse":
            # Copies can make k-means++ choose a row twice: the least certain ones fill up.
            order = np.array([*dict.fromkeys([*spread(state, n, rng), *order])])
        return order

    def _certainty(self, probabilities: FloatArray, rng: np.random.Generator) -> FloatArray:
        if self.strategy == "random":
            return rng.random(len(probabilities))
        if self.strategy == "entropy":
            certainty: FloatArray = (probabilities * np.log(probabilities + 1e-12)).sum(axis=1)
            return certainty
        best = np.sort(probabilities, axis=1)[:, ::-1]
        return best[:, 0] if self.strategy == "least_confident" else best[:, 0] - best[:, 1]

    def _certainty_of_sets(self, probabilities: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Each label is a decision: the least sure one counts, or the sum of the entropies."""
        if self.strategy == "random":
            return rng.random(len(probabilities))
        if self.strategy == "entropy":
            both = np.clip(np.stack([probabilities, 1 - probabilities]), 1e-12, 1)
            entropy: FloatArray = (both * np.log(both)).sum(axis=(0, 2))
            return entropy
        certainty: FloatArray = np.abs(probabilities - 0.5).min(axis=1)
        return certainty

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


def spread(state: State, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose `n` rows of the pool that the student is unsure of and that differ from each other.

    BADGE seeds k-means++ with the gradients that the student's last layer would have, if its own
    label were the true one: the residual of its probabilities, times the embedding of the text.
    Here any classifier is a student, which need not have an embedding: character trigrams (TF-IDF)
    stand for it, and the residual's squared length is the weight of a text, which keeps the vectors
    small and those out of it that the student is sure of.

    References
    ----------
    Ash et al., https://arxiv.org/abs/1906.03671
    """
    residual = state.pool_probabilities.copy()
    if state.multilabel:
        residual -= decide(residual)
    else:
        residual[np.arange(len(residual)), residual.argmax(axis=1)] -= 1
    vectorizer = make_pipeline(
        HashingVectorizer(analyzer="char_wb", ngram_range=(3, 3), n_features=2**12),
        TfidfTransformer(),
    )
    weights = np.maximum((residual**2).sum(axis=1), 1e-12)  # not all of them 0
    _, rows = kmeans_plusplus(
        vectorizer.fit_transform(state.pool),
        n,
        sample_weight=weights,
        random_state=int(rng.integers(2**31)),
    )
    return np.asarray(rows, dtype=np.intp)


def share_by_gain(state: State) -> float:
    """Return the pool's share, in [0, 1], by what a token for it and for generation has gained.

    The gain of a batch is the fall of the feedback's log loss; in a mixed one each source has the
    part that its tokens are of all. A source that did harm, or whose batches were all rolled back,
    has gained nothing. Where the teacher counts no tokens, or nothing was gained, the shares are
    equal; each source keeps at least a tenth.

    Examples
    --------
    >>> from pgkd.records import Batch, Feedback, State, StudentReport
    >>> from pgkd.samplers.uncertainty import share_by_gain
    >>> first, second, third = (StudentReport(0.5, 0.5, loss, {}, {}) for loss in (2.0, 1.4, 1.2))
    >>> batches = (Batch({}, {}, {"pool": 10}, first), Batch({}, {}, {"generated": 10}, second))
    >>> state = State(3, ("ham", "spam"), (), feedback=Feedback((), third), batches=batches)
    >>> round(share_by_gain(state), 2)  # a fall of 0.6 against one of 0.2
    0.75
    """
    if state.cycle <= 2:
        return float(state.cycle == 1)
    now = state.feedback.report if state.feedback else None
    reports = [*(batch.feedback for batch in state.batches), now]
    gain = {"pool": 0.0, "generated": 0.0}
    tokens = {"pool": 0, "generated": 0}
    for batch, before, after in zip(state.batches, reports, reports[1:]):
        total = sum(batch.tokens.values())
        if before is None or after is None or not total:
            continue
        for source, n in batch.tokens.items():
            gain[source] += (before.log_loss - after.log_loss) * n / total
            tokens[source] += n
    pool, generated = (max(gain[s], 0.0) / max(tokens[s], 1) for s in gain)
    share = pool / (pool + generated) if pool + generated else 0.5
    return float(np.clip(share, MIN_SHARE, 1 - MIN_SHARE))
