"""From a request to the messages and the JSON schema that an LLM gets."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from itertools import count
from typing import Any

from pgkd.records import GenerationRequest, Label, Message

SYSTEM = (
    "You write training texts for a text classifier, label by label. Each text is a new situation "
    "in new words, as its users would send it, in the style of the real texts. Vary who writes, "
    "why, in what mood and with which detail. It clearly belongs to its label and to no other. "
    "Never copy, extend or rephrase a text that you are shown. Answer with JSON only."
)
REWRITE_SYSTEM = (
    "You rewrite training texts for a text classifier. Each new text means the same as one that "
    "you are shown and keeps its label, as another user would have sent it: same style and length, "
    "other words. Answer with JSON only."
)
DESCRIBE_SYSTEM = (
    "You explain the labels of a text classifier. For each label, first write one sentence that "
    "says what belongs to it and, where labels are close, what does not; then short phrases that "
    "are typical of its texts, as its users would send them, all different. Answer with JSON only."
)
_SYSTEMS = {"new": SYSTEM, "rewrite": REWRITE_SYSTEM, "describe": DESCRIBE_SYSTEM}
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

#: What every provider takes as the name of a property; Anthropic refuses any other.
#: https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_TASK = "Task of the classifier: "
_AFTER_TASK = re.compile(r"(?=\nIts accuracy: |\n\nLabel )")


def answer_names(request: GenerationRequest) -> dict[str, Label]:
    """Map the names that stand for a class in the answer to the class.

    A class's own name is understood even where a number stands for it.
    """
    names = _name_classes(request)
    return {str(label): label for label in names} | {v: label for label, v in names.items()}


def answer_schema(request: GenerationRequest) -> dict[str, Any]:
    """JSON schema of the answer: ``{"<class>": ["<text>", ...], ...}``.

    A class's name is written once, not with each text: that saves tokens, and leaves no room for a
    label that was not asked for.
    """
    properties = {
        name: {
            "type": "array",
            "items": {"type": "string"},
            "minItems": request.counts[label],
            "maxItems": request.counts[label],
        }
        for label, name in _name_classes(request).items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def render(request: GenerationRequest) -> list[Message]:
    """Render a request as chat messages."""
    labels = (_label(label, name, request) for label, name in _name_classes(request).items())
    parts = [render_task(request), *labels, _order(request)]
    return [
        {"role": "system", "content": _SYSTEMS[request.kind]},
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
    ]


def split_static(content: str) -> tuple[str, str]:
    """Split a prompt after the task, which all requests share, for a provider's prompt cache.

    Examples
    --------
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.teachers.prompts.writing import render, split_static
    >>> request = GenerationRequest("1-1", {"card": 1}, task_description="Messages to a bank.")
    >>> split_static(render(request)[1]["content"])[0]
    'Task of the classifier: Messages to a bank.'
    """
    end = _AFTER_TASK.search(content) if content.startswith(_TASK) else None
    return (content[: end.start()], content[end.start() :]) if end else ("", content)


def _name_classes(request: GenerationRequest) -> dict[Label, str]:
    """Name each class of a request: itself or, if one of them is no name, by a number."""
    own = {label: str(label) for label in request.counts}
    if all(map(_NAME.fullmatch, own.values())):
        return own
    taken = set(own.values())
    return dict(zip(own, (number for number in map(str, count(1)) if number not in taken)))


def render_task(request: GenerationRequest) -> str:
    """Tell the task, which all requests share, and the student's accuracy."""
    lines = []
    if request.task_description:
        lines.append(f"{_TASK}{request.task_description}")
    if request.report:
        before = request.previous_report
        change = f" ({before.accuracy:.2f} before your last texts)" if before else ""
        lines.append(f"Its accuracy: {request.report.accuracy:.2f}{change}")
    return "\n".join(lines)


def _label(label: Label, name: str, request: GenerationRequest) -> str:
    """All about one class: what it is, how the student does on it, real texts."""
    description = request.class_descriptions.get(label)
    heading = f"Label {quote(label)}" if name == str(label) else f"Label {name} is {quote(label)}"
    lines = [heading + (f": {description}" if description else "")]
    score = request.report.classes.get(label) if request.report else None
    if score and score.support:  # without a text nothing is known of a class
        lines.append(show_score(label, request, "{} taken for {}"))
    texts = _texts(label, request)
    if texts:
        lines.append("Real texts:")
        lines += [f"- {quote(text)}{note}" for text, note in texts.items()]
    return "\n".join(lines)


def show_score(label: Label, request: GenerationRequest, mistake: str) -> str:
    """Say how the student does on a class; `mistake` has places for a number and a class."""
    assert request.report is not None
    score = request.report.classes[label]
    line = f"Precision {score.precision:.2f}, recall {score.recall:.2f}, F1 {score.f1:.2f}"
    if request.previous_report and label in request.previous_report.classes:
        line += f" ({request.previous_report.classes[label].f1:.2f} before your last texts)"
    mistakes = [
        mistake.format(n, quote(predicted))
        for (true, predicted), n in request.report.confusions.items()
        if true == label
    ]
    return "; ".join([line, f"{score.support} texts", *mistakes])


def _texts(label: Label, request: GenerationRequest) -> Mapping[str, str]:
    """Real texts of a class, each once, with what the student makes of them."""
    texts = {}
    for p in (*request.hard_negatives, *request.wrong):
        if p.label == label:
            sure = f", confidence {p.confidence:.2f}" if p in request.hard_negatives else ""
            texts[p.text] = f" (wrongly taken for {quote(p.predicted)}{sure})"
    texts |= {p.text: " (recognised)" for p in request.correct if p.label == label}
    return {e.text: "" for e in request.examples if label in e.labels} | texts


def _order(request: GenerationRequest) -> str:
    names = _name_classes(request)

    def refer(label: Label) -> str:
        """Name a class; one of another request has no number."""
        name = names.get(label, str(label))
        return quote(label) if name == str(label) else f"label {name}"

    answer = {names[label]: ["..."] * min(n, 2) for label, n in request.counts.items()}
    shape = f"Answer as {json.dumps(answer, ensure_ascii=False)}"
    # The id makes two requests with the same content two requests, for the LLM and for the cache.
    start = f"Request {request.id}:"
    if request.kind == "describe":
        close = [
            f" {refer(label)} is close to {' and '.join(map(refer, others))}."
            for label, others in request.contrasts.items()
        ]
        parts = [
            f"a sentence{f' and {n - 1} phrases' if n > 1 else ''} for {refer(label)}"
            for label, n in request.counts.items()
        ]
        return f"{start} describe the labels, {', '.join(parts)}.{''.join(close)} {shape}"
    lengths = draw_lengths(request)
    wanted = []
    for label, n in request.counts.items():
        others = " or ".join(map(refer, request.contrasts.get(label, ())))
        # Only a hasty reader: the system prompt wants texts that clearly belong to their label.
        contrast = f" that a hasty reader could take for {others}" if others else ""
        wanted.append(f"{n} for {refer(label)}{contrast}{lengths.get(label, '')}")
    task = f"write {request.n_texts} new texts"
    if request.kind == "rewrite":
        task = f"rewrite the wrongly taken texts into {request.n_texts} new ones"
    aim = ""
    if request.hard_negatives or request.contrasts:
        aim = " They must show the classifier how the labels that it confuses differ."
    manner = render_manner(request, is_length_told=bool(lengths))
    return f"{start} {task}, {', '.join(wanted)}.{manner}{aim} {shape}"


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


def render_manner(request: GenerationRequest, *, is_length_told: bool) -> str:
    """Tell how to write: how long, and what to think of."""
    manner = "" if is_length_told else _render_length(request)
    if request.kind != "new":
        return manner
    if not _shown(request):
        manner += " No text is there to follow: write as the users of such a classifier would."
    angles = random.Random(request.id).sample(_ANGLES, N_ANGLES)
    return f"{manner} Think of {' and of '.join(angles)}."


def _render_length(request: GenerationRequest) -> str:
    """Tell the usual lengths: LLMs left to themselves write longer texts than people do."""
    lengths = _lengths(request)
    if not lengths:
        return ""
    low, high = lengths[len(lengths) // 8], lengths[-1 - len(lengths) // 8]
    return f" Each has {low} to {high} words." if low < high else f" Each has about {high} words."


def _lengths(request: GenerationRequest) -> list[int]:
    """Count the words of the real texts, in ascending order."""
    lengths = sorted(len(text.split()) for text in _shown(request))
    # One word each: no spaces between words in this script.
    return lengths if lengths and lengths[-1] > 1 else []


def _shown(request: GenerationRequest) -> set[str]:
    predictions = (*request.hard_negatives, *request.correct, *request.wrong)
    return {e.text for e in request.examples} | {p.text for p in predictions}


def quote(text: Any) -> str:
    """Quote a text or a label in one line, as in the answer."""
    return json.dumps(" ".join(str(text).split()), ensure_ascii=False)
