"""What became of every text, and how many are missing and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pgkd.curation.curator import count_reasons, enter, enter_refused
from pgkd.curation.diversity import measure_diversity
from pgkd.loop.routes import PAID
from pgkd.loop.training_set import TrainingSet
from pgkd.records import Diversity, Generation, Step, SyntheticText

#: Why texts are not learnt.
NO_GAIN, RELABELLED = "no gain out of fold", "labelled anew"


def settle(texts: Iterable[SyntheticText], current: TrainingSet) -> list[SyntheticText]:
    """Give accepted texts the weight with which they are learnt, or say why they are not."""
    weights = {
        (text.text, text.label, text.cycle): text.weight * part.factor
        for part in current.parts.values()
        for text in part.texts
    }
    last: dict[str, int] = {}
    for own, _, cycle in weights:
        last[own] = max(cycle, last.get(own, 0))
    settled = []
    for text in texts:
        if text.verdict == "accepted":
            weight = weights.get((text.text, text.label, text.cycle))
            if weight is None:
                why = RELABELLED if last.get(text.text, 0) > text.cycle else NO_GAIN
                text = replace(text, verdict="dropped", reason=why, weight=0.0)
            else:
                text = replace(text, weight=weight)
        settled.append(text)
    return settled


def drop_pending(
    pending: Sequence[Generation], number: int, reason: str
) -> Iterable[SyntheticText]:
    """Enter what was bought in a step that did not end."""
    for generation in pending:
        yield from (enter(e, number, generation, "dropped", reason) for e in generation.examples)
        yield from enter_refused(generation, number)


def count_rejected(
    generations: Sequence[Generation], judged: Sequence[SyntheticText]
) -> dict[str, int]:
    """Count what was asked for and is not fit to be learnt, by reason."""
    counts = Counter(count_reasons(judged))
    for g in generations:
        counts += Counter(g.rejected) - Counter(r.reason for r in g.refused)  # those are judged
        counts += Counter({"request failed": int(bool(g.error))})
    return dict(counts)


def estimate_seconds(steps: Sequence[Step], n_left: int) -> float | None:
    """Estimate how long further batches take, by those that were bought."""
    seconds = [step.seconds for step in steps if step.route in PAID]
    return n_left * sum(seconds) / len(seconds) if seconds else None


def measure_texts(texts: Sequence[SyntheticText]) -> Diversity | None:
    """Measure how different from each other the texts of a class are."""
    return measure_diversity([text.text for text in texts], [text.label for text in texts])
