"""EU AI Act, Annex XI, section 1, points 2(d) and (e): compute and energy of training.

A filler for forms of providers of general-purpose models; nobody else is asked for these lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from picojoule.green.blocks._story import story
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


def render(study: Study, footprint: Footprint) -> str:
    """The lines, with method and source."""
    s = story(study, footprint)

    def line(label: str, key: str) -> str:
        f = s.figures[key]
        rests = f"; {f.basis}" if f.quantity.known and f.basis else ""
        return f"  {label}: {clean(s.told(key))}{clean(rests)}"

    out = [
        f"Regulation (EU) 2024/1689, Annex XI, section 1(2), of the study {clean(s.name)}",
        f"  scope: {s.counts.scope}",
        "(d) computational resources used to train the model",
        line("floating point operations", "flops"),
        line("training time, one run after another", "wall_s"),
        line("training time, all runs at once", "wall_parallel_s"),
        line("device-hours", "device_hours"),
        f"  hardware: {clean(s.hardware())}",
    ]
    energy = s.figures["it_energy"]
    known = "known" if energy.how in ("measured", "counted") else "estimated"
    out.append(f"(e) {known if energy.quantity.known else 'unknown'} energy consumption")
    out += [
        line("IT equipment", "it_energy"),
        line("facility, with PUE", "facility_energy"),
    ]
    if not energy.quantity.known:
        out.append("  in its place, the computational resources under (d) may be told")
    return "\n".join(out) + "\n"
