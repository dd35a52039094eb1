"""Model card metadata of the Hugging Face Hub: ``co2_eq_emissions``, in grams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picojoule.green import figures
from picojoule.green.blocks._escape import yaml
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


def render(study: Study, footprint: Footprint) -> str:
    """YAML front matter; a comment in place of emissions that are unknown."""
    counts = figures.counts(study)
    co2e = footprint.co2e
    if not co2e.known:
        why = clean(co2e.basis or "nothing tells it")
        return f"---\n# co2_eq_emissions: unknown ({why})\n---\n"
    figure = next(f for f in figures.figures(study, footprint) if f.key == "co2e")
    source = f"picojoule; location-based, operational, {counts.scope}; {figure.how}; {co2e.basis}"
    lines = [
        "---",
        "co2_eq_emissions:",
        f"  emissions: {number(figures.rounded(co2e, 'g'))}  # grams",
        f"  source: {yaml(source)}",
    ]
    further = {
        "training_type": str(study.settings.get("training_type") or ""),
        "geographical_location": _where(study, counts),
        "hardware_used": ", ".join(counts.devices),
    }
    lines += [f"  {key}: {yaml(said)}" for key, said in further.items() if said]
    return "\n".join([*lines, "---"]) + "\n"


def _where(study: Study, counts: figures.Counts) -> str:
    return ", ".join(counts.regions) or str(study.settings.get("region") or "")


def number(value: float) -> str:
    """A plain decimal: YAML 1.1 would take ``1e5`` for a string."""
    return f"{value:.0f}" if value == int(value) else f"{value:.12f}".rstrip("0")
