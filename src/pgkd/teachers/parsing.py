"""From an LLM's answer to labelled texts: every whole item is kept, nothing is invented."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import json_repair

from pgkd.records import Example, Label

#: An innermost JSON object; its braces are there, so it is whole.
_OBJECT = re.compile(r"\{[^{}]*\}")


def parse(answer: str, names: Mapping[str, Label]) -> tuple[tuple[Example, ...], dict[str, int]]:
    """Read the labelled texts out of an answer, however it is wrapped, cut off or broken.

    Parameters
    ----------
    answer : str
    names : mapping of str to label
        What stands for each class in the answer.

    Returns
    -------
    examples : tuple of Example
    rejected : dict of str to int
        Items that cannot be used, by reason. A label that is none of `names`, but for case and
        white space, is never mapped to one that is.

    Examples
    --------
    >>> from pgkd.teachers.parsing import parse
    >>> parse('Sure! {"texts": [{"label": "a", "text": "x"}, {"label": "b", "te', {"a": 0, "b": 1})
    ((Example(text='x', label=0),), {})
    """
    folded = {_fold(name): label for name, label in names.items()}
    examples: list[Example] = []
    rejected: Counter[str] = Counter()
    n_items = 0
    for item in _items(answer):
        n_items += 1
        text, name = item.get("text"), item.get("label")
        if not isinstance(text, str) or not isinstance(name, (str, int, bool)):
            rejected["malformed"] += 1
        elif str(name) not in names and _fold(str(name)) not in folded:
            rejected["unknown label"] += 1
        else:
            label = names[str(name)] if str(name) in names else folded[_fold(str(name))]
            examples.append(Example(text, label))
    if n_items == 0:
        rejected["unreadable answer"] = 1
    return tuple(examples), dict(rejected)


def _items(answer: str) -> Iterator[dict[str, Any]]:
    try:
        document = json.loads(answer)
    except ValueError:
        for match in _OBJECT.finditer(answer):
            item = json_repair.loads(match.group())
            if isinstance(item, dict) and item:
                yield item
    else:
        yield from _walk(document)


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    """Find the items wherever a model has put them: in a list, under another key, one by one."""
    if isinstance(node, dict) and "text" in node:
        yield node
    elif isinstance(node, (dict, list)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _walk(child)


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())
