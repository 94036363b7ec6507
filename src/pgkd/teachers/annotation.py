"""The teacher as an annotator: it labels texts."""

from __future__ import annotations

import json
import re
from typing import Any

from pgkd.records import NO_ANSWER, AnnotationRequest, Example, Message, Refusal
from pgkd.teachers.label_sets import name, read_names
from pgkd.teachers.parsing import find_label
from pgkd.teachers.prompts import quote

SYSTEM = (
    "You label texts for a text classifier. Give each text the one label that fits it best, "
    "chosen from its own list. Answer with JSON only."
)
SETS_SYSTEM = (
    "You label texts for a text classifier. Give each text all labels that fit it, chosen from its "
    "own list, and no others. Answer with JSON only."
)
#: What the LLM answers when no label of the list fits: a label is never forced on a text.
NONE = "none of these"

_PAIR = re.compile(r'"(\d+)"\s*:\s*("(?:[^"\\]|\\.)*")')
_LIST = re.compile(r'"(\d+)"\s*:\s*(\[\s*(?:"(?:[^"\\]|\\.)*"\s*(?:,\s*"(?:[^"\\]|\\.)*"\s*)*)?\])')


def answer_schema(request: AnnotationRequest) -> dict[str, Any]:
    """JSON schema of the answer: ``{"<number of the text>": "<label>", ...}``."""
    properties: dict[str, dict[str, Any]] = {
        str(i): {"type": "string", "enum": [*map(str, shortlist), NONE]}
        for i, shortlist in enumerate(request.shortlists, start=1)
    }
    if request.multilabel:  # none of these: an empty list
        properties = {
            i: {"type": "array", "items": {"type": "string", "enum": rule["enum"][:-1]}}
            for i, rule in properties.items()
        }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def render(request: AnnotationRequest) -> list[Message]:
    """Render a request as chat messages."""
    parts = []
    if request.task_description:
        parts.append(f"Task of the classifier: {request.task_description}")
    parts += [_label(label, request) for label in dict.fromkeys(sum(request.shortlists, ()))]
    # Texts with the same list share it: among hundreds of classes it is most of the prompt.
    shared = len(set(request.shortlists)) == 1
    if shared:
        parts.append(
            "The labels of each text are among these."
            if request.multilabel
            else f"The label of each text is one of these, or {quote(NONE)}."
        )
    for i, (text, shortlist) in enumerate(zip(request.texts, request.shortlists), start=1):
        lines = [f"Text {i}: {quote(text)}"]
        if not shared:
            choices = ", ".join(map(quote, shortlist if request.multilabel else [*shortlist, NONE]))
            which = "Its labels are among" if request.multilabel else "Its label is one of"
            lines.append(f"{which}: {choices}")
        parts.append("\n".join(lines))
    own = ["..."] if request.multilabel else "..."
    answer = {str(i): own for i in range(1, min(len(request.texts), 2) + 1)}
    none = ", with an empty list for a text that none fits" if request.multilabel else ""
    parts.append(
        f"Request {request.id}: label the {len(request.texts)} texts. Answer as "
        f"{json.dumps(answer)}, by the number of the text{none}."
    )
    return [
        {"role": "system", "content": SETS_SYSTEM if request.multilabel else SYSTEM},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def parse(
    answer: str, request: AnnotationRequest
) -> tuple[tuple[Example, ...], tuple[Refusal, ...]]:
    """Read the labels out of an answer; one that is not on a text's list is refused.

    Examples
    --------
    >>> from pgkd.records import AnnotationRequest
    >>> from pgkd.teachers.annotation import parse
    >>> request = AnnotationRequest("1-1", ("hi bob", "win!"), (("ham", "spam"),) * 2)
    >>> parse('{"1": "ham", "2": "scam"}', request)  # doctest: +NORMALIZE_WHITESPACE
    ((Example(text='hi bob', label='ham'),),
     (Refusal(reason='unknown label', text='win!', label='scam'),))
    """
    try:
        document = json.loads(answer)
    except ValueError:
        pairs = (_LIST if request.multilabel else _PAIR).findall(answer)
        document = {number: json.loads(label) for number, label in pairs}
    if not isinstance(document, dict) or not document:
        return (), (Refusal("unreadable answer"),)
    examples = []
    refused = []
    for i, (text, shortlist) in enumerate(zip(request.texts, request.shortlists), start=1):
        if (given := document.get(str(i))) is None:  # where an answer is cut off
            refused.append(Refusal(NO_ANSWER, text))
            continue
        if request.multilabel:
            names = given if isinstance(given, list) else [given]
            labels, unknown = read_names(names, shortlist)
            if labels or (request.may_be_empty and not unknown):
                examples.append(Example(text, labels))
                refused += [Refusal("unknown label", label=other) for other in unknown]
            else:
                reason = "unknown label" if unknown else "no label fits"
                refused.append(Refusal(reason, text, ", ".join(map(str, names))))
            continue
        label = find_label(str(given), {str(label): label for label in shortlist})
        if label is not None:
            examples.append(Example(text, label))
        else:
            reason = "no label fits" if given == NONE else "unknown label"
            refused.append(Refusal(reason, text, str(given)))
    return tuple(examples), tuple(refused)


def _label(label: Any, request: AnnotationRequest) -> str:
    description = request.class_descriptions.get(label)
    lines = [f"Label {quote(label)}" + (f": {description}" if description else "")]
    own = [e for e in request.examples if label in e.labels]
    if request.multilabel:
        lines += [f"- {quote(e.text)} (labels: {name(e.labels)})" for e in own]
    else:
        lines += [f"- {quote(e.text)}" for e in own]
    return "\n".join(lines)
