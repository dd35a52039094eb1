"""Software Carbon Intensity: SCI = (E x I + M) per R, ISO/IEC 21031:2024, and SCI for AI.

Location-based; offsets and market-based measures have no place in it. SCI for AI has the emissions
of the whole training, intermediate runs included, for each FLOP, training token or parameter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from picojoule.green import figures
from picojoule.green.blocks._story import story
from picojoule.green.quantities import Quantity
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


def render(study: Study, footprint: Footprint) -> str:
    """Lines of text; every one with its account."""
    s = story(study, footprint)
    operational, embodied = footprint.co2e, footprint.embodied
    both = operational + embodied
    lines = [
        f"SCI (ISO/IEC 21031:2024) of the study {clean(s.name)}, boundary: {s.counts.scope}",
        _line("E  energy of the facility", s.told("facility_energy"), footprint.facility_energy),
        *(
            _line(f"I  {f.label}", f.text, f.quantity)
            for f in s.factors
            if f.label.startswith("intensity")
        ),
        _line("O = E x I", s.told("co2e"), operational),
        _line("M  embodied share", s.told("embodied"), embodied),
        _line("SCI per study (R = 1 study)", figures.shown(both), both),
    ]
    runs = float(s.counts.runs)
    if runs:
        lines.append(_line("SCI per run", figures.shown(both / runs), both))
    lines.append("SCI for AI, provider (training with all intermediate runs):")
    for name, count, why, scale in _units(study, footprint):
        words = f"SCI per {name}"
        if not (count > 0):
            lines.append(f"  {words}: unknown ({why})")
            continue
        each = both * (scale / count)
        lines.append(_line(words, figures.shown(each), both))
    lines.append("Market-based measures and offsets are not part of these figures.")
    return "\n".join(lines) + "\n"


def _units(study: Study, footprint: Footprint) -> list[tuple[str, float, str, float]]:
    examples = math.fsum(r.examples for r in figures.reported(study)) if len(study) else math.nan
    sizes = {r.parameters for r in figures.reported(study) if r.parameters > 0}
    parameters = sizes.pop() if len(sizes) == 1 else math.nan
    return [
        (
            "1e15 model FLOP",
            footprint.flops.value,
            footprint.flops.basis or "FLOPs of the runs are not known",
            1e15,
        ),
        (
            "1e6 training examples of the reported runs",
            examples if examples > 0 else math.nan,
            "say examples=",
            1e6,
        ),
        (
            "1e9 parameters",
            parameters,
            "say parameters=" if not sizes else "models of several sizes",
            1e9,
        ),
    ]


def _line(label: str, text: str, found: Quantity) -> str:
    if not found.known:
        return f"  {label}: {figures.shown(found)} ({clean(found.basis or 'nothing tells it')})"
    tag = "" if text.endswith("]") else f" [{found.provenance}]"
    return f"  {label}: {text}{tag}; {clean(found.basis)}"
