"""Have the teacher describe the classes: a sentence, and phrases typical of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pgkd.records import GenerationRequest, State
from pgkd.samplers.base import draft, find_contrasts, look_at_folds, pick

#: Phrases asked for beside the sentence.
N_PHRASES = 3
#: Classes described in one answer.
CLASSES_PER_REQUEST = 3
#: Real texts shown of each class.
N_EXAMPLES = 2


def describe_classes(state: State, rng: np.random.Generator) -> list[GenerationRequest]:
    """Ask for a description of every class.

    Examples
    --------
    >>> import numpy as np
    >>> from pgkd.records import State
    >>> from pgkd.samplers.describing import describe_classes
    >>> [request] = describe_classes(State(1, ("card", "pin"), ()), np.random.default_rng(0))
    >>> request.kind, sorted(request.counts.items())
    ('describe', [('card', 4), ('pin', 4)])
    """
    classes = pick(state.classes, len(state.classes), rng)
    requests = []
    for number, start in enumerate(range(0, len(classes), CLASSES_PER_REQUEST), start=1):
        labels = classes[start : start + CLASSES_PER_REQUEST]
        counts = dict.fromkeys(labels, 1 + N_PHRASES)
        views = look_at_folds(state, counts, N_EXAMPLES, rng)
        request = draft(replace(state, multilabel=False), number, counts, N_EXAMPLES, rng, views)
        contrasts = {}
        if state.feedback is not None:
            contrasts = find_contrasts(tuple(labels), state.feedback.report)
        requests.append(replace(request, kind="describe", contrasts=contrasts))
    return requests
