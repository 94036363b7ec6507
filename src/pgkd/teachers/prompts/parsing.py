"""From an LLM's answer to labelled texts: every whole text is kept, nothing is invented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import json_repair

from pgkd.inputs.text import fold_name, is_valid
from pgkd.records import Example, Label, Refusal

_DECODER = json.JSONDecoder()
#: A key, and the beginning of its list of texts.
_LIST = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*\[')
#: A text in such a list, after the comma if it is not the first.
_ITEM = re.compile(r'\s*,?\s*(?=")')
#: The beginning of a text with its labels.
_LABELLED = re.compile(r'\{\s*"(?:text|labels)"\s*:')


def parse(
    answer: str,
    names: Mapping[str, Label],
    *,
    several: bool = False,
    may_be_empty: bool = False,
) -> tuple[tuple[Example, ...], tuple[Refusal, ...]]:
    """Read the labelled texts out of an answer, however it is wrapped, cut off or broken.

    Parameters
    ----------
    answer : str
        Meant to be ``{"<class>": ["<text>", ...], ...}`` or, of texts with several labels,
        ``{"texts": [{"text": "...", "labels": ["<class>", ...]}, ...]}``.
    names : mapping of str to label
        What stands for each class in the answer.
    several : bool
        Whether a text has several labels: a tuple of them, in the order of `names`.
    may_be_empty : bool
        Whether a text may have none of them.

    Returns
    -------
    examples : tuple of Example
    refused : tuple of Refusal
        Items that cannot be used. A name that is none of `names`, but for case and white
        space, is never mapped to one that is; beside other labels of a text it is left out.

    Examples
    --------
    >>> from pgkd.teachers.prompts.parsing import parse
    >>> parse('Sure! {"a": ["one", "two"], "b": ["thr', {"a": 0, "b": 1})
    ((Example(text='one', label=0), Example(text='two', label=0)), ())
    >>> answer = '{"texts": [{"text": "hi", "labels": ["b", "c", "a"]}, {"tex'
    >>> parse(answer, {"a": 0, "b": 1}, several=True)  # doctest: +NORMALIZE_WHITESPACE
    ((Example(text='hi', label=(0, 1)),),
     (Refusal(reason='unknown label', text=None, label='c'),))
    """
    examples: list[Example] = []
    refused: list[Refusal] = []
    for text, given in _read_items(answer, several):
        if not isinstance(text, str) or not isinstance(given, list):
            refused.append(Refusal("malformed"))
            continue
        labels, unknown = _find_labels(given, names)
        shown = ", ".join(map(str, given))
        if not is_valid(text):
            refused.append(Refusal("malformed", text, shown))
        elif not labels and (unknown or not may_be_empty):
            refused.append(Refusal("unknown label" if unknown else "no label fits", text, shown))
        else:
            examples.append(Example(text, labels if several else labels[0]))
            refused += [Refusal("unknown label", label=name) for name in unknown]
    if not examples and not refused:
        refused.append(Refusal("unreadable answer"))
    return tuple(examples), tuple(refused)


def _find_labels(
    given: Iterable[Any], names: Mapping[str, Label]
) -> tuple[tuple[Label, ...], list[str]]:
    """Return the labels that are given, in the order of `names`, and what is none of them."""
    found = [(str(name), find_label(str(name), names)) for name in given]
    own = {label for _, label in found if label is not None}
    labels = dict.fromkeys(label for label in names.values() if label in own)
    return tuple(labels), [name for name, label in found if label is None]


def _read_items(answer: str, several: bool) -> Iterator[tuple[Any, Any]]:
    """Yield each text with the list of the names of its labels."""
    try:
        document = json.loads(answer)
    except ValueError:
        salvaged = list(_salvage_sets(answer) if several else _salvage_lists(answer))
        # Whole but no JSON: single quotes, a comma too many. What was cut off must not be repaired,
        # or its last text would be taken for whole.
        is_whole = answer.rstrip("`\n ").endswith(("}", "]") if several else "}")
        if salvaged or not is_whole:
            yield from salvaged
            return
        document = json_repair.loads(answer)
    yield from _split_sets(document) if several else _split_lists(document)


def _split_lists(document: Any) -> Iterator[tuple[Any, list[str]]]:
    """Yield each text of a document with a list of texts a class."""
    for name, texts in document.items() if isinstance(document, dict) else ():
        for text in texts if isinstance(texts, list) else [texts]:
            yield text, [name]


def _split_sets(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each text of a document with a list of labels a text."""
    if isinstance(document, dict):
        document = document.get("texts", document)
    for item in document if isinstance(document, list) else [document]:
        if isinstance(item, dict):
            names = item.get("labels")
            yield item.get("text"), [names] if isinstance(names, str) else names


def _salvage_lists(answer: str) -> Iterator[tuple[Any, list[str]]]:
    """Find the lists of texts in an answer that is no JSON as a whole; take their whole texts."""
    for start in _LIST.finditer(answer):
        name = json_repair.loads(f'"{start.group(1)}"')
        end = start.end()
        while item := _ITEM.match(answer, end):
            try:
                text, end = _DECODER.raw_decode(answer, item.end())
            except ValueError:
                break
            yield text, [str(name)]


def _salvage_sets(answer: str) -> Iterator[tuple[Any, Any]]:
    """Find the whole texts, each with its labels, in an answer that is no JSON as a whole."""
    for start in _LABELLED.finditer(answer):
        try:
            item, _ = _DECODER.raw_decode(answer, start.start())
        except ValueError:
            continue
        yield from _split_sets([item])


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
