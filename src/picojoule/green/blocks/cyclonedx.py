"""CycloneDX 1.6: an ML-BOM whose model card tells energy and CO2e of the training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from picojoule._version import __version__
from picojoule.green import figures
from picojoule.green.blocks._story import Story, story
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study


def render(study: Study, footprint: Footprint) -> str:
    """A whole BOM with one component, valid by the schema of CycloneDX 1.6."""
    s = story(study, footprint)
    considerations: dict[str, Any] = {"properties": _properties(s)}
    used = _consumption(s, footprint)
    if used:
        considerations["energyConsumptions"] = [used]
    card: dict[str, Any] = {"considerations": {"environmentalConsiderations": considerations}}
    metrics = [_metric(score) for score in s.scores]
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [{"type": "application", "name": "picojoule", "version": __version__}]
            }
        },
        "components": [
            {
                "type": "machine-learning-model",
                "name": clean(s.name) or "study",
                "modelCard": card,
            }
        ],
    }
    return json.dumps(bom, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _consumption(s: Story, footprint: Footprint) -> dict[str, Any] | None:
    # The schema has one energy only: that of the facility, which is what a supplier meters.
    facility = footprint.facility_energy
    energy = facility if facility.known else footprint.it_energy
    if not energy.known:
        return None
    measure = {"value": figures.rounded(energy, "kWh"), "unit": "kWh"}
    where = ", ".join(s.counts.regions) or "supplier not told"
    out: dict[str, Any] = {
        "activity": "training",
        "energyProviders": [
            {
                "organization": {"name": clean(where)},
                "energySource": "unknown",
                "energyProvided": measure,
            }
        ],
        "activityEnergyCost": measure,
        "properties": [
            {
                "name": "picojoule:energy.scope",
                "value": "facility, with PUE" if facility.known else "IT equipment, without PUE",
            },
            {"name": "picojoule:energy.runs", "value": s.counts.scope},
        ],
    }
    if footprint.co2e.known and facility.known:
        out["co2CostEquivalent"] = {
            "value": figures.rounded(footprint.co2e, "t"),
            "unit": "tCO2eq",
        }
    return out


def _properties(s: Story) -> list[dict[str, str]]:
    out = []
    for f in [*s.figures.values(), *s.factors]:
        account = f"{f.text} [{f.how}]" + (f"; {f.basis}" if f.basis else "")
        out.append({"name": f"picojoule:{clean(f.key)}", "value": clean(account)})
    return out


def _metric(score: figures.Score) -> dict[str, Any]:
    return {
        "type": clean(score.name),
        "value": score.text.partition(" (")[0],
        "slice": f"mean over {score.over}",
    }
