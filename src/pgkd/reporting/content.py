"""What a report says, section by section. Markdown and the page are two ways to write it."""

from __future__ import annotations

from pgkd.reporting.blocks import Section
from pgkd.reporting.findings import Findings
from pgkd.reporting.sections.progress import say_ladder, say_steps, say_teacher
from pgkd.reporting.sections.quality import say_confusions, say_gains, say_probabilities
from pgkd.reporting.sections.texts import say_sent, say_texts, say_usage
from pgkd.reporting.sections.worth import say_worth


def write_sections(found: Findings) -> tuple[Section, ...]:
    """Say all that there is to say."""
    parts = {
        ("worth", "What was it worth?"): say_worth(found),
        ("teacher", "What the teacher is good for"): say_teacher(found),
        ("ladder", "What each route brought"): say_ladder(found),
        ("steps", "Steps"): say_steps(found),
        ("classes", "Gain by class"): say_gains(found),
        ("confusions", "What is mistaken for what"): say_confusions(found),
        ("probabilities", "Probabilities"): say_probabilities(found),
        ("texts", "What became of the texts"): say_texts(found),
        ("usage", "Usage"): say_usage(found),
        ("sent", "What the teacher was shown"): say_sent(found),
    }
    sections = (Section(*head, tuple(blocks)) for head, blocks in parts.items())
    return tuple(section for section in sections if section.blocks)
