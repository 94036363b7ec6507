"""From a request for texts, of one label or of several, to the messages and the JSON schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from pgkd.records import GenerationRequest, Label, Message, Prediction, labels_of
from pgkd.teachers.prompts.manner import draw_lengths, tell_manner
from pgkd.teachers.prompts.parts import TASK, dump, object_schema, put_in_line, quote, quote_all

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
SETS_SYSTEM = (
    "You write training texts for a text classifier that gives each text all labels that fit it. "
    "Each text is a new situation in new words, as its users would send it, in the style of the "
    "real texts. Vary who writes, why, how long and with which detail. It clearly has the labels "
    "that are asked for; list all that it has, and no others. Never copy, extend or rephrase a "
    "text that you are shown. Answer with JSON only."
)
SETS_REWRITE_SYSTEM = (
    "You rewrite training texts for a text classifier that gives each text all labels that fit it. "
    "Each new text means the same as one that you are shown and keeps its labels, as another user "
    "would have sent it: same style and length, other words. Answer with JSON only."
)
#: By the kind of the request: of texts with one label, and of texts with several.
_SYSTEMS = {
    "new": (SYSTEM, SETS_SYSTEM),
    "rewrite": (REWRITE_SYSTEM, SETS_REWRITE_SYSTEM),
    "describe": (DESCRIBE_SYSTEM,),
}

#: What every provider takes as the name of a property; Anthropic refuses any other.
#: https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
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
    label that was not asked for. Texts with several labels are ``{"texts": [{"text": "...",
    "labels": ["<class>", ...]}, ...]}``. That a label comes once is not said: OpenAI and Anthropic
    refuse ``uniqueItems``.
    """
    request = single_out(request)
    names = _name_classes(request)
    text = {"type": "string"}
    if not request.choices:
        own = {name: _list_schema(text, request.counts[label]) for label, name in names.items()}
        return object_schema(own)
    labels = {
        "type": "array",
        "items": {"type": "string", "enum": list(names.values())},
        "minItems": 0 if () in request.counts else 1,
    }
    item = object_schema({"text": text, "labels": labels})
    return object_schema({"texts": _list_schema(item, request.n_texts)})


def _list_schema(items: dict[str, Any], n: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": n, "maxItems": n}


def render(request: GenerationRequest) -> list[Message]:
    """Render a request as chat messages."""
    request = single_out(request)
    evidence = _show_sets(request) if request.choices else _show_classes(request)
    parts = [_tell_task(request), *evidence, _order(request)]
    return [
        {"role": "system", "content": _SYSTEMS[request.kind][bool(request.choices)]},
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
    ]


def single_out(request: GenerationRequest) -> GenerationRequest:
    """Make a request to describe label sets of one label one about labels; leave others alone."""
    if request.kind != "describe" or not request.choices:
        return request
    counts = {own: n for label, n in request.counts.items() for own in label}
    return replace(request, counts=counts, choices=())


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
    end = _AFTER_TASK.search(content) if content.startswith(TASK) else None
    return (content[: end.start()], content[end.start() :]) if end else ("", content)


def _name_classes(request: GenerationRequest) -> dict[Label, str]:
    """Name each class of an answer: itself or, where it is a key and no name, by a number."""
    own = {label: str(label) for label in request.choices or request.counts}
    if request.choices or all(map(_NAME.fullmatch, own.values())):
        return own
    taken = set(own.values())
    return dict(zip(own, (number for number in map(str, count(1)) if number not in taken)))


def _tell_task(request: GenerationRequest) -> str:
    """Tell the task, which all requests share, and the student's accuracy."""
    lines = []
    if request.task_description:
        lines.append(f"{TASK}{put_in_line(request.task_description)}")
    if request.report:
        before = request.previous_report
        change = f" ({before.accuracy:.2f} before your last texts)" if before else ""
        lines.append(f"Its accuracy: {request.report.accuracy:.2f}{change}")
    return "\n".join(lines)


def _show_classes(request: GenerationRequest) -> Iterator[str]:
    """All about each class: what it is, how the student does on it, real texts."""
    for label, name in _name_classes(request).items():
        yield "\n".join([*_tell_class(label, name, request), *_show_texts(request, label)])


def _show_sets(request: GenerationRequest) -> Iterator[str]:
    """Tell of the labels, all that is known of those the request is about; then real texts."""
    lines, others = [], []
    asked = set(request.classes)
    for label, name in _name_classes(request).items():
        told = _tell_class(label, name, request)
        if len(told) > 1 or request.class_descriptions.get(label) or label in asked:
            lines += told
        else:
            others.append(label)
    if others:
        lines.append(f"Labels that texts may have besides: {quote_all(others)}")
    yield "\n".join(lines)
    yield "\n".join(_show_texts(request))


def _tell_class(label: Label, name: str, request: GenerationRequest) -> list[str]:
    """Tell what a class is, and how the student does on it."""
    description = request.class_descriptions.get(label)
    heading = f"Label {quote(label)}" if name == str(label) else f"Label {name} is {quote(label)}"
    lines = [heading + (f": {put_in_line(description)}" if description else "")]
    score = request.report.classes.get(label) if request.report else None
    if score and (score.support or request.choices):  # without a text nothing is known of a class
        lines.append(_tell_score(label, request))
    return lines


def _tell_score(label: Label, request: GenerationRequest) -> str:
    assert request.report is not None
    score = request.report.classes[label]
    line = f"Precision {score.precision:.2f}, recall {score.recall:.2f}, F1 {score.f1:.2f}"
    if request.previous_report and label in request.previous_report.classes:
        line += f" ({request.previous_report.classes[label].f1:.2f} before your last texts)"
    mistake = "{} times missed where {} was wrongly given" if request.choices else "{} taken for {}"
    mistakes = [
        mistake.format(n, quote(predicted))
        for (true, predicted), n in request.report.confusions.items()
        if true == label
    ]
    return "; ".join([line, f"{score.support} texts", *mistakes])


def _show_texts(request: GenerationRequest, label: Label | None = None) -> list[str]:
    """Real texts, of one class if given, each once, with what the student makes of them."""

    def tell(texts: Iterable[Any], comment: Callable[[Any], str] | None = None) -> dict[str, str]:
        """Tell of each text its labels, where it may have several, and the comment."""
        told = {}
        for e in texts:
            labels = [f"labels: {quote_all(e.labels)}"] if request.choices else []
            told[e.text] = "; ".join([*labels, comment(e)] if comment else labels)
        return told

    def is_own(p: Prediction) -> bool:
        return label is None or p.label == label

    known = tell(e for e in request.examples if label is None or label in e.labels)
    right = tell(filter(is_own, request.correct), lambda p: "recognised")
    mistakes = filter(is_own, (*request.hard_negatives, *request.wrong))
    wrong = tell(mistakes, lambda p: _tell_mistake(p, request))
    # The order is part of the keys of cached answers.
    notes = known | (right | wrong if request.choices else wrong | right)
    lines = [f"- {quote(text)}" + (f" ({note})" if note else "") for text, note in notes.items()]
    return ["Real texts:", *lines] if lines else []


def _tell_mistake(p: Prediction, request: GenerationRequest) -> str:
    sure = f", confidence {p.confidence:.2f}" if p in request.hard_negatives else ""
    if not request.choices:
        return f"wrongly taken for {quote(p.predicted)}{sure}"
    mistakes = {
        "wrongly given": [other for other in p.predicted_labels if other not in p.labels],
        "missed": [own for own in p.labels if own not in p.predicted_labels],
    }
    told = (f"{what} {quote_all(labels)}" for what, labels in mistakes.items() if labels)
    return ", ".join(told) + sure


def _order(request: GenerationRequest) -> str:
    names = _name_classes(request)

    def refer(label: Label) -> str:
        """Name a class; one of another request has no number."""
        name = names.get(label, str(label))
        return quote(label) if name == str(label) else f"label {name}"

    # The id makes two requests with the same content two requests, for the LLM and for the cache.
    start = f"Request {request.id}:"
    shape = f"Answer as {dump(_sketch_answer(request, names))}"
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
        own = labels_of(label)
        alike = dict.fromkeys(c for one in own for c in request.contrasts.get(one, ()))
        others = " or ".join(refer(other) for other in alike if other not in own)
        # Only a hasty reader: the system prompt wants texts that clearly belong to their label.
        if request.choices:
            what = f"with {quote_all(own)}{' only' * (len(own) == 1)}"
            contrast = f" that a hasty reader could give {others} as well"
        else:
            what, contrast = f"for {refer(label)}", f" that a hasty reader could take for {others}"
        wanted.append(f"{n} {what}{contrast if others else ''}{lengths.get(label, '')}")
    task = f"write {request.n_texts} new texts"
    if request.kind == "rewrite":
        task = f"rewrite the wrongly taken texts into {request.n_texts} new ones"
    aim = ""
    if request.hard_negatives or request.contrasts:
        aim = " They must show the classifier how the labels that it confuses differ."
    manner = tell_manner(request, is_length_told=bool(lengths))
    end = ", each text with all of its labels." if request.choices else ""
    return f"{start} {task}, {', '.join(wanted)}.{manner}{aim} {shape}{end}"


def _sketch_answer(request: GenerationRequest, names: Mapping[Label, str]) -> dict[str, Any]:
    if request.choices:
        return {"texts": [{"text": "...", "labels": list(map(str, next(iter(request.counts))))}]}
    return {names[label]: ["..."] * min(n, 2) for label, n in request.counts.items()}
