"""How new texts are to be written: of which length, and what to think of."""

from __future__ import annotations

import random

from pgkd.records import GenerationRequest, Label

#: Of these, a request asks to think of a few: left to itself an LLM writes of the same few cases.
_ANGLES = (
    "a first time and a repeated one",
    "unusual cases that still belong to the label",
    "particular places, times, products or amounts",
    "the need told indirectly, without the words of the label",
    "what led to it",
    "people of other ages and trades",
    "short forms, slips and everyday words",
    "what is wanted next",
)
N_ANGLES = 2
#: Texts whose lengths are told one by one; of more, the usual lengths are told.
MAX_LENGTHS = 10


def draw_lengths(request: GenerationRequest) -> dict[Label, str]:
    """Tell the length of each text of a request for new ones, drawn from those of the real texts.

    Empty if they are all alike, or too many texts are wanted. The request's id is the seed, so that
    a request has the same prompt, and the next one other lengths.
    """
    lengths = _lengths(request)
    if request.kind != "new" or request.n_texts > MAX_LENGTHS or len(set(lengths)) < 2:
        return {}
    rng = random.Random(request.id)
    n = request.n_texts
    # One of each nth part: a few texts of their own accord might all be short.
    drawn = [lengths[int((i + rng.random()) * len(lengths) / n)] for i in range(n)]
    rng.shuffle(drawn)
    told = {}
    for label, n_own in request.counts.items():
        own, drawn = [str(length) for length in drawn[:n_own]], drawn[n_own:]
        listed = " and ".join(filter(None, [", ".join(own[:-1]), own[-1]])) if own else ""
        told[label] = f" ({listed} word{'s' * (own != ['1'])})"
    return told


def tell_manner(request: GenerationRequest, *, is_length_told: bool) -> str:
    """Tell how to write: how long, and what to think of."""
    manner = "" if is_length_told else _tell_length(request)
    if request.kind != "new":
        return manner
    if not request.shown_texts:
        manner += " No text is there to follow: write as the users of such a classifier would."
    angles = random.Random(request.id).sample(_ANGLES, N_ANGLES)
    return f"{manner} Think of {' and of '.join(angles)}."


def _tell_length(request: GenerationRequest) -> str:
    """Tell the usual lengths: LLMs left to themselves write longer texts than people do."""
    lengths = _lengths(request)
    if not lengths:
        return ""
    low, high = lengths[len(lengths) // 8], lengths[-1 - len(lengths) // 8]
    return f" Each has {low} to {high} words." if low < high else f" Each has about {high} words."


def _lengths(request: GenerationRequest) -> list[int]:
    """Count the words of the real texts, in ascending order."""
    lengths = sorted(len(text.split()) for text in request.shown_texts)
    # One word each: no spaces between words in this script.
    return lengths if lengths and lengths[-1] > 1 else []
