"""What samplers share: sharing out a quota, grouping classes into requests, drafting them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from pgkd.records import GenerationRequest, Label, State

T = TypeVar("T")


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

    Yields
    ------
    counts : dict of label to int
        The texts wanted of each class; at most `texts_per_request` texts of `classes_per_request`
        classes.
    """
    left = dict(quota)
    while left:
        first = max(left, key=lambda label: left[label])

        def closeness(label: Label, first: Label = first) -> float:
            if label == first:
                return float("inf")
            return confusions.get((first, label), 0) + confusions.get((label, first), 0)

        counts: dict[Label, int] = {}
        room = texts_per_request
        for label in sorted(left, key=closeness, reverse=True)[:classes_per_request]:
            counts[label] = min(left[label], room)
            left[label] -= counts[label]
            room -= counts[label]
            if left[label] == 0:
                del left[label]
            if room == 0:
                break
        yield counts


def draft(
    state: State,
    number: int,
    counts: Mapping[Label, int],
    n_examples: int,
    rng: np.random.Generator,
) -> GenerationRequest:
    """Begin a request for `counts`: the task, the classes, and real texts to show the style."""
    examples = []
    for label in counts:
        examples += pick([e for e in state.examples if e.label == label], n_examples, rng)
    return GenerationRequest(
        id=f"{state.cycle}-{number}",
        counts=counts,
        examples=tuple(examples),
        task_description=state.task_description,
        class_descriptions={k: v for k, v in state.class_descriptions.items() if k in counts},
    )


def pick(items: Sequence[T], n: int, rng: np.random.Generator) -> list[T]:
    """Pick up to `n` of `items` at random, without replacement."""
    return [items[i] for i in rng.permutation(len(items))[:n]]
