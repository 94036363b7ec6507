"""Active learning: the teacher labels the texts that the student is least sure of."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import Interval, StrOptions

from pgkd.inputs.labels import decide
from pgkd.records import AnnotationRequest, FloatArray, State
from pgkd.samplers.shortlists import make_requests
from pgkd.system.component import Component


class UncertaintySampler(Component):
    """Have the teacher label those texts of the unlabelled pool that the student is least sure of.

    A real text with the teacher's label needs no invention. The teacher chooses among the classes
    that the student finds likeliest, each with the nearest real
    texts: that is easier than among hundreds of names.

    Parameters
    ----------
    strategy : {"diverse", "margin", "entropy", "least_confident", "random"}, default="diverse"
        Texts that the student is unsure of and that differ from each other, as in BADGE. Or how
        unsure the student is alone: the difference of its two best probabilities, the entropy of
        all, its best one; or any text. With several labels a text, the label that it is least sure
        of counts, or the sum of their entropies.
    n_candidates : int, default=5
        Classes a text's label is chosen from.
    n_examples : int, default=2
        Real texts shown of each of these classes, the nearest ones.
    texts_per_request : int, default=1
        Texts labelled at once; each has examples of its own.

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
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_examples": [Interval(Integral, 0, None, closed="left")],
        "texts_per_request": [Interval(Integral, 1, None, closed="left")],
    }

    needs_pool = True

    def __init__(
        self,
        *,
        strategy: str = "diverse",
        n_candidates: int = 5,
        n_examples: int = 2,
        texts_per_request: int = 1,
    ) -> None:
        self.strategy = strategy
        self.n_candidates = n_candidates
        self.n_examples = n_examples
        self.texts_per_request = texts_per_request

    def needs_feedback(self, state: State, n_samples: int) -> bool:
        """Tell that the student need not be evaluated."""
        return False

    def propose(
        self, state: State, n_samples: int, rng: np.random.Generator
    ) -> list[AnnotationRequest]:
        """Return requests to label `n_samples` texts, as far as the pool goes."""
        self._validate_params()
        n = min(n_samples, len(state.pool))
        return self._annotate(state, self.rank(state, n, rng)[:n], rng) if n else []

    def rank(self, state: State, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
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
    probabilities = state.pool_probabilities
    residual = probabilities - decide(probabilities, multilabel=state.multilabel)
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
