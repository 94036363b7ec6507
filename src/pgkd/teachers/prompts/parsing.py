"""From an LLM's answer to labelled texts: every whole text is kept, nothing is invented."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import json_repair

from pgkd.inputs.text import fold_name, is_valid
from pgkd.records import NO_LABEL, Example, Label, Refusal
from pgkd.teachers.prompts.thinking import drop_thinking

#: A key, and the beginning of its list of texts.
_LIST = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*\[')
#: A text in such a list, after the comma if it is not the first.
_ITEM = re.compile(r'\s*,?\s*(?=")')
#: As the prompt has it: Label "card".
_PREFIX = re.compile(
    r"""\A\s*(?:label\b\s*:?)?\s*(["'`]?)(.*?)\1\s*\Z""", re.DOTALL | re.IGNORECASE
)
_WHOLE = re.compile(r"\A\s*(-?\d+)\.0+\s*\Z")
#: The beginning of a text with its labels.
_LABELLED = re.compile(r'\{\s*"(?:text|labels?)"\s*:')


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
    try:
        items = list(_read_items(answer, names, several))
    except RecursionError:
        items = []
    for text, given in items:
        if not isinstance(text, str) or not isinstance(given, list):
            refused.append(Refusal("malformed"))
            continue
        labels, unknown = _find_labels(given, names)
        shown = ", ".join(map(str, given))
        if not is_valid(text):
            refused.append(Refusal("malformed", text, shown))
        elif len(labels) > 1 and not several:
            refused.append(Refusal("unknown label", text, shown))
        elif not labels and (unknown or not may_be_empty):
            refused.append(Refusal("unknown label" if unknown else NO_LABEL, text, shown))
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


def load(text: str) -> Any:
    """Read JSON as `json.loads` does, but lose nothing where a key comes twice.

    Different values of one key are joined in a list.

    Examples
    --------
    >>> from pgkd.teachers.prompts.parsing import load
    >>> load('{"card": ["a"], "card": ["b", "c"], "rate": "d", "rate": "d"}')
    {'card': ['a', 'b', 'c'], 'rate': 'd'}
    """
    return json.loads(text, object_pairs_hook=join_pairs)


def join_pairs(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Make a dict in which a key that comes twice has both values."""
    joined: dict[Any, Any] = {}
    for key, value in pairs:
        if key in joined and joined[key] != value:
            value = [*as_list(joined[key]), *as_list(value)]
        joined[key] = value
    return joined


_DECODER = json.JSONDecoder(object_pairs_hook=join_pairs)


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, anything else in one."""
    return value if isinstance(value, list) else [value]


def _read_items(
    answer: str, names: Mapping[str, Label], several: bool
) -> Iterator[tuple[Any, Any]]:
    """Yield each text with the list of the names of its labels."""
    answer = drop_thinking(answer)
    try:
        document = load(answer)
    except (ValueError, RecursionError):
        if salvaged := _salvage(answer, names, several):
            yield from salvaged
            return
        document = repair(answer, may_end=("}", "]") if several else ("}",))
    # A bare list can only be of the one class that was asked for.
    is_bare = isinstance(document, list) and all(isinstance(item, str) for item in document)
    is_clear = is_bare and len(set(names.values())) == 1 and not several
    yield from _split(document, names, several, next(iter(names)) if is_clear else None)


def repair(answer: str, may_end: tuple[str, ...] = ("}", "]")) -> Any:
    """Read what is whole but no JSON: single quotes, a comma too many; else an empty list."""
    answer = answer.strip("`\n ")
    try:
        if "\\" not in answer:  # as Python writes it, where no key is lost that comes twice
            return _evaluate(ast.parse(answer, mode="eval").body)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    # What was cut off must not be repaired, or its last text would be taken for whole.
    return json_repair.loads(answer) if answer.endswith(may_end) else []


def _evaluate(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return join_pairs(zip(keys, map(_evaluate, node.values), strict=True))
    if isinstance(node, (ast.List, ast.Tuple)):
        return list(map(_evaluate, node.elts))
    return ast.literal_eval(node)


def _split(
    document: Any, names: Mapping[str, Label], several: bool, name: str | None = None
) -> Iterator[tuple[Any, Any]]:
    """Yield each text of a document, however deep, with the names of its labels.

    It is in a list under the name of its class or, of several labels, with the list of them. Other
    keys say nothing; the one around a text is shown as its label where no class is.
    """
    if isinstance(document, list):
        is_pair = len(document) == 2 and _names_class(document[0], names)
        if is_pair and name is None and not several:  # ["card", "..."]
            yield from _split(document[1], names, several, document[0])
            return
        for item in document:
            yield from _split(item, names, several, name)
    elif isinstance(document, dict):
        if pairs := _pair_up(document, names, several, name):
            yield from pairs
            return
        if _is_labelled(document, names, several):
            around = None if several or name is None else [name]
            given = document.get("labels", document.get("label", around))
            yield document["text"], [given] if isinstance(given, (str, int)) else given
            return
        is_known = name is not None and find_label(name, names) is not None
        for key, value in document.items():
            own = find_label(str(key), names) is not None
            is_other = own and find_label(str(key), names) != find_label(str(name), names)
            if is_known and is_other and not str(key).isdigit():  # of which of the two classes?
                yield None, None
            else:
                yield from _split(value, names, several, name if is_known else str(key))
    elif (inner := _read_inner(document)) and not _names_class(name, names):
        yield from _split(inner, names, several, name)
    elif several or name is None:
        yield document, None
    else:
        yield document, [name]


def _read_inner(value: Any) -> Any:
    """Read an answer that is a JSON string, in which the JSON is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return None
    try:
        return load(value)
    except (ValueError, RecursionError):
        return None


def _is_labelled(item: Mapping[str, Any], names: Mapping[str, Label], several: bool) -> bool:
    """Whether it is a text with its labels; a class may be called "text"."""
    return "text" in item and (several or (isinstance(item["text"], str) and "text" not in names))


def _pair_up(
    item: Mapping[str, Any], names: Mapping[str, Label], several: bool, around: str | None
) -> list[tuple[Any, Any]]:
    """Read ``{"message": "...", "class": "card"}``: of two values, only one can be the label."""
    values = [as_list(value) for value in item.values()]
    known = [all(_names_class(own, names) for own in value) for value in values]
    if sorted(known) != [False, True] or any(_names_class(key, names) for key in item):
        return []
    texts, labels = values[known.index(False)], values[known.index(True)]
    own = {find_label(str(label), names) for label in (around, *labels)}
    if _names_class(around, names) and len(own) > 1:  # of which of the two classes?
        return [(None, None)]
    if not all(isinstance(text, str) for text in texts):
        return []
    if several or len(labels) == 1:
        return [(text, labels) for text in texts] if labels else []
    return [(text, [label]) for text, label in zip(texts, labels)] * (len(texts) == len(labels))


def _names_class(value: Any, names: Mapping[str, Label]) -> bool:
    return isinstance(value, str) and find_label(value, names) is not None


def _salvage(answer: str, names: Mapping[str, Label], several: bool) -> list[tuple[Any, Any]]:
    """Find the whole texts, with their labels, in an answer that is no JSON as a whole."""
    sets = list(_salvage_sets(answer, names, several))
    return sets or ([] if several else list(_salvage_lists(answer)))


def _salvage_lists(answer: str) -> Iterator[tuple[Any, list[str]]]:
    """Find the lists of texts; take their whole texts."""
    for start in _LIST.finditer(answer):
        name = json_repair.loads(f'"{start.group(1)}"')
        end = start.end()
        while item := _ITEM.match(answer, end):
            try:
                text, end = _DECODER.raw_decode(answer, item.end())
            except ValueError:
                break
            yield text, [str(name)]


def _salvage_sets(
    answer: str, names: Mapping[str, Label], several: bool
) -> Iterator[tuple[Any, Any]]:
    """Find the whole texts, each with its labels."""
    for start in _LABELLED.finditer(answer):
        try:
            item, _ = _DECODER.raw_decode(answer, start.start())
        except (ValueError, RecursionError):
            continue
        if several or _is_labelled(item, names, several):
            yield from _split(item, names, several)


def find_label(name: str, names: Mapping[str, Label]) -> Label | None:
    """Find the class that `name` stands for; white space and case may differ if that is no guess.

    A whole number may be written as 3.0, and "card" as 'Label "card"'.

    Examples
    --------
    >>> from pgkd.teachers.prompts.parsing import find_label
    >>> names = {"Open": 1, "open": 2, "Closed": 3}
    >>> [find_label(name, names) for name in ("open", "OPEN", "closed")]
    [2, None, 3]
    """
    for spelling in (name, _WHOLE.sub(r"\1", name), _PREFIX.sub(r"\2", name)):
        if spelling in names:
            return names[spelling]
        alike = [label for known, label in names.items() if fold_name(known) == fold_name(spelling)]
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None
