"""`Report`: what a run did, step by step, and what each step gained."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pgkd.exceptions import InvalidInputError
from pgkd.reporting.content import write_sections
from pgkd.reporting.findings import Findings
from pgkd.reporting.rendering import render
from pgkd.reporting.sums import count_losses, find_confusions, find_gains, sum_up_routes
from pgkd.system.files import write_text

#: Pixels of a report in a notebook.
HEIGHT = 760
#: JupyterLab says on its body whether its theme is light; a frame would follow the system.
THEMES = "".join(
    f'[data-jp-theme-light="{is_light}"] iframe.pgkd-report{{color-scheme:{scheme}}}'
    for is_light, scheme in (("true", "light"), ("false", "dark"))
)


@dataclass(frozen=True, repr=False)
class Report(Findings):
    """What a run did: printed, it is Markdown; in notebooks, a page.

    Its attributes are those of :class:`~pgkd.reporting.findings.Findings`.
    """

    def __str__(self) -> str:
        return render(self.title, write_sections(self))

    def __repr__(self) -> str:
        return f"Report({self.comparison or 'not judged'}; `print` it, or `save` it as a page)"

    def _repr_markdown_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Show the page in a frame of its own: neither styles nor scripts get out or in."""
        style = "border:1px solid #8886;resize:vertical"
        return (
            f"<style>{THEMES}</style>"
            f'<iframe class="pgkd-report" title="{html.escape(self.title)}" '
            f'sandbox="allow-scripts" width="100%" '
            f'height="{HEIGHT}" style="{style}" srcdoc="{html.escape(self.to_html())}"></iframe>'
        )

    def to_html(self) -> str:
        """Return the page: one HTML document that loads nothing."""
        from pgkd.reporting.page import render_page  # and a template engine, not needed to print

        return render_page(self.title, write_sections(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a file.

        Every text of ``synthetic_`` is in the page, those of `X_unlabeled` among them.

        Parameters
        ----------
        path : str or path
            ``.html``: a page that needs no other file and no network. ``.md``: Markdown.

        Raises
        ------
        InvalidInputError
            If `path` ends otherwise.

        Examples
        --------
        >>> clf.report().save("report.html")  # doctest: +SKIP
        """
        path = Path(path)
        writers = {".html": self.to_html, ".md": self.__str__}
        if path.suffix not in writers:
            raise InvalidInputError(
                f"The `path` parameter of `save` must end with .html or .md. Got {str(path)!r} "
                "instead."
            )
        write_text(path, writers[path.suffix]())

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in what JSON can hold.

        A mapping whose keys are no str, such as a report's classes, is a list of pairs; a label of
        a rejected text that JSON cannot hold is its repr.
        """
        document: dict[str, Any] = _to_json(self)
        return document


def make_run_report(clf: Any) -> Report:
    """Gather a report from a fitted `PGKDClassifier`.

    Raises
    ------
    InvalidInputError
        If it was saved by a pgkd that kept the run in another form.
    """
    if not clf.history_:
        raise InvalidInputError(
            "The classifier was saved by an earlier pgkd, whose runs went another way: fit it "
            "again for a report. It predicts as before, and `synthetic_` and `usage_` are there."
        )
    texts, mask = clf.synthetic_, clf.refit_mask_
    first, last = clf.history_[0].report, clf.history_[-1].report
    return Report(
        comparison=clf.comparison_,
        n_labelled=clf.history_[0].n_accepted,
        stop_reason=clf.stop_reason_,
        steps=clf.history_,
        routes=sum_up_routes(clf.history_, texts),
        probe=clf.probe_,
        labelled_diversity=clf.labelled_diversity_,
        gains=find_gains(first, last),
        confusions=find_confusions(first, last),
        losses=count_losses(clf.history_, [t for t in texts if t.verdict != "accepted"]),
        texts=texts,
        usage=clf.usage_,
        saved=clf.saved_usage_,
        is_multilabel=clf.multilabel_,
        n_refitted=None if mask is None else int(mask.sum()),
        is_optimistic=clf.evidence is not None and clf.evidence.feedback == "validation",
        calibration=clf.calibration_,
        abstention=clf.abstention_,
        sent=clf.sent_,
        student=_name_student(clf.student_),
    )


def _name_student(student: Any) -> str:
    """Name its class or, of a pipeline, those of its steps."""
    steps = [step for _, step in getattr(student, "steps", ())] or [student]
    return " + ".join(type(step).__name__ for step in steps)


def _to_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if hasattr(value, "_asdict"):  # a named tuple
        value = value._asdict()
    if is_dataclass(value):
        return {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _to_json(item) for key, item in value.items()}
        return [[_to_json(key), _to_json(item)] for key, item in value.items()]
    if isinstance(value, frozenset):
        value = sorted(value, key=str)
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return _to_json(value.tolist())
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return repr(value)
