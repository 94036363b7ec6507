"""From a request to the messages and the JSON schema that an LLM gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pgkd.records import GenerationRequest, Label, Message

SYSTEM = (
    "You write training texts for a text classifier, label by label. Each text is a new one, as "
    "its users would send it: same style and length as the real texts, other content and other "
    "words. It clearly belongs to its label and to no other. Never copy, extend or rephrase a text "
    "that you are shown. Answer with JSON only."
)


def answer_names(request: GenerationRequest) -> dict[str, Label]:
    """Map the name that stands for a class in the answer to the class."""
    return {str(label): label for label in request.counts}


def answer_schema(request: GenerationRequest) -> dict[str, Any]:
    """JSON schema of the answer: ``{"<class>": ["<text>", ...], ...}``.

    A class's name is written once, not with each text: that saves tokens, and leaves no room for a
    label that was not asked for.
    """
    properties = {
        str(label): {"type": "array", "items": {"type": "string"}, "minItems": n, "maxItems": n}
        for label, n in request.counts.items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def render(request: GenerationRequest) -> list[Message]:
    """Render a request as chat messages."""
    parts = [_task(request), *(_label(label, request) for label in request.counts), _order(request)]
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
    ]


def _task(request: GenerationRequest) -> str:
    lines = []
    if request.task_description:
        lines.append(f"Task of the classifier: {request.task_description}")
    if request.report:
        before = request.previous_report
        change = f" ({before.accuracy:.2f} before your last texts)" if before else ""
        lines.append(f"Its accuracy: {request.report.accuracy:.2f}{change}")
    return "\n".join(lines)


def _label(label: Label, request: GenerationRequest) -> str:
    """All about one class: what it is, how the student does on it, real texts."""
    description = request.class_descriptions.get(label)
    lines = [f"Label {_quote(label)}" + (f": {description}" if description else "")]
    if request.report and label in request.report.classes:
        lines.append(_score(label, request))
    texts = _texts(label, request)
    if texts:
        lines.append("Real texts:")
        lines += [f"- {_quote(text)}{note}" for text, note in texts.items()]
    return "\n".join(lines)


def _score(label: Label, request: GenerationRequest) -> str:
    assert request.report is not None
    score = request.report.classes[label]
    line = f"Precision {score.precision:.2f}, recall {score.recall:.2f}, F1 {score.f1:.2f}"
    if request.previous_report and label in request.previous_report.classes:
        line += f" ({request.previous_report.classes[label].f1:.2f} before your last texts)"
    taken = [
        f"{n} taken for {_quote(predicted)}"
        for (true, predicted), n in request.report.confusions.items()
        if true == label
    ]
    return "; ".join([line, f"{score.support} texts", *taken])


def _texts(label: Label, request: GenerationRequest) -> Mapping[str, str]:
    """Real texts of a class, each once, with what the student makes of them."""
    texts = {
        p.text: f" (wrongly taken for {_quote(p.predicted)}, confidence {p.confidence:.2f})"
        for p in (*request.hard_negatives, *request.wrong)
        if p.label == label
    }
    texts |= {p.text: " (recognised)" for p in request.correct if p.label == label}
    return {e.text: "" for e in request.examples if e.label == label} | texts


def _order(request: GenerationRequest) -> str:
    wanted = ", ".join(f"{n} for {_quote(label)}" for label, n in request.counts.items())
    aim = ""
    if request.hard_negatives:
        aim = " They must show the classifier how the labels that it confuses differ."
    answer = {str(label): ["..."] * min(n, 2) for label, n in request.counts.items()}
    # The id makes two requests with the same content two requests, for the LLM and for the cache.
    return (
        f"Request {request.id}: write {request.n_texts} new texts, {wanted}."
        f"{_length(request)}{aim} Answer as {json.dumps(answer, ensure_ascii=False)}"
    )


def _length(request: GenerationRequest) -> str:
    """Tell the usual length: LLMs left to themselves write longer texts than people do."""
    lengths = sorted(len(e.text.split()) for e in request.examples)
    if not lengths or lengths[-1] < 2:  # no spaces between words in this script
        return ""
    low, high = lengths[len(lengths) // 8], lengths[-1 - len(lengths) // 8]
    return f" Each has {low} to {high} words." if low < high else f" Each has about {high} words."


def _quote(text: Any) -> str:
    return json.dumps(" ".join(str(text).split()), ensure_ascii=False)
