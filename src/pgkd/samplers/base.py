"""What samplers share: sharing out a quota, grouping classes into requests, drafting them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from pgkd.inputs.labels import count_classes
from pgkd.records import Example, GenerationRequest, Label, Prediction, State, StudentReport

T = TypeVar("T")

#: Classes, beside its own, that a request names as those that its texts may have.
MAX_CHOICES = 50
#: Classes named that a class is to be told apart from.
MAX_CONTRASTS = 2


def needs_feedback(sampler: Any, state: State, n_samples: int) -> bool:
    """Tell whether the student is to be evaluated, as it is for a sampler that does not say."""
    return not hasattr(sampler, "needs_feedback") or sampler.needs_feedback(state, n_samples)


def apportion(
    classes: Sequence[Label], weights: ArrayLike, n_samples: int, rng: np.random.Generator
) -> dict[Label, int]:
    """Share `n_samples` out among `classes` in proportion to `weights`.

    Systematic sampling: each class gets its exact share rounded down or up, by chance but without
    bias, and the total is exact. Classes that get nothing are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.samplers.base import apportion
    >>> apportion(["a", "b", "c"], [3, 1, 0], 4, np.random.default_rng(0))
    {'a': 3, 'b': 1}
    """
    weights = np.asarray(weights, dtype=float)
    bounds = np.cumsum(weights) / weights.sum() * n_samples
    bounds[-1] = n_samples  # free of rounding errors
    counts = np.diff(np.floor(np.append(0.0, bounds) + rng.random()).astype(int))
    return {label: int(n) for label, n in zip(classes, counts) if n > 0}


def group(
    quota: Mapping[Label, int],
    texts_per_request: int,
    classes_per_request: int,
    confusions: Mapping[tuple[Label, Label], int],
) -> Iterator[dict[Label, int]]:
    """Cut a quota into requests, putting classes together that the student confuses.

    Of a class that gets many texts each request asks for its even share only: asked for more at
    once a teacher repeats itself, while each further request shows it other real texts.

    Yields
    ------
    counts : dict of label to int
        The texts wanted of each class; at most `texts_per_request` texts of `classes_per_request`
        classes.
    """
    left = dict(quota)
    share = math.ceil(texts_per_request / classes_per_request)
    while left:
        first = max(left, key=lambda label: left[label])

        def closeness(label: Label, first: Label = first) -> float:
            if label == first:
                return float("inf")
            return confusions.get((first, label), 0) + confusions.get((label, first), 0)

        counts: dict[Label, int] = {}
        room = texts_per_request
        for label in sorted(left, key=closeness, reverse=True)[:classes_per_request]:
            counts[label] = min(left[label], share, room)
            left[label] -= counts[label]
            room -= counts[label]
            if left[label] == 0:
                del left[label]
            if room == 0:
                break
        yield counts


def look_at_folds(
    state: State, labels: Iterable[Label], n_texts: int, rng: np.random.Generator
) -> dict[Label, State]:
    """Narrow a state to what a request may show of each class: the texts of few folds.

    No more folds than have `n_texts` of the class between them, nor than half of those that have
    any: else no student that predicts a text of the class would have learnt what is written for it.
    The same folds for all classes as far as that goes; drawn at random, so that the next request
    shows other texts. See `State.folds`.
    """
    if not state.folds:
        return dict.fromkeys(labels, state)
    sizes = {
        label: Counter(fold for e, fold in zip(state.examples, state.folds) if is_about(e, label))
        for label in labels
    }
    folds = rng.permutation(max(state.folds) + 1).tolist()
    folds.sort(key=lambda fold: -sum(fold in own for own in sizes.values()))
    views = {}
    for label, own in sizes.items():
        chosen: Counter[int] = Counter()
        for fold in folds:
            if fold in own and chosen.total() < n_texts and len(chosen) < len(own) / 2:
                chosen[fold] = own[fold]
        views[label] = _narrow(state, chosen)
    return views


def _narrow(state: State, folds: Container[int]) -> State:
    keep = [fold in folds for fold in state.folds]
    feedback = state.feedback
    if feedback is not None:
        predictions = tuple(compress(feedback.predictions, keep))
        feedback = replace(feedback, predictions=predictions, probabilities=None)
    return replace(
        state,
        examples=tuple(compress(state.examples, keep)),
        folds=tuple(compress(state.folds, keep)),
        feedback=feedback,
    )


def draft(
    state: State,
    number: int,
    counts: Mapping[Label, int],
    n_examples: int,
    rng: np.random.Generator,
    views: Mapping[Label, State] | None = None,
) -> GenerationRequest:
    """Begin a request for `counts`: the task, the classes, and real texts to show the style.

    `views` has what may be shown of each class, which `look_at_folds` finds otherwise. With several
    labels a text, each text that is asked for has the labels of a real text of its class, drawn at
    random: so labels come together as often as they do in the labelled texts.
    """
    views = look_at_folds(state, counts, n_examples, rng) if views is None else views
    examples: list[Example] = []
    for label in counts:
        own = [e for e in views[label].examples if is_about(e, label) and e not in examples]
        examples += pick(own, n_examples, rng)
    choices: tuple[Label, ...] = ()
    if state.multilabel:
        counts = _draw_sets(state, counts, rng)
        choices = find_choices(state, tuple(count_classes(counts)))
    named = choices or tuple(counts)
    return GenerationRequest(
        id=f"{state.cycle}-{number}",
        counts=counts,
        examples=tuple(examples),
        task_description=state.task_description,
        class_descriptions={k: v for k, v in state.class_descriptions.items() if k in named},
        choices=choices,
    )


def is_about(item: Example | Prediction, label: Label) -> bool:
    """Whether a text has a class or, if a tuple is given, exactly these classes."""
    own = item.label
    if isinstance(own, tuple) and not isinstance(label, tuple):
        return label in own
    return bool(own == label)


def find_choices(state: State, labels: Sequence[Label]) -> tuple[Label, ...]:
    """Return the classes that texts of `labels` may have: these, and those that go with them."""
    if len(state.classes) <= MAX_CHOICES:
        return state.classes
    together = count_classes(
        e.label for e in state.examples if not set(labels).isdisjoint(e.labels)
    )
    closest = sorted(set(together) - set(labels), key=lambda other: -together[other])
    chosen = {*labels, *closest[:MAX_CHOICES]}
    return tuple(label for label in state.classes if label in chosen)


def _draw_sets(
    state: State, counts: Mapping[Label, int], rng: np.random.Generator
) -> dict[Label, int]:
    drawn: dict[Label, int] = {}
    for label, n in counts.items():
        sets = [
            e.label for e in state.examples if not isinstance(label, tuple) and is_about(e, label)
        ]
        if not sets:  # a label set already, or a class without a text
            sets = [label if isinstance(label, tuple) else (label,)]
        for i in rng.integers(len(sets), size=n):
            drawn[sets[i]] = drawn.get(sets[i], 0) + 1
    return drawn


def find_contrasts(
    classes: Sequence[Label], report: StudentReport
) -> dict[Label, tuple[Label, ...]]:
    """Find the classes that each of `classes` is mistaken for, the most frequent ones."""
    contrasts: dict[Label, tuple[Label, ...]] = {}
    for true, predicted in report.confusions:  # the most frequent first
        others = contrasts.get(true, ())
        if true in classes and len(others) < MAX_CONTRASTS:
            contrasts[true] = (*others, predicted)
    return contrasts


def pick(items: Sequence[T], n: int, rng: np.random.Generator) -> list[T]:
    """Pick up to `n` of `items` at random, without replacement."""
    return [items[i] for i in rng.permutation(len(items))[:n]]
