"""Teachers without an LLM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from pgkd.exceptions import InvalidInputError, TeacherError
from pgkd.inputs.labels import has_sets
from pgkd.records import (
    AnnotationRequest,
    Completion,
    Example,
    Generation,
    GenerationRequest,
    Message,
    Usage,
)
from pgkd.system.component import Component
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


class PoolTeacher(Component):
    """Play an ideal LLM: serve hidden real texts of the wanted classes, each one once.

    It shows what guidance is worth when the teacher makes no mistake, or as many as `error_rate`
    says, without an LLM.

    Parameters
    ----------
    texts : sequence of str
        The pool; it must not overlap with the training or the test texts.
    labels : sequence of labels
        With several labels a text: tuples or lists, in the order of ``classes_``. A wanted
        combination of them is served by texts that have it or, when these run out, that have most
        of it.
    strategy : {"random", "nearest"}, default="random"
        Which text of a class comes next: any, or the one closest (TF-IDF cosine) to the hard
        negatives of the request that are of that class.
    error_rate : float, default=0.0
        A teacher that is wrong so often: the share of the texts, in [0, 1], that it takes for
        another class, drawn at random. It is wrong about the same texts whenever it is asked.
    random_state : int, default=0
    known : tuple of (sequence of str, sequence of labels), default=None
        Further texts, such as the labelled ones, that it can label but does not write.

    Examples
    --------
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.testing import PoolTeacher
    >>> teacher = PoolTeacher(["great fun", "poor fun"], ["pos", "neg"])
    >>> [generation] = teacher.generate([GenerationRequest("1-1", {"neg": 3})])
    >>> generation.examples
    (Example(text='poor fun', label='neg'),)
    """

    left_: dict[Any, list[int]]

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[Any],
        *,
        strategy: str = "random",
        error_rate: float = 0.0,
        random_state: int = 0,
        known: tuple[Sequence[str], Sequence[Any]] | None = None,
    ) -> None:
        self.known = known
        self.texts = texts
        self.labels = labels
        self.strategy = strategy
        self.error_rate = error_rate
        self.random_state = random_state

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Generation]:
        """Yield a generation for each request, with fewer texts when a class runs out."""
        if self.strategy not in ("random", "nearest"):
            raise InvalidInputError(
                "The `strategy` parameter of PoolTeacher must be 'random' or 'nearest'. Got "
                f"{self.strategy!r} instead."
            )
        if not hasattr(self, "left_"):
            self._read_pool()
        for request in requests:
            serve = self._serve_sets if request.choices else self._serve_all
            examples = serve(request)
            yield Generation(request, tuple(examples), usage=Usage(n_requests=1))

    def annotate(self, requests: Sequence[AnnotationRequest]) -> Iterator[Generation]:
        """Yield labels of texts that it knows, as in their shortlists; others have none."""
        if not hasattr(self, "left_"):
            self._read_pool()
        every = [*self.texts, *(self.known[0] if self.known else ())]
        rows = {text: i for i, text in reversed([*enumerate(every)])}
        for request in requests:
            judge = self._judge_set if request.multilabel else self._judge
            examples = [
                Example(text, label)
                for text, shortlist in zip(request.texts, request.shortlists)
                if text in rows and (label := judge(rows[text], shortlist)) is not None
            ]
            yield Generation(request, tuple(examples), usage=Usage(n_requests=1))

    def _serve_all(self, request: GenerationRequest) -> list[Example]:
        return [
            Example(self.texts[i], label)
            for label, n in request.counts.items()
            for i in self._serve(label, n, request)
        ]

    def _serve_sets(self, request: GenerationRequest) -> list[Example]:
        """Serve, for each combination, the texts left whose labels are most like it."""
        examples = []
        left = [i for rows in self.left_.values() for i in rows]
        sets = {i: self._judge_set(i, request.choices) for i in left}
        for label, n in request.counts.items():
            wanted = set(label)

            def likeness(i: int, wanted: set[Any] = wanted) -> float:
                own = set(sets[i] or ())
                return len(own & wanted) / max(len(own | wanted), 1) + (own == wanted)

            fit = [i for i in left if sets[i] is not None and likeness(i) > 0]
            chosen = sorted(fit, key=likeness, reverse=True)[:n]
            examples += [Example(self.texts[i], sets[i]) for i in chosen]
            left = [i for i in left if i not in set(chosen)]
        self.left_ = {None: left}
        return examples

    def _read_pool(self) -> None:
        if not 0 <= self.error_rate <= 1:
            raise InvalidInputError(
                "The `error_rate` parameter of PoolTeacher must be in [0, 1]. Got "
                f"{self.error_rate!r} instead."
            )
        rng = np.random.default_rng(self.random_state)
        order = rng.permutation(len(self.texts))
        self._truth = [
            tuple(label) if isinstance(label, (list, tuple)) else np.asarray(label).item()
            for label in [*self.labels, *(self.known[1] if self.known else ())]
        ]
        self._is_wrong = rng.random(len(self._truth)) < self.error_rate
        self._luck = rng.random(len(self._truth))
        classes = list(dict.fromkeys(self._truth))
        left: dict[Any, list[int]] = {}
        for i in order.tolist():
            label = None if has_sets(self._truth) else self._judge(i, classes)
            left.setdefault(label, []).append(i)
        if self.strategy == "nearest":
            self._vectorizer = TfidfVectorizer(sublinear_tf=True)
            self._vectors = self._vectorizer.fit_transform(self.texts)
        self.left_ = left

    def _judge(self, i: int, choices: Sequence[Any]) -> Any:
        """Return the label that is given to text `i`, ``None`` if no choice is fit for it."""
        truth = self._truth[i]
        if not self._is_wrong[i]:
            return truth if truth in choices else None
        others = [label for label in choices if label != truth]
        return others[int(self._luck[i] * len(others))] if others else None

    def _judge_set(self, i: int, choices: Sequence[Any]) -> Any:
        """Return the label set that is given to text `i`, of those that may be chosen."""
        own = set(self._truth[i])
        if self._is_wrong[i]:  # one label is missed, and another one given
            others = [label for label in choices if label not in own]
            own = {*sorted(own, key=str)[1:], *others[int(self._luck[i] * len(others)) :][:1]}
        given = tuple(label for label in choices if label in own)
        return given if given or not own else None

    def _serve(self, label: Any, n: int, request: GenerationRequest) -> list[int]:
        left = self.left_.get(label, [])
        evidence = [p.text for p in request.hard_negatives if p.label == label]
        if self.strategy == "nearest" and evidence and left:
            similarity = self._vectors[left] @ self._vectorizer.transform(evidence).T
            closest = np.argsort(-similarity.max(axis=1).toarray().ravel(), kind="stable")
            left = [left[i] for i in closest]
        self.left_[label] = left[n:]
        return left[:n]
