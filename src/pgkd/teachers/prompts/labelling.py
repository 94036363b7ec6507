"""The teacher as an annotator: it labels texts, by the letter of an option."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from string import ascii_uppercase
from typing import Any

from pgkd.inputs.text import fold_name
from pgkd.records import AnnotationRequest, Label, Message, labels_of
from pgkd.teachers.prompts.parts import TASK, object_schema, put_in_line, quote, quote_all

SYSTEM = (
    "You label texts for a text classifier. Give each text the one option that fits it best, by "
    "its letter. Answer with JSON only."
)
SETS_SYSTEM = (
    "You label texts for a text classifier. Give each text all options that fit it, by their "
    "letters, and no others. Answer with JSON only."
)
#: What the LLM answers when no label of the list fits: a label is never forced on a text.
NONE = "none of these"


def name_options(shortlist: Sequence[Label], multilabel: bool) -> dict[str, Label | None]:
    """Map the letter of each option to its label; the last one, of one label a text, to ``None``.

    A letter is one token, and no likelier for what a label is called. One that is a label's own
    name is left out: so an answer means one thing.

    Examples
    --------
    >>> from pgkd.teachers.prompts.labelling import name_options
    >>> name_options(("card", "pin"), multilabel=False)
    {'A': 'card', 'B': 'pin', 'C': None}
    >>> name_options(("B", "b+"), multilabel=True)
    {'A': 'B', 'C': 'b+'}
    """
    names = {fold_name(str(label)) for label in shortlist}
    letters = (letter for letter in map(_letters, count()) if fold_name(letter) not in names)
    return dict(zip([next(letters) for _ in shortlist], shortlist)) | (
        {} if multilabel else {next(letters): None}
    )


def _letters(i: int) -> str:
    """Name option number `i`: A to Z, then AA, AB and so on."""
    head = _letters(i // 26 - 1) if i >= 26 else ""
    return head + ascii_uppercase[i % 26]


def answer_schema(request: AnnotationRequest) -> dict[str, Any]:
    """JSON schema of the answer: ``{"<number of the text>": "<letter>", ...}``."""
    properties: dict[str, dict[str, Any]] = {}
    for i, shortlist in enumerate(request.shortlists, start=1):
        rule = {"type": "string", "enum": [*name_options(shortlist, request.multilabel)]}
        properties[str(i)] = {"type": "array", "items": rule} if request.multilabel else rule
    return object_schema(properties)


def is_choice(schema: Mapping[str, Any]) -> bool:
    """Whether an answer is one option a text, whose probabilities say how sure the LLM is."""
    rules = schema.get("properties", {}).values()
    return bool(rules) and all("enum" in rule for rule in rules)


def render(request: AnnotationRequest) -> list[Message]:
    """Render a request as chat messages."""
    parts = []
    if request.task_description:
        parts.append(f"{TASK}{put_in_line(request.task_description)}")
    # Texts with the same list share it: among hundreds of classes it is most of the prompt.
    shared = len(set(request.shortlists)) == 1
    if shared:
        options = name_options(request.shortlists[0], request.multilabel)
        lines = [_option(code, label, request) for code, label in options.items()]
        parts.append("\n".join(["Options:", *lines]))
    else:
        labels = dict.fromkeys(sum(request.shortlists, ()))
        parts.append("\n".join(_label(f"Label {quote(c)}", c, request) for c in labels))
    for i, (text, shortlist) in enumerate(zip(request.texts, request.shortlists), start=1):
        lines = [f"Text {i}: {quote(text)}"]
        if not shared:
            options = name_options(shortlist, request.multilabel)
            names = (f"{code}. {_name(label)}" for code, label in options.items())
            lines.append(f"Options: {', '.join(names)}")
        parts.append("\n".join(lines))
    own = ["..."] if request.multilabel else "..."
    answer = {str(i): own for i in range(1, min(len(request.texts), 2) + 1)}
    none = ", with an empty list for a text that none fits" if request.multilabel else ""
    texts = f"{len(request.texts)} texts" if len(request.texts) > 1 else "text"
    parts.append(
        f"Request {request.id}: label the {texts}. Answer as "
        f"{json.dumps(answer)}, the letter by the number of the text{none}."
    )
    return [
        {"role": "system", "content": SETS_SYSTEM if request.multilabel else SYSTEM},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def _name(label: Label | None) -> str:
    return NONE if label is None else quote(label)


def _option(code: str, label: Label | None, request: AnnotationRequest) -> str:
    return f"{code}. {NONE}" if label is None else _label(f"{code}. {quote(label)}", label, request)


def _label(heading: str, label: Label, request: AnnotationRequest) -> str:
    description = request.class_descriptions.get(label)
    lines = [heading + (f": {put_in_line(description)}" if description else "")]
    own = [e for e in request.examples if label in labels_of(e.label)]
    for e in own:
        note = f" (labels: {quote_all(e.labels)})" if request.multilabel else ""
        lines.append(f"- {quote(e.text)}{note}")
    return "\n".join(lines)
