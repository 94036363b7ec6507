"""From an annotator's answer to labels, and to how probable it finds each of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from pgkd.inputs.text import fold_name
from pgkd.records import (
    NO_ANSWER,
    NO_LABEL,
    AnnotationRequest,
    Completion,
    Example,
    Label,
    Refusal,
)
from pgkd.teachers.prompts.labelling import NONE, name_options
from pgkd.teachers.prompts.parsing import as_list, find_label, join_pairs, load, repair
from pgkd.teachers.prompts.thinking import drop_thinking

#: In an answer that is no JSON as a whole: the number of a text, and a label or the list of them.
_PAIR = re.compile(r'"(?:text )?(\d+)"\s*:\s*("(?:[^"\\]|\\.)*")', re.IGNORECASE)
_LIST = re.compile(
    r'"(?:text )?(\d+)"\s*:\s*(\[\s*(?:"(?:[^"\\]|\\.)*"\s*(?:,\s*"(?:[^"\\]|\\.)*"\s*)*)?\])',
    re.IGNORECASE,
)
#: A line such as "1. B".
_LINE = re.compile(
    r"^\W*(?:text\W*)?(\d{1,6})[*_\s]*[:.)=-]+[*_\s]*(\S.*?)\s*$", re.IGNORECASE | re.MULTILINE
)
#: How an LLM may write the number of a text, and the letter of an option.
_NUMBER = re.compile(r"\W*(?:text|message|item|number|no|id)?[\W_]*(\d{1,6})\W*", re.IGNORECASE)
_LETTER = re.compile(r"\W*(?:option\s+)?([a-z]{1,3})\W*", re.IGNORECASE)
_LETTER_AND_NAME = re.compile(r"\W*(?:option\s+)?([a-z]{1,3})\s*[.:)-]\s*(.+)", re.IGNORECASE)
_PUNCTUATION = " .,;:!*'\"`()[]"
#: What says that no option fits, unless a label is called so.
_NONES = (
    *(NONE, "none", "none of the above", "none of them", "none of these options", "null", "n/a"),
    *("none of these fit", "none of these fits", "none of these labels", "no label fits"),
)
#: How an LLM may call the number of a text and its label in an object.
_NUMBERS = ("text", "number", "id", "index", "message", "item")
_LABELS = (
    "label",
    "labels",
    "option",
    "options",
    "letter",
    "answer",
    "class",
    "category",
    "intent",
)
#: Objects around an answer, as in {"result": {"labels": {"1": "B"}}}.
_MAX_WRAPPERS = 3
_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)
#: What may surround a letter in a token; the last three are tokenizers' own marks for white space.
_AROUND = " \"'`{}[]():,.\n\t\r\u0120\u010a\u2581"


def parse(
    answer: str, request: AnnotationRequest
) -> tuple[tuple[Example, ...], tuple[Refusal, ...]]:
    """Read the labels out of an answer; one that is not on a text's list is refused.

    Examples
    --------
    >>> from pgkd.records import AnnotationRequest
    >>> from pgkd.teachers.prompts.options import parse
    >>> request = AnnotationRequest("1-1", ("hi bob", "win!"), (("ham", "spam"),) * 2)
    >>> parse('{"1": "A", "2": "scam"}', request)  # doctest: +NORMALIZE_WHITESPACE
    ((Example(text='hi bob', label='ham'),),
     (Refusal(reason='unknown label', text='win!', label='scam'),))
    """
    values = _read(answer, request)
    if not values:
        return (), (Refusal("unreadable answer"),)
    examples = []
    refused = []
    for i, (text, shortlist) in enumerate(zip(request.texts, request.shortlists), start=1):
        given = values.get(i)
        if given is None:  # where an answer is cut off
            refused.append(Refusal(NO_ANSWER, text))
            continue
        labels, unknown = _find_options(given, shortlist, request.multilabel)
        if request.multilabel:
            if labels or (request.may_be_empty and not unknown):
                own = tuple(label for label in shortlist if label in labels)
                examples.append(Example(text, own))
                refused += [Refusal("unknown label", label=other) for other in unknown]
                continue
        elif len(labels) == 1 and labels[0] is not None and not unknown:
            examples.append(Example(text, labels[0]))
            continue
        is_none = not unknown and len(labels) < 2
        reason = NO_LABEL if is_none else "unknown label"
        refused.append(Refusal(reason, text, ", ".join(map(str, as_list(given)))))
    return tuple(examples), tuple(refused)


def read_probabilities(
    completion: Completion, request: AnnotationRequest
) -> dict[str, dict[Label, float]]:
    """Read how probable the LLM finds each label of a text's list, where its server tells.

    The tokens that are the letter of an option must be the answers, one after the other; else
    nothing is read. The letters among a token's candidates have their probabilities. One that is
    not among them gets an equal share of what the candidates leave of 1, but no more than the least
    letter listed: it is less probable than any of them. Then "none of these" is left out, and the
    rest is scaled to a sum of 1.

    Examples
    --------
    >>> from math import log
    >>> from pgkd.records import AnnotationRequest, Completion
    >>> from pgkd.teachers.prompts.options import read_probabilities
    >>> request = AnnotationRequest("1-1", ("hi bob",), (("ham", "spam"),))
    >>> tokens = ({'{"1": "': 0.0}, {"A": log(0.6), "B": log(0.2), "C": log(0.2)}, {'"}': 0.0})
    >>> [found] = read_probabilities(Completion('{"1": "A"}', logprobs=tokens), request).values()
    >>> {label: round(probability, 2) for label, probability in found.items()}
    {'ham': 0.75, 'spam': 0.25}
    """
    if request.multilabel or not completion.logprobs:
        return {}
    options = {
        i: name_options(shortlist, False) for i, shortlist in enumerate(request.shortlists, start=1)
    }
    letters = set(chain.from_iterable(options.values()))
    if any(len(letter) > 1 for letter in letters):  # more than a token
        return {}
    values = {i: v for i, v in _read(completion.text, request).items() if i in options}
    answers = [_strip(str(v)).upper() for value in values.values() for v in as_list(value)]
    tokens = [t for t in completion.logprobs if _strip(next(iter(t), "")).upper() in letters]
    if answers != [_strip(next(iter(token))).upper() for token in tokens]:
        return {}
    shares = ((i, _share_out(token, options[i])) for i, token in zip(values, tokens))
    return {request.texts[i - 1]: share for i, share in shares if share}


def _share_out(
    token: Mapping[str, float], options: Mapping[str, Label | None]
) -> dict[Label, float]:
    listed: dict[str, float] = {}
    for candidate, logprob in token.items():
        letter = _strip(candidate).upper()
        if letter in options:  # with and without a quotation mark before it, say
            listed[letter] = listed.get(letter, 0.0) + math.exp(min(logprob, 0.0))
    n_missing = len(options) - len(listed)
    left = max(1 - math.fsum(math.exp(min(p, 0.0)) for p in token.values()), 0.0)
    rest = min(left / max(n_missing, 1), min(listed.values(), default=0.0))
    given = {label: listed.get(letter, rest) for letter, label in options.items()}
    given.pop(None, None)
    total = math.fsum(given.values())
    return {label: p / total for label, p in given.items()} if 0 < total < math.inf else {}


def _strip(token: str) -> str:
    return token.strip(_AROUND)


def _read(answer: str, request: AnnotationRequest) -> dict[int, Any]:
    """Read what is given to each text, by its number, in the order of the answer."""
    answer = drop_thinking(answer)
    fenced = _FENCE.fullmatch(answer)
    answer = fenced[1] if fenced else answer
    try:
        document = load(answer)
    except (ValueError, RecursionError):
        pairs = (_LIST if request.multilabel else _PAIR).findall(answer)
        if pairs:
            return join_pairs((int(number), json.loads(value)) for number, value in pairs)
        document = repair(answer) or answer.strip()
        if isinstance(document, str) and (lines := _LINE.findall(document)):
            return join_pairs((int(number), value) for number, value in lines)
    numbered = _by_number(document, request)
    for _ in range(_MAX_WRAPPERS):
        if numbered or not (isinstance(document, dict) and len(document) == 1):
            break
        [document] = document.values()  # {"labels": {"1": "B"}}
        numbered = _by_number(document, request)
    return numbered or _by_place(document, request)


def _by_number(document: Any, request: AnnotationRequest) -> dict[int, Any]:
    """Read ``{"1": "B"}``, a list of such, or a list of ``{"text": 1, "label": "B"}``."""
    pairs: list[tuple[int, Any]] = []
    for item in as_list(document):
        if isinstance(item, list) and len(item) == 2:  # ["1", "B"]
            item = {str(item[0]): item[1]}
        if not isinstance(item, dict):
            continue
        own = next((item[name] for name in _NUMBERS if name in item), None)
        number = _find_number(own, request)
        if number is not None and any(name in item for name in _LABELS):
            pairs.append((number, item))
            continue
        found = ((_find_number(key, request), value) for key, value in item.items())
        pairs += [(number, value) for number, value in found if number is not None]
    pairs = pairs or _by_option(document, request)
    numbered = join_pairs((number, _find_given(value)) for number, value in pairs)
    if set(numbered) == set(range(len(request.texts))):  # counted from 0
        numbered = {number + 1: value for number, value in numbered.items()}
    return numbered


def _by_option(document: Any, request: AnnotationRequest) -> list[tuple[int, Any]]:
    """Read ``{"card": [1, 3], "pin": [2]}``, each option with its texts."""
    if not isinstance(document, dict):
        return []
    shortlist = tuple(dict.fromkeys(chain.from_iterable(request.shortlists)))
    names = {str(label): (label,) for label in shortlist}
    found = [
        (_find_number(own, request), name)
        for name, value in document.items()
        for own in as_list(value)
    ]
    is_clear = all(_find_option(name, names) for name in document)
    return [(number, name) for number, name in found if number] if is_clear else []


def _find_number(value: Any, request: AnnotationRequest) -> int | None:
    """Read the number of a text, written as one or as the text itself, if that is no guess."""
    written = _NUMBER.fullmatch(str(value))
    number = int(written[1]) if written else None
    texts = [" ".join(text.split()) for text in request.texts]
    own = " ".join(str(value).split())
    numbered = [f"{i}. {text}" for i, text in enumerate(texts, start=1)]
    place = next((shown.index(own) + 1 for shown in (texts, numbered) if own in shown), None)
    if place is None or own == str(number):
        return number
    return place if number in (None, place) else None  # a text that is called "Text 2"


def _find_given(value: Any) -> Any:
    """Find the label in ``{"label": "B"}`` or ``{"label": "B", "reason": "..."}``."""
    if not isinstance(value, dict):
        return value
    is_scored = value and all(isinstance(score, float) for score in value.values())
    if is_scored and not value.keys() & _LABELS:  # {"A": 0.9, "B": 0.1}
        return max(value, key=value.__getitem__)
    if len(value) == 1:
        return _find_given(next(iter(value.values())))
    return next((_find_given(value[name]) for name in _LABELS if name in value), value)


def _by_place(document: Any, request: AnnotationRequest) -> dict[int, Any]:
    """Read an answer without numbers: of one text, or a list with an item for each text."""
    n = len(request.texts)
    items = [_find_given(item) for item in as_list(document)]
    if request.multilabel and n == 1 and not any(isinstance(item, list) for item in items):
        items = [items]
    if len(items) != n or None in items:
        return {}
    # Any sentence would be taken for a label, did it not have to be one.
    for item, shortlist in zip(items, request.shortlists):
        labels, unknown = _find_options(item, shortlist, request.multilabel)
        if unknown or not (labels or request.multilabel):
            return {}
    return dict(enumerate(items, start=1))


def _find_options(
    given: Any, shortlist: Sequence[Label], multilabel: bool
) -> tuple[list[Label | None], list[str]]:
    """Return the labels that are given, by letter or by name, and what is none of the options.

    Without several labels, ``None`` among them is "none of these".
    """
    letters = name_options(shortlist, multilabel)
    # Each in a tuple: "none of these" is an option, of no label.
    names: dict[str, tuple[Label | None]] = {letter: (own,) for letter, own in letters.items()}
    names |= dict.fromkeys(_NONES, (None,))
    own_names = {fold_name(str(label)) for label in shortlist}
    names = {name: own for name, own in names.items() if fold_name(name) not in own_names}
    names |= {str(label): (label,) for label in shortlist}
    labels: list[Label | None] = []
    unknown = []
    for name in map(str, as_list(given)):
        found = _find_option(name, names)
        if found is None:
            unknown.append(name)
        elif found[0] not in labels and not (multilabel and found[0] is None):
            labels.append(found[0])
    return labels, unknown


def _find_option(name: str, names: Mapping[str, Any]) -> Any:
    for spelling in (name, name.strip(_PUNCTUATION)):
        if (found := find_label(spelling, names)) is not None:
            return found
    if letter := _LETTER.fullmatch(name):  # "B." or "Option B"
        return find_label(letter[1].upper(), names)
    if both := _LETTER_AND_NAME.fullmatch(name):  # "B. card", if B is that
        option = find_label(both[1].upper(), names)
        return option if option == _find_option(both[2], names) else None
    return None
