"""What a run was worth, and what to do now."""

from __future__ import annotations

from collections.abc import Iterator

from pgkd.records import Comparison
from pgkd.reporting.blocks import (
    Block,
    Code,
    Figures,
    Paragraph,
    Strong,
    Words,
)
from pgkd.reporting.findings import Findings
from pgkd.reporting.sections.values import quote, say
from pgkd.reporting.wording import STOP_REASONS

#: A gain that nobody would notice.
SMALL_GAIN = 0.01


def say_worth(found: Findings) -> Iterator[Block]:
    """Say what the run was worth: the first thing to be seen."""
    comparison = found.comparison
    yield Figures(tuple(_list_figures(found)))
    yield say(Strong("What to do: "), *_advise(found))
    yield Paragraph(_describe(comparison))
    if found.is_optimistic and comparison is not None:
        yield say(
            Strong("That is optimistic"),
            ": with ",
            Code("feedback='validation'"),
            " the teacher was shown how the student does on these very texts. Test the student on "
            "others.",
        )
    yield say("The run stopped because ", *quote(STOP_REASONS, found.stop_reason), ".")
    if found.n_refitted is not None:
        yield say(
            Strong(
                f"Since then refit has trained student_ on {found.n_refitted} of the "
                f"{len(found.texts)} texts beside the labelled ones."
            ),
            " This report is about ",
            Code("fit"),
            ".",
        )


def _describe(comparison: Comparison | None) -> Words:
    """Say what was gained, in words."""
    if comparison is None:
        return (
            Strong("Nothing vouches for this student"),
            ": there were too few labelled texts to test it. "
            "With 40 labelled texts, drawn at random, you know its accuracy to within 15 points; "
            "with 100, to within 10; with 400, to within 5.",
        )
    what = (
        f"On {comparison.n_texts} labelled texts, each predicted by a student that had not learnt "
        "it (",
        Strong("out of fold"),
        "), ",
        Code(comparison.scoring),
        f" is {comparison.after:.3f}; with the labelled texts alone it is {comparison.before:.3f}.",
    )
    if not _has_changed(comparison):
        return (
            *what,
            " Nothing was found to help: ",
            Code("student_"),
            " has learnt the labelled texts alone.",
        )
    return (
        *what,
        f" The difference is {comparison.difference}; the interval says how far chance may have "
        "moved it, as other texts might have been labelled. The same texts have chosen what is "
        "learnt, which flatters it a little.",
    )


def _has_changed(comparison: Comparison) -> bool:
    return comparison.after != comparison.before or bool(comparison.log_loss_gain)


def _list_figures(found: Findings) -> Iterator[tuple[str, str, str]]:
    own = found.comparison
    if own is not None:
        yield "labelled texts alone", f"{own.before:.3f}", f"{own.scoring}, the baseline"
        yield "with all that was learnt", f"{own.after:.3f}", own.scoring
        low, high = own.interval
        yield "gain", f"{own.after - own.before:+.3f}", f"95 %: {low:+.3f} to {high:+.3f}"
    else:
        n_learnt = len(found.texts) - len(found.rejected)
        yield "texts learnt", f"{n_learnt}", f"beside {found.n_labelled} labelled ones"
    if not found.bill.n_requests:
        return
    note = f"for {found.bill.n_requests} requests"
    if found.saved.n_requests:
        note += f", {found.saved.n_requests} of them kept from before"
    yield "US dollars", found.bill.dollars, note


def _advise(found: Findings) -> Iterator[str]:
    """Say what follows from it."""
    own = found.comparison
    if found.n_refitted is not None:
        yield "test the student on labelled texts that it has not learnt: since "
        yield Code("refit")
        yield " it has learnt others than those that are judged here."
        return
    if own is None:
        yield "label some texts, drawn at random, and test the student before you rely on it."
        return
    if not _has_changed(own):
        yield "keep the student of the labelled texts alone; more labelled texts"
        yield ", or another teacher," if found.usage.n_requests else ", or a teacher,"
        yield " may bring more."
        return
    if not own.taken:
        yield "what was learnt does not help; "
        yield Code("clf.refit(lambda text: False)")
        yield " trains the student on the labelled texts alone."
    elif own.interval[0] > 0:
        yield "use this student. What it has learnt helps, and that is hardly luck."
    elif own.after > own.before and own.interval[1] < SMALL_GAIN:
        yield "use this student or that of the labelled texts alone: they are equally good, to "
        yield f"within {SMALL_GAIN * 100:.0f} point."
    elif own.after > own.before:
        yield "use this student, but do not count on the gain: as its interval says, it may be "
        yield "luck. Label more texts to find out."
    else:
        yield "use this student for its probabilities, which are closer to the true labels: the "
        yield f"{own.log_loss_change}. "
        yield Code(own.scoring)
        lost = own.before - own.after
        yield f" is {lost:.3f} lower, which may be chance." if lost else " is the same."
    last = found.steps[-1]
    if last.taken and last.usage.n_requests and found.stop_reason in ("max_cycles", "budget"):
        yield " The last batch was still taken, so that more of them may help: see "
        yield Code("max_cycles" if found.stop_reason == "max_cycles" else "max_cost")
        yield "."
