"""A section for a model card or README: score beside cost, each with its account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from picojoule.green.blocks._escape import markdown as e
from picojoule.green.blocks._story import story

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


def render(study: Study, footprint: Footprint) -> str:
    """The section."""
    s = story(study, footprint)
    lines = [
        f"## What the result of {e(s.name)} cost",
        "",
        f"{e(s.result())} Cost: {e(s.brief('it_energy'))} of IT energy, "
        f"{e(s.brief('co2e'))} of CO2e, {e(s.brief('device_hours'))} of device time, "
        f"on {e(s.hardware())}.",
        "",
        "| What | Value | Scope | How | Rests on (factor, source, year) |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {e(f.label)} | {e(f.text)} | {e(f.scope)} | {f.how} | {e(f.basis)} |"
        for f in [*s.known, *s.factors]
    ]
    lines += ["", *(f"- {e(line)}" for line in s.experiments())]
    lines += [f"- {e(note[:1].upper() + note[1:])}." for note in s.edh.notes]
    lines += [f"- {e(f.label)}: {e(f.text)} ({e(f.basis)})." for f in s.unknown]
    lines += ["", "Ranges in brackets are 95 % where they are statistical. Recorded by picojoule."]
    return "\n".join(lines) + "\n"
