"""Texts with several labels: what an LLM is asked for, and how its answer is read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import json_repair

from pgkd.inputs.text import is_valid
from pgkd.records import Example, GenerationRequest, Label, Message, Refusal
from pgkd.teachers.prompts import writing
from pgkd.teachers.prompts.parsing import find_label
from pgkd.teachers.prompts.parsing import parse as parse_texts
from pgkd.teachers.prompts.writing import quote

SYSTEM = (
    "You write training texts for a text classifier that gives each text all labels that fit it. "
    "Each text is a new situation in new words, as its users would send it, in the style of the "
    "real texts. Vary who writes, why, how long and with which detail. It clearly has the labels "
    "that are asked for; list all that it has, and no others. Never copy, extend or rephrase a "
    "text that you are shown. Answer with JSON only."
)
REWRITE_SYSTEM = (
    "You rewrite training texts for a text classifier that gives each text all labels that fit it. "
    "Each new text means the same as one that you are shown and keeps its labels, as another user "
    "would have sent it: same style and length, other words. Answer with JSON only."
)

#: A mistake of the student, in the report.
MISTAKE = "{} times missed where {} was wrongly given"

_DECODER = json.JSONDecoder()
#: The beginning of a text with its labels.
_ITEM = re.compile(r'\{\s*"(?:text|labels)"\s*:')


def answer_schema(request: GenerationRequest) -> dict[str, Any]:
    """JSON schema of the answer: ``{"texts": [{"text": "...", "labels": ["<class>", ...]}, ...]}``.

    That a label comes once is not said: OpenAI and Anthropic refuse ``uniqueItems``. Descriptions
    are of one label each, as where texts have one.
    """
    if request.kind == "describe":
        return writing.answer_schema(single_out(request))
    labels = {
        "type": "array",
        "items": {"type": "string", "enum": list(map(str, request.choices))},
        "minItems": 0 if () in request.counts else 1,
    }
    item = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "labels": labels},
        "required": ["text", "labels"],
        "additionalProperties": False,
    }
    n = request.n_texts
    texts = {"type": "array", "items": item, "minItems": n, "maxItems": n}
    return {
        "type": "object",
        "properties": {"texts": texts},
        "required": ["texts"],
        "additionalProperties": False,
    }


def render(request: GenerationRequest) -> list[Message]:
    """Render a request as chat messages."""
    if request.kind == "describe":
        return writing.render(single_out(request))
    parts = [writing.render_task(request), _labels(request), _texts(request), _order(request)]
    return [
        {"role": "system", "content": REWRITE_SYSTEM if request.kind == "rewrite" else SYSTEM},
        {"role": "user", "content": "\n\n".join(part for part in parts if part)},
    ]


def single_out(request: GenerationRequest) -> GenerationRequest:
    """Make the request to describe label sets of one label one about labels."""
    counts = {own: n for label, n in request.counts.items() for own in label}
    return replace(request, counts=counts, choices=())


def _labels(request: GenerationRequest) -> str:
    """Tell what each label is, and how the student does on those that the request is about."""
    lines, others = [], []
    for label in request.choices:
        description = request.class_descriptions.get(label)
        shown = request.report is not None and label in request.report.classes
        if not (description or shown or label in request.classes):
            others.append(label)
            continue
        line = f"Label {quote(label)}" + (f": {description}" if description else "")
        lines += [line, *([writing.show_score(label, request, MISTAKE)] if shown else [])]
    if others:
        lines.append(f"Labels that texts may have besides: {name(others)}")
    return "\n".join(lines)


def _texts(request: GenerationRequest) -> str:
    """Real texts, each once, with their labels and what the student makes of them."""
    notes = {e.text: f"labels: {name(e.labels)}" for e in request.examples}
    for p in request.correct:
        notes[p.text] = f"labels: {name(p.labels)}; recognised"
    for p in (*request.hard_negatives, *request.wrong):
        sure = f", confidence {p.confidence:.2f}" if p in request.hard_negatives else ""
        wrong = [
            f"{what} {name(labels)}"
            for what, labels in (
                ("wrongly given", _without(p.predicted_labels, p.labels)),
                ("missed", _without(p.labels, p.predicted_labels)),
            )
            if labels
        ]
        notes[p.text] = f"labels: {name(p.labels)}; {', '.join(wrong)}{sure}"
    lines = [f"- {quote(text)} ({note})" for text, note in notes.items()]
    return "\n".join(["Real texts:", *lines]) if lines else ""


def _order(request: GenerationRequest) -> str:
    lengths = writing.draw_lengths(request)
    wanted = []
    for label, n in request.counts.items():
        own = dict.fromkeys(other for one in label for other in request.contrasts.get(one, ()))
        others = " or ".join(map(quote, _without(tuple(own), label)))
        contrast = f" that a hasty reader could give {others} as well" if others else ""
        only = " only" if len(label) == 1 else ""
        wanted.append(f"{n} with {name(label)}{only}{contrast}{lengths.get(label, '')}")
    task = f"write {request.n_texts} new texts"
    if request.kind == "rewrite":
        task = f"rewrite the wrongly taken texts into {request.n_texts} new ones"
    aim = ""
    if request.hard_negatives or request.contrasts:
        aim = " They must show the classifier how the labels that it confuses differ."
    first = next(iter(request.counts))
    answer = {"texts": [{"text": "...", "labels": list(map(str, first))}]}
    manner = writing.render_manner(request, is_length_told=bool(lengths))
    return (
        f"Request {request.id}: {task}, {', '.join(wanted)}.{manner}{aim} "
        f"Answer as {json.dumps(answer, ensure_ascii=False)}, each text with all of its labels."
    )


def name(labels: Iterable[Label]) -> str:
    """Name a label set."""
    return ", ".join(map(quote, labels)) or "none"


def _without(labels: Sequence[Label], others: Sequence[Label]) -> list[Label]:
    return [label for label in labels if label not in others]


def parse(
    answer: str, request: GenerationRequest
) -> tuple[tuple[Example, ...], tuple[Refusal, ...]]:
    """Read the texts and their label sets out of an answer, however it is wrapped or broken.

    A label that is none of the request's is left out and counted; a text that has no other one is
    refused.

    Examples
    --------
    >>> from pgkd.records import GenerationRequest
    >>> from pgkd.teachers.prompts.sets import parse
    >>> request = GenerationRequest("1-1", {("a", "b"): 1}, choices=("a", "b"))
    >>> answer = '{"texts": [{"text": "hi", "labels": ["b", "c", "a"]}, {"tex'
    >>> parse(answer, request)  # doctest: +NORMALIZE_WHITESPACE
    ((Example(text='hi', label=('a', 'b')),),
     (Refusal(reason='unknown label', text=None, label='c'),))
    """
    if request.kind == "describe":
        found, unread = parse_texts(answer, writing.answer_names(single_out(request)))
        return tuple(replace(e, label=(e.label,)) for e in found), unread
    examples: list[Example] = []
    refused: list[Refusal] = []
    for item in _items(answer):
        text, names = item.get("text"), item.get("labels")
        if isinstance(names, str):
            names = [names]
        if not isinstance(text, str) or not isinstance(names, list):
            refused.append(Refusal("malformed"))
            continue
        labels, unknown = read_names(names, request.choices)
        given = ", ".join(map(str, names))
        if not is_valid(text):
            refused.append(Refusal("malformed", text, given))
        elif not labels and (unknown or () not in request.counts):
            refused.append(Refusal("unknown label" if unknown else "no label fits", text, given))
        else:
            examples.append(Example(text, labels))
            refused += [Refusal("unknown label", label=other) for other in unknown]
    if not examples and not refused:
        refused.append(Refusal("unreadable answer"))
    return tuple(examples), tuple(refused)


def read_names(
    names: Iterable[Any], choices: Sequence[Label]
) -> tuple[tuple[Label, ...], list[str]]:
    """Return the label set, in the order of `choices`, and the names that are none of them."""
    known = {str(label): label for label in choices}
    found = [(str(given), find_label(str(given), known)) for given in names]
    own = {label for _, label in found if label is not None}
    unknown = [given for given, label in found if label is None]
    return tuple(label for label in choices if label in own), unknown


def find_missing_sets(request: GenerationRequest, examples: Sequence[Example]) -> Counter[Label]:
    """Count the label sets that were not delivered; a text with another set counts as one."""
    missing = Counter(request.counts) - Counter(example.label for example in examples)
    short = max(request.n_texts - len(examples), 0)
    return Counter(list(missing.elements())[:short])


def _items(answer: str) -> Iterator[dict[str, Any]]:
    try:
        document = json.loads(answer)
    except ValueError:
        salvaged = list(_salvage(answer))
        if salvaged or not answer.rstrip("`\n ").endswith(("}", "]")):
            yield from salvaged
            return
        document = json_repair.loads(answer)  # whole but no JSON
    if isinstance(document, dict):
        document = document.get("texts", document)
    for item in document if isinstance(document, list) else [document]:
        if isinstance(item, dict):
            yield item


def _salvage(answer: str) -> Iterator[dict[str, Any]]:
    for start in _ITEM.finditer(answer):
        try:
            item, _ = _DECODER.raw_decode(answer, start.start())
        except ValueError:
            continue
        yield item
