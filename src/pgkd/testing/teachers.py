"""Teachers without an LLM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer

from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.records import (
    AnnotationRequest,
    Completion,
    Example,
    Generation,
    GenerationRequest,
    Message,
    Usage,
)
from pgkd.teachers.base import LLMTeacher


class ScriptedTeacher(LLMTeacher):
    """Answer with given texts, one a request, and remember the prompts.

    Parameters
    ----------
    answers : sequence of str, Completion or Exception
        What the "LLM" answers, in turn; an exception is raised.
    repeat : bool, default=False
        Begin again when the answers are used up, instead of failing.

    Attributes
    ----------
    prompts_ : list of list of messages
        What was asked.

    Examples
    --------
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.testing import ScriptedTeacher
    >>> teacher = ScriptedTeacher(['{"ham": ["See you at noon."]}'])
    >>> [generation] = teacher.generate([GenerationRequest("1-1", {"ham": 1})])
    >>> generation.examples
    (Example(text='See you at noon.', label='ham'),)
    """

    max_concurrency = 1  # so that the answers go to the requests in order
    max_retries = 0

    def __init__(
        self, answers: Sequence[str | Completion | Exception], *, repeat: bool = False
    ) -> None:
        self.answers = answers
        self.repeat = repeat

    def complete(self, messages: Sequence[Message], *, schema: dict[str, Any]) -> Completion:
        """Play the next answer."""
        if not hasattr(self, "prompts_"):
            self.prompts_: list[list[Message]] = []
        self.prompts_.append(list(messages))
        i = len(self.prompts_) - 1
        if i >= len(self.answers) and not self.repeat:
            raise TeacherError(
                f"ScriptedTeacher has {len(self.answers)} answers, and this is request {i + 1}: "
                "give more answers, or `repeat=True`."
            )
        answer = self.answers[i % len(self.answers)]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Completion):
            return answer
        return Completion(answer, Usage(n_requests=1, cost=0.0))


class PoolTeacher(BaseEstimator):  # type: ignore[misc]
    """Play an ideal LLM: serve hidden real texts of the wanted classes, each one once.

    It shows what guidance is worth when the teacher makes no mistake, without an LLM.

    Parameters
    ----------
    texts : sequence of str
        The pool; it must not overlap with the training or the test texts.
    labels : sequence of labels
    strategy : {"random", "nearest"}, default="random"
        Which text of a class comes next: any, or the one closest (TF-IDF cosine) to the hard
        negatives of the request that are of that class.
    random_state : int, default=0

    Examples
    --------
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.testing import PoolTeacher
    >>> teacher = PoolTeacher(["great fun", "poor fun"], ["pos", "neg"])
    >>> [generation] = teacher.generate([GenerationRequest("1-1", {"neg": 3})])
    >>> generation.examples
    (Example(text='poor fun', label='neg'),)
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[Any],
        *,
        strategy: str = "random",
        random_state: int = 0,
    ) -> None:
        self.texts = texts
        self.labels = labels
        self.strategy = strategy
        self.random_state = random_state

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Generation]:
        """Yield a generation for each request, with fewer texts when a class runs out."""
        if self.strategy not in ("random", "nearest"):
            raise InvalidInputError(
                "The `strategy` parameter of PoolTeacher must be 'random' or 'nearest'. Got "
                f"{self.strategy!r} instead."
            )
        if not hasattr(self, "left_"):
            self._shuffle_pool()
        for request in requests:
            examples = [
                Example(self.texts[i], label)
                for label, n in request.counts.items()
                for i in self._serve(label, n, request)
            ]
            yield Generation(request, tuple(examples), usage=Usage(n_requests=1))

    def annotate(self, requests: Sequence[AnnotationRequest]) -> Iterator[Generation]:
        """Yield the true labels of texts of the pool; others stay without one."""
        labels = {t: np.asarray(label).item() for t, label in zip(self.texts, self.labels)}
        for request in requests:
            examples = [
                Example(text, labels[text])
                for text, shortlist in zip(request.texts, request.shortlists)
                if labels.get(text) in shortlist
            ]
            yield Generation(request, tuple(examples), usage=Usage(n_requests=1))

    def _shuffle_pool(self) -> None:
        order = np.random.default_rng(self.random_state).permutation(len(self.texts))
        left: dict[Any, list[int]] = {}
        for i in order.tolist():
            left.setdefault(np.asarray(self.labels[i]).item(), []).append(i)
        if self.strategy == "nearest":
            self._vectorizer = TfidfVectorizer(sublinear_tf=True)
            self._vectors = self._vectorizer.fit_transform(self.texts)
        self.left_ = left

    def _serve(self, label: Any, n: int, request: GenerationRequest) -> list[int]:
        left = self.left_.get(label, [])
        evidence = [p.text for p in request.hard_negatives if p.label == label]
        if self.strategy == "nearest" and evidence and left:
            similarity = self._vectors[left] @ self._vectorizer.transform(evidence).T
            closest = np.argsort(-similarity.max(axis=1).toarray().ravel(), kind="stable")
            left = [left[i] for i in closest]
        self.left_[label] = left[n:]
        return left[:n]
