"""A paragraph and a table for a paper; the table needs the package booktabs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picojoule.green.blocks._escape import latex as e
from picojoule.green.blocks._story import Story, story

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


def render(study: Study, footprint: Footprint) -> str:
    """Paragraph and table."""
    s = story(study, footprint)
    return f"% needs \\usepackage{{booktabs}}\n{_paragraph(s)}\n{_table(s)}"


def _paragraph(s: Story) -> str:
    facts = [
        s.result(),
        f"The {s.counts.runs:,} runs of the study took {s.brief('device_hours')} on "
        f"{s.hardware()}, used {s.brief('it_energy')} of IT energy and "
        f"{s.brief('facility_energy')} at the facility, "
        f"and emitted {s.brief('co2e')} of CO2e (location-based, operational).",
        *s.experiments(),
    ]
    used = [f"{f.label} {f.text} ({f.basis})" for f in s.factors if f.quantity.known]
    if used:
        facts.append(f"Factors: {'; '.join(used)}.")
    return f"\\paragraph{{Cost of the result.}} {e(' '.join(facts))}\n"


def _table(s: Story) -> str:
    rows = [
        f"{e(f.label)} & {e(f.text)} & {e(f.how)} & {e(f.basis or '--')} \\\\"
        for f in [*s.known, *s.unknown, *s.factors]
    ]
    scope = e(s.counts.scope)
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering\scriptsize",
            rf"\caption{{What the result of {e(s.name)} cost. {e(s.result())} Figures are of "
            rf"{scope}; ranges in brackets are 95\,\% where they are statistical.}}",
            r"\begin{tabular}{@{}p{.2\linewidth}p{.19\linewidth}p{.12\linewidth}p{.38\linewidth}@{}}",
            r"\toprule",
            r"What & Value & How & Rests on (factor, source, year) \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
