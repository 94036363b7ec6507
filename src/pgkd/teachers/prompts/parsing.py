"""From an LLM's answer to labelled texts: every whole text is kept, nothing is invented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import json_repair

from pgkd.inputs.text import fold_name, is_valid
from pgkd.records import Example, Label, Refusal

_DECODER = json.JSONDecoder()
#: A key, and the beginning of its list of texts.
_LIST = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*\[')
#: A text in such a list, after the comma if it is not the first.
_ITEM = re.compile(r'\s*,?\s*(?=")')


def parse(
    answer: str, names: Mapping[str, Label]
) -> tuple[tuple[Example, ...], tuple[Refusal, ...]]:
    """Read the labelled texts out of an answer, however it is wrapped, cut off or broken.

    Parameters
    ----------
    answer : str
        Meant to be ``{"<class>": ["<text>", ...], ...}``.
    names : mapping of str to label
        What stands for each class in the answer.

    Returns
    -------
    examples : tuple of Example
    refused : tuple of Refusal
        Items that cannot be used. A name that is none of `names`, but for case and white
        space, is never mapped to one that is.

    Examples
    --------
    >>> from pgkd.teachers.prompts.parsing import parse
    >>> parse('Sure! {"a": ["one", "two"], "b": ["thr', {"a": 0, "b": 1})
    ((Example(text='one', label=0), Example(text='two', label=0)), ())
    """
    examples: list[Example] = []
    refused: list[Refusal] = []
    for name, text in _items(answer):
        label = find_label(name, names)
        if not isinstance(text, str):
            refused.append(Refusal("malformed"))
        elif not is_valid(text):
            refused.append(Refusal("malformed", text, name))
        elif label is None:
            refused.append(Refusal("unknown label", text, name))
        else:
            examples.append(Example(text, label))
    if not examples and not refused:
        refused.append(Refusal("unreadable answer"))
    return tuple(examples), tuple(refused)


def _items(answer: str) -> Iterator[tuple[str, Any]]:
    """Yield pairs of a class's name and a text."""
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
        salvaged = list(_salvage(answer))
        if salvaged:
            yield from salvaged
        elif answer.rstrip("`\n ").endswith("}"):
            # Whole but no JSON: single quotes, a comma too many. What was cut off must not come
            # here, where its last text would be taken for whole.
            document = json_repair.loads(answer)
    if isinstance(document, dict):
        for name, texts in document.items():
            for text in texts if isinstance(texts, list) else [texts]:
                yield name, text


def _salvage(answer: str) -> Iterator[tuple[str, str]]:
    """Find the lists of texts in an answer that is no JSON as a whole; take their whole texts."""
    for start in _LIST.finditer(answer):
        name = json_repair.loads(f'"{start.group(1)}"')
        end = start.end()
        while item := _ITEM.match(answer, end):
            try:
                text, end = _DECODER.raw_decode(answer, item.end())
            except ValueError:
                break
            yield str(name), text


def find_label(name: str, names: Mapping[str, Label]) -> Label | None:
    """Find the class that `name` stands for; white space and case may differ if that is no guess.

    Examples
    --------
    >>> from pgkd.teachers.prompts.parsing import find_label
    >>> names = {"Open": 1, "open": 2, "Closed": 3}
    >>> [find_label(name, names) for name in ("open", "OPEN", "closed")]
    [2, None, 3]
    """
    if name in names:
        return names[name]
    alike = [label for known, label in names.items() if fold_name(known) == fold_name(name)]
    return alike[0] if len(alike) == 1 else None
