"""What became of the texts, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgkd.loop.distillation import UNFINISHED
from pgkd.records import labels_of
from pgkd.reporting import charts
from pgkd.reporting.blocks import (
    Block,
    Code,
    Items,
    Strong,
    Table,
    Texts,
    Words,
)
from pgkd.reporting.findings import Findings
from pgkd.reporting.sections.values import count, dollars, say
from pgkd.reporting.sums import Loss
from pgkd.reporting.wording import REASONS, ROUTES

#: Texts shown of each reason.
N_SHOWN = 3


def say_texts(found: Findings) -> Iterator[Block]:
    """Say why texts were not learnt, and show all texts."""
    rejected = found.rejected
    if rejected:
        yield say(
            f"Of {len(found.texts)} texts beside the labelled ones, "
            f"{len(found.texts) - len(rejected)} are learnt and {len(rejected)} are not. In "
            "Python, ",
            Code("clf.report().rejected"),
            " has each of these with its reason.",
        )
    elif found.texts:
        yield say(f"All {len(found.texts)} texts beside the labelled ones are learnt.")
    groups: dict[tuple[str, str], list[Loss]] = {}
    for loss in found.losses:
        groups.setdefault((loss.verdict, loss.reason), []).append(loss)
    for (verdict, reason), own in sorted(groups.items(), key=lambda item: -_sum(item[1])):
        where = ", ".join(f"{loss.n} in step {loss.step}" for loss in own)
        explained = f". That is: {REASONS[reason]}" if reason in REASONS else ""
        texts = [t for t in rejected if (t.verdict, str(t.reason)) == (verdict, reason)]
        items = tuple((Code(t.text), " as ", name_labels(t.label)) for t in texts[:N_SHOWN])
        n_more = len(texts) - N_SHOWN
        named: Words = (Strong(f"{verdict}: {reason}"),)
        if reason not in REASONS:  # a stranger's
            named = (Strong(f"{verdict}: "), Code(reason))
        yield Items(
            (*named, f" ({where}){explained}."),
            items,
            (f"and {n_more} more",) if n_more > 0 else (),
        )
    if found.texts:
        yield Texts(found.texts)


def name_labels(label: object) -> Code:
    """Name the classes of a text."""
    return Code(", ".join(map(str, labels_of(label))) or "none")


def _sum(losses: Sequence[Loss]) -> int:
    return sum(loss.n for loss in losses)


def say_usage(found: Findings) -> Iterator[Block]:
    """Say what the teacher took."""
    usage = found.bill
    if not usage.n_requests:
        return
    line = str(usage)
    n_accepted = len(found.texts) - len(found.rejected)
    if usage.cost and n_accepted:
        line += f", which is {1000 * usage.cost / n_accepted:.4f} for 1,000 accepted texts"
    yield say(f"{line}.")
    if found.saved.n_requests:
        yield say(
            f"{found.saved.n_requests} of the answers had been kept in ",
            Code("run_dir"),
            f" and were not paid for again: {found.saved.dollars} US dollars of the sum.",
        )
    chart = charts.chart_costs(found)
    if chart.series:
        yield chart
    bills = {ROUTES.get(own.route, own.route): own.usage + own.saved for own in found.routes}
    is_cut_off = found.stop_reason in UNFINISHED
    bills["probe, unfinished step" if is_cut_off else "probe"] = found.rest_of_bill
    rows = tuple(
        (
            name,
            count(own.n_requests),
            count(own.input_tokens),
            count(own.cached_tokens),
            count(own.output_tokens),
            dollars(own),
        )
        for name, own in bills.items()
        if own.n_requests
    )
    columns = ("", "requests", "input tokens", "cached of them", "output tokens", "US dollars")
    yield Table("The bill", columns, rows)


def say_sent(found: Findings) -> Iterator[Block]:
    """Say which texts the teacher was shown, and where."""
    if found.sent is not None:
        yield say(
            Code(found.sent.model),
            f" {found.sent.told} Each is counted once. Names and descriptions of classes and the "
            "task were shown as they are.",
        )
