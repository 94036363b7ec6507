"""From a request to the messages and the JSON schema that an LLM gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pgkd.records import ClassScore, GenerationRequest, Label, Message, Prediction

#: Class names longer than this are replaced by ids in the answer: cheaper, and easier to get right.
MAX_NAME_LENGTH = 50

SYSTEM = (
    "You write labelled training texts for a text classifier. Each text is a new one, as its users "
    "would send it: same style and length as the real texts, other content and other words. It "
    "clearly belongs to its label and to no other. Never copy, extend or rephrase a text that you "
    "are shown. Answer with JSON only."
)


def answer_names(request: GenerationRequest) -> dict[str, Label]:
    """Map what stands for a class in the answer, its name or (if names are long) an id, to it."""
    names = {str(label): label for label in request.counts}
    if max(map(len, names)) <= MAX_NAME_LENGTH:
        return names
    return {f"c{i}": label for i, label in enumerate(request.counts, start=1)}


def answer_schema(request: GenerationRequest) -> dict[str, Any]:
    """JSON schema of the answer: ``{"texts": [{"label": ..., "text": ...}, ...]}``."""
    item = {
        "type": "object",
        "properties": {
            # The label first: an LLM writes from left to right, so the text follows the label.
            "label": {"type": "string", "enum": list(answer_names(request))},
            "text": {"type": "string"},
        },
        "required": ["label", "text"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"texts": {"type": "array", "items": item}},
        "required": ["texts"],
        "additionalProperties": False,
    }


def render(request: GenerationRequest) -> list[Message]:
    """Render a request as chat messages."""
    names = {label: name for name, label in answer_names(request).items()}
    parts = [
        f"Task of the classifier: {request.task_description}" if request.task_description else "",
        _classes(request, names),
        _report(request, names),
        _mistakes("Mistakes it is most confident of", request.hard_negatives, names),
        _mistakes("Other mistakes", request.wrong, names),
        _correct(request.correct, names),
        _order(request, names),
    ]
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
    ]


def _classes(request: GenerationRequest, names: Mapping[Label, str]) -> str:
    lines = ["Labels, each with real texts:"]
    for label, name in names.items():
        title = name if name == str(label) else f"{name} = {label}"
        description = request.class_descriptions.get(label)
        lines.append(f"* {title}: {description}" if description else f"* {title}")
        lines += [f"  - {_quote(e.text)}" for e in request.examples if e.label == label]
    return "\n".join(lines)


def _report(request: GenerationRequest, names: Mapping[Label, str]) -> str:
    report, previous = request.report, request.previous_report
    if report is None:
        return ""
    lines = [
        f"The classifier's validation report (accuracy {report.accuracy:.2f}"
        + (f", {previous.accuracy:.2f} before your last texts" if previous else "")
        + "):"
    ]
    for label, score in report.classes.items():
        before = previous.classes.get(label) if previous else None
        lines.append(f"* {names[label]}: {_score(score, before)}")
    for (label, predicted), n in report.confusions.items():
        lines.append(
            f"* {n} of {names.get(label, label)} taken for {names.get(predicted, predicted)}"
        )
    return "\n".join(lines)


def _score(score: ClassScore, before: ClassScore | None) -> str:
    line = f"precision {score.precision:.2f}, recall {score.recall:.2f}, F1 {score.f1:.2f}"
    return f"{line} (F1 {before.f1:.2f} before your last texts)" if before else line


def _mistakes(title: str, predictions: Iterable[Prediction], names: Mapping[Label, str]) -> str:
    lines = [
        f"* {_quote(p.text)} is {names.get(p.label, p.label)}, taken for "
        f"{names.get(p.predicted, p.predicted)} with confidence {p.confidence:.2f}"
        for p in predictions
    ]
    return "\n".join([f"{title}:", *lines]) if lines else ""


def _correct(predictions: Iterable[Prediction], names: Mapping[Label, str]) -> str:
    lines = [f"* {_quote(p.text)} is {names.get(p.label, p.label)}" for p in predictions]
    return "\n".join(["It gets right:", *lines]) if lines else ""


def _order(request: GenerationRequest, names: Mapping[Label, str]) -> str:
    wanted = ", ".join(f"{n} of {names[label]}" for label, n in request.counts.items())
    aim = ""
    if request.hard_negatives:
        aim = " that teach it what it gets wrong: the difference between the labels it confuses"
    # The id makes two requests with the same content two requests, for the LLM and for the cache.
    return (
        f"Request {request.id}: write {request.n_texts} new texts{aim}. Write {wanted}."
        f"{_length(request)} "
        'Answer as {"texts": [{"label": "...", "text": "..."}, ...]}.'
    )


def _length(request: GenerationRequest) -> str:
    """Tell the usual length: LLMs left to themselves write longer texts than people do."""
    lengths = sorted(len(e.text.split()) for e in request.examples)
    if not lengths or lengths[-1] < 2:  # no spaces between words in this script
        return ""
    low, high = lengths[len(lengths) // 8], lengths[-1 - len(lengths) // 8]
    return f" Each has {low} to {high} words." if low < high else f" Each has about {high} words."


def _quote(text: str) -> str:
    return '"' + " ".join(text.split()) + '"'
