"""The teacher as an annotator: it labels texts, by the letter of an option."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from pgkd.records import (
    NO_ANSWER,
    AnnotationRequest,
    Completion,
    Example,
    Label,
    Message,
    Refusal,
    labels_of,
)
from pgkd.teachers.label_sets import name
from pgkd.teachers.parsing import find_label
from pgkd.teachers.prompts import quote

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

_PAIR = re.compile(r'"(\d+)"\s*:\s*("(?:[^"\\]|\\.)*")')
_LIST = re.compile(r'"(\d+)"\s*:\s*(\[\s*(?:"(?:[^"\\]|\\.)*"\s*(?:,\s*"(?:[^"\\]|\\.)*"\s*)*)?\])')


def name_options(shortlist: Sequence[Label], multilabel: bool) -> dict[str, Label | None]:
    """Map the letter of each option to its label; the last one, of one label a text, to ``None``.

    Letters take one token, and are probable or not whatever a label is called. Where a label is
    itself a letter, numbers stand for the options, or "#1" where labels are numbers as well.

    Examples
    --------
    >>> from pgkd.teachers.annotation import name_options
    >>> name_options(("card", "pin"), multilabel=False)
    {'A': 'card', 'B': 'pin', 'C': None}
    """
    options: list[Label | None] = [*shortlist] if multilabel else [*shortlist, None]
    taken = {str(label).casefold() for label in shortlist}
    for codes in (
        [_letters(i) for i in range(len(options))],
        [str(i + 1) for i in range(len(options))],
        [f"#{i + 1}" for i in range(len(options))],
    ):
        if taken.isdisjoint(code.casefold() for code in codes):
            break
    return dict(zip(codes, options))


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
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def is_choice(schema: Mapping[str, Any]) -> bool:
    """Whether an answer is one option a text, whose probabilities say how sure the LLM is."""
    rules = schema.get("properties", {}).values()
    return bool(rules) and all("enum" in rule for rule in rules)


def render(request: AnnotationRequest) -> list[Message]:
    """Render a request as chat messages."""
    parts = []
    if request.task_description:
        parts.append(f"Task of the classifier: {request.task_description}")
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
    parts.append(
        f"Request {request.id}: label the {len(request.texts)} texts. Answer as "
        f"{json.dumps(answer)}, the letter by the number of the text{none}."
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
    >>> parse('{"1": "A", "2": "scam"}', request)  # doctest: +NORMALIZE_WHITESPACE
    ((Example(text='hi bob', label='ham'),),
     (Refusal(reason='unknown label', text='win!', label='scam'),))
    """
    document = _read(answer, request)
    if not document:
        return (), (Refusal("unreadable answer"),)
    examples = []
    refused = []
    for i, (text, shortlist) in enumerate(zip(request.texts, request.shortlists), start=1):
        if (given := document.get(str(i))) is None:  # where an answer is cut off
            refused.append(Refusal(NO_ANSWER, text))
            continue
        if request.multilabel:
            names = given if isinstance(given, list) else [given]
            labels, unknown = _read_options(names, shortlist)
            if labels or (request.may_be_empty and not unknown):
                examples.append(Example(text, labels))
                refused += [Refusal("unknown label", label=other) for other in unknown]
            else:
                reason = "unknown label" if unknown else "no label fits"
                refused.append(Refusal(reason, text, ", ".join(map(str, names))))
            continue
        if isinstance(given, list) and len(given) == 1:
            given = given[0]
        known, label = _find_option(given, shortlist, multilabel=False)
        if known and label is not None:
            examples.append(Example(text, label))
        else:
            reason = "no label fits" if known else "unknown label"
            refused.append(Refusal(reason, text, str(given)))
    return tuple(examples), tuple(refused)


def read_probabilities(
    completion: Completion, request: AnnotationRequest
) -> dict[str, dict[Label, float]]:
    """Read how probable the LLM finds each label of a text's list, where its server tells.

    The tokens that are an option's letter are the answers, text by text. The candidates beside it
    have probabilities; a letter that is not among them gets what is left of 1, shared out, and no
    more than the least one listed. Without "none of these", the rest is scaled to 1.

    Examples
    --------
    >>> from math import log
    >>> from pgkd.records import AnnotationRequest, Completion
    >>> from pgkd.teachers.annotation import read_probabilities
    >>> request = AnnotationRequest("1-1", ("hi bob",), (("ham", "spam"),))
    >>> tokens = ({'{"1": "': 0.0}, {"A": log(0.6), "B": log(0.2), "C": log(0.2)}, {'"}': 0.0})
    >>> read_probabilities(Completion('{"1": "A"}', logprobs=tokens), request)
    {'hi bob': {'ham': 0.75, 'spam': 0.25}}
    """
    if request.multilabel or any(len(shortlist) > 25 for shortlist in request.shortlists):
        return {}
    options = [name_options(shortlist, False) for shortlist in request.shortlists]
    every = {code for own in options for code in own}
    if not every <= set(ascii_uppercase):  # numbers stand for the texts as well
        return {}
    answers = [t for t in completion.logprobs if _strip(next(iter(t), "")) in every]
    if len(answers) != len(request.texts):
        return {}
    found = {}
    for text, own, token in zip(request.texts, options, answers):
        probabilities = _share_out(token, own)
        if probabilities:
            found[text] = probabilities
    return found


def _share_out(
    token: Mapping[str, float], options: Mapping[str, Label | None]
) -> dict[Label, float]:
    listed: dict[str, float] = {}
    for candidate, logprob in token.items():
        code = _strip(candidate)
        if code in options:
            listed[code] = listed.get(code, 0.0) + math.exp(min(logprob, 0.0))
    missing = [code for code in options if code not in listed]
    left = max(1 - sum(listed.values()), 0.0) / max(len(missing), 1)
    least = min(listed.values(), default=0.0)
    given = {code: listed.get(code, min(left, least)) for code in options}
    total = sum(p for code, p in given.items() if options[code] is not None)
    if total <= 0:
        return {}
    return {
        label: round(given[code] / total, 6) for code, label in options.items() if label is not None
    }


def _strip(token: str) -> str:
    return token.strip(" \"'{}:,.\n\t")


def _read(answer: str, request: AnnotationRequest) -> dict[str, Any]:
    """Read an answer by number of the text, whatever clean shape it has."""
    try:
        document = json.loads(answer)
    except ValueError:
        pairs = (_LIST if request.multilabel else _PAIR).findall(answer)
        document = {number: json.loads(label) for number, label in pairs}
        bare = _strip(answer)
        if not pairs and len(request.texts) == 1 and bare:
            options = name_options(request.shortlists[0], request.multilabel)
            return {"1": bare} if bare in options else {}
    if isinstance(document, dict) and len(document) == 1:
        only = next(iter(document.values()))
        if isinstance(only, dict):  # {"labels": {"1": ...}}
            document = only
    if not isinstance(document, dict):
        return {}
    return {str(key).split()[-1] if str(key).split() else "": v for key, v in document.items()}


def _read_options(
    names: Sequence[Any], shortlist: Sequence[Label]
) -> tuple[tuple[Label, ...], list[str]]:
    """Return the label set, in the order of the shortlist, and the names that are none of it."""
    found = [(given, *_find_option(given, shortlist, multilabel=True)) for given in names]
    own = {label for _, known, label in found if known}
    unknown = [str(given) for given, known, _ in found if not known]
    return tuple(label for label in shortlist if label in own), unknown


def _find_option(
    given: Any, shortlist: Sequence[Label], *, multilabel: bool
) -> tuple[bool, Label | None]:
    """Return whether `given` is an option, by its letter or its label's name, and the label."""
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    options = name_options(shortlist, multilabel)
    # In the letters' place: `find_label` forgives case.
    names: dict[str, Any] = {code: (label,) for code, label in options.items()}
    names |= {str(label): (label,) for label in shortlist}
    names |= {} if multilabel else {NONE: (None,)}
    found = find_label(str(given), names)
    return (False, None) if found is None else (True, found[0])


def _name(label: Label | None) -> str:
    return NONE if label is None else quote(label)


def _option(code: str, label: Label | None, request: AnnotationRequest) -> str:
    return f"{code}. {NONE}" if label is None else _label(f"{code}. {quote(label)}", label, request)


def _label(heading: str, label: Label, request: AnnotationRequest) -> str:
    description = request.class_descriptions.get(label)
    lines = [heading + (f": {description}" if description else "")]
    own = [e for e in request.examples if label in labels_of(e.label)]
    if request.multilabel:
        lines += [f"- {quote(e.text)} (labels: {name(e.labels)})" for e in own]
    else:
        lines += [f"- {quote(e.text)}" for e in own]
    return "\n".join(lines)
