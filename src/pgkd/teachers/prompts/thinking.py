"""What an LLM says to itself before it answers: its drafts are no answer."""

from __future__ import annotations

import json
import re

_FLAGS = re.DOTALL | re.IGNORECASE | re.MULTILINE
#: What an LLM's thinking is called, as in <think>, <seed:think> or <inner_monologue>.
_NAME = r"[\w:.-]*(?:think|thought|reason|reflect|scratchpad|analysis|monologue)[\w:.-]*"
#: Marks around it. An element of any other name before the answer is none of it, either.
_PAIR = re.compile(
    rf"<({_NAME})(?:\s[^<>]*)?>.*?<\\?/\s*\1\s*>"
    rf"|\[THINK\].*?\[/THINK\]|```{_NAME}\s.*?```"
    rf"|\A\W*{_NAME}\W*:.*?^\W*(?:final )?answer\W*:"
    r"|\A\s*<(?!(?:\w*answer|\w*response|output|result|solution|json|final)\b)([a-z][\w:.-]*)"
    r"(?:\s[^<>]*)?>.*?</\s*\2\s*>(?=[^{\[]*[{\[])",
    _FLAGS,
)
#: Where it ends, if its beginning was in the prompt or is written in another way.
_END = re.compile(
    rf"<\\?/\s*(?:{_NAME})\s*>|\[/THINK\]|\u25c1/think\u25b7|<\|channel\|>final<\|message\|>"
    rf"|<\|(?:/|end_(?:of_)?){_NAME}\|>|<unused95>|<channel\|>"
    r"|(?<=\S)assistantfinal(?=\s*[{\[])",
    _FLAGS,
)
_BEGINNING = re.compile(
    rf"\s*(?:<{_NAME}(?:\s[^<>]*)?>|\[THINK\]|\u25c1think\u25b7|<\|channel\|?>(?:analysis|thought)"
    rf"|<\|(?:begin_of_|start_)?{_NAME}\|>|<unused94>)",
    _FLAGS,
)


def drop_thinking(answer: str) -> str:
    """Return what follows the thinking of an LLM.

    Examples
    --------
    >>> from pgkd.teachers.prompts.thinking import drop_thinking
    >>> drop_thinking('<think>{"1": "A"}? No.</think>{"1": "B"}')
    '{"1": "B"}'
    >>> drop_thinking("<think>cut off")
    ''
    """
    for pattern in (_PAIR, _END):
        while not _is_json(answer) and (found := pattern.search(answer)):  # a text may speak of it
            start = found.start() if pattern is _PAIR else 0
            answer = answer[:start] + answer[found.end() :]
    return "" if _BEGINNING.match(answer) else answer


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
