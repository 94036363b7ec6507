"""What a component must offer. Each protocol is one narrow method; base classes add the comfort."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pgkd.records import (
    AnnotationRequest,
    Event,
    FloatArray,
    Generation,
    GenerationRequest,
    LabelArray,
    State,
)


@runtime_checkable
class Teacher(Protocol):
    """Writes labelled texts."""

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterable[Generation]:
        """Yield one `Generation` for each request it could serve, in any order."""
        ...


@runtime_checkable
class Annotator(Protocol):
    """Labels texts: the second, optional role of a teacher."""

    def annotate(self, requests: Sequence[AnnotationRequest]) -> Iterable[Generation]:
        """Yield one `Generation`, of the request's own texts, for each it could serve.

        A text without a fitting label is left out of its `examples`. A Generation with `error`
        loses the texts of its request only, and
        :class:`~pgkd.exceptions.AnnotatorError` those only that raise it when they are asked
        about alone; any other error ends the annotation.

        Examples
        --------
        >>> from pgkd.protocols import Annotator
        >>> from pgkd.records import AnnotationRequest, Example, Generation
        >>> class Keywords:
        ...     def annotate(self, requests):
        ...         for request in requests:
        ...             pairs = zip(request.texts, request.shortlists)
        ...             found = [Example(t, c) for t, labels in pairs for c in labels if c in t]
        ...             yield Generation(request, tuple(found))
        >>> isinstance(Keywords(), Annotator)
        True
        >>> request = AnnotationRequest("1-a1", ("my pin",), (("card", "pin"),))
        >>> next(Keywords().annotate([request])).examples
        (Example(text='my pin', label='pin'),)
        """
        ...


@runtime_checkable
class Student(Protocol):
    """A scikit-learn classifier whose samples are texts.

    It may also take ``sample_weight`` in `fit`, and offer ``save(directory)`` with a classmethod
    ``load(directory)`` to be saved without pickle.
    """

    classes_: LabelArray

    def fit(self, X: Sequence[str], y: Any) -> Any:
        """Train from scratch."""
        ...

    def predict_proba(self, X: Sequence[str]) -> FloatArray:
        """Return probabilities of shape (n_texts, n_classes), columns in ``classes_`` order."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """Decides what the teacher is asked for, and what it is shown.

    A sampler whose method ``needs_feedback(state, n_samples)`` returns False spares the loop the
    evaluation of the student. One with the attribute ``needs_pool = True`` may propose requests to
    label texts of the pool.
    """

    def propose(
        self, state: State, n_samples: int, rng: np.random.Generator
    ) -> Sequence[GenerationRequest | AnnotationRequest]:
        """Return requests for `n_samples` texts in all."""
        ...


@runtime_checkable
class Callback(Protocol):
    """Follows a run."""

    def on_event(self, event: Event) -> None:
        """React to `event`."""
        ...
