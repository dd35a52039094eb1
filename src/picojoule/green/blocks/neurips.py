"""Item 8 of the NeurIPS paper checklist: compute resources of the experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picojoule.green import figures
from picojoule.green.blocks._escape import latex as e
from picojoule.green.blocks._story import Story, story

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


def render(study: Study, footprint: Footprint) -> str:
    """Answer and justification, in the macros of the template's checklist."""
    s = story(study, footprint)
    missing = _missing(s)
    answer = r"\answerNo{}" if missing else r"\answerYes{}"
    more = s.counts.runs - len(figures.reported(study))
    total = s.figures["device_hours"].quantity
    each = ""
    if total.known and s.counts.runs > 1:
        mean = figures.shown(total / float(s.counts.runs))
        each = f", {mean} for a run on average"
    facts = [
        f"Workers: {s.hardware()}.",
        f"Total of all {s.counts.runs:,} runs: {s.brief('device_hours')} of device time{each}; "
        f"{s.brief('it_energy')} of IT energy.",
        f"This includes {more:,} runs besides the {s.counts.runs - more:,} whose scores are "
        f"reported (tuning, ablations, evaluation, debugging), and {s.counts.failed:,} that ended "
        "without a result."
        if more or s.counts.failed
        else "No recorded run is left out; what was not recorded is not counted.",
        *s.experiments()[:2],
    ]
    if missing:
        facts.append(f"Not known: {'; '.join(missing)}.")
    return (
        "% NeurIPS checklist, item 8: experiments compute resources\n"
        f"\\item[] Answer: {answer}\n"
        f"\\item[] Justification: {e(' '.join(facts))}\n"
    )


def _missing(s: Story) -> list[str]:
    out = []
    if not s.counts.devices:
        out.append("which devices computed")
    for key in ("device_hours", "wall_s"):
        f = s.figures[key]
        if not f.quantity.known:
            out.append(f"{f.label} ({f.basis or 'nothing tells it'})")
    return out
