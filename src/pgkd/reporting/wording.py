"""The words of a report."""

from __future__ import annotations

from pgkd.curation.curator import NEAR_DUPLICATE

ROUTES = {
    "labelled": "labelled texts alone",
    "names": "names of the classes",
    "logs": "logs",
    "unlabelled": "unlabelled texts",
    "describe": "teacher describes",
    "label": "teacher labels",
    "write": "teacher writes",
}
STOP_REASONS = {
    "no_teacher": "there is no teacher, and all that is free was tried",
    "probe": "the probe says that this teacher cannot help",
    "exhausted": "there is nothing that the teacher could be asked for",
    "max_cycles": "`max_cycles` batches were bought",
    "patience": "on every route the last batches brought no gain",
    "budget": "the budget does not allow another request",
    "teacher_error": "the teacher failed",
    "error": "of an error",
    "interrupted": "it was interrupted",
}
_UNFINISHED = "its step was not finished, so that nothing has judged it"
REASONS = {
    "no gain out of fold": (
        "the labelled texts do not say that what the route brought helps, at any weight"
    ),
    "labelled anew": "a later step gave the text another label or weight",
    "duplicate": (
        "equal to a labelled text or an earlier one, but for case, white space and outer "
        "punctuation"
    ),
    "near duplicate": (
        "nearly equal to a labelled text or an earlier one (cosine of character trigrams "
        f"at least {NEAR_DUPLICATE})"
    ),
    "close to a gate text": (
        f"nearly equal to a text of the gate (the same cosine, at least {NEAR_DUPLICATE}): it "
        "would measure memory"
    ),
    "too long": "longer than 200 characters and than twice the longest labelled text",
    "empty": "nothing but white space and punctuation",
    "unknown label": "a label that is no class, or was not asked for; none is ever guessed",
    "malformed": "no whole text, such as one with half an emoji",
    "no label fits": "the teacher found no label of the shortlist fitting",
    "unreadable answer": "nothing could be read in the answer",
    "no answer": "the answer does not mention the text",
    "answer cut off": "the answer stopped at its token limit; whole texts before that were taken",
    "request failed": "no answer came",
    "interrupted": _UNFINISHED,
    "teacher_error": _UNFINISHED,
    "error": _UNFINISHED,
}
#: Where the texts beside the labelled ones come from.
SOURCES = {
    "name": "class name",
    "description": "class description",
    "log": "logs",
    "unlabelled": "student labelled it",
    "pool": "teacher labelled it",
    "generated": "teacher wrote it",
}
