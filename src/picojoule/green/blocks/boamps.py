"""BoAmps: a report of the energy of a computing task (Boavizta and others), as JSON.

What the study does not know is left out where the schema lets it be, and said where it does not.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
from typing import TYPE_CHECKING, Any

from picojoule._version import __version__
from picojoule.errors import UsageError
from picojoule.green import figures
from picojoule.green.blocks._story import Story, story
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint
    from picojoule.green.model import Study

_TIME = "%Y-%m-%d %H:%M:%S"
_SCHEMA = "https://raw.githubusercontent.com/Boavizta/BoAmps/main/model/report_schema.json"


def render(study: Study, footprint: Footprint) -> str:
    """The report.

    Raises:
        UsageError: the energy is unknown; BoAmps is a report of nothing else.
    """
    energy = footprint.it_energy
    if not energy.known:
        raise UsageError(f"BoAmps reports an energy, and it is unknown: {energy.basis}")
    s = story(study, footprint)
    report: dict[str, Any] = {
        "header": {
            "formatVersionSpecificationUri": _SCHEMA,
            "reportDatetime": datetime.datetime.now(tz=datetime.UTC).strftime(_TIME),
            "reportStatus": "draft",
            "publisher": {"confidentialityLevel": "internal", "projectName": clean(s.name)},
        },
        "task": _task(study, s),
        "measures": [_measure(study, footprint)],
        "system": {"os": _said(study, "os") or platform.system().lower()},
        "software": {"language": "python", **_version(study)},
        "infrastructure": {"infraType": "other", "components": _components(study, s)},
        "quality": _quality(footprint),
    }
    if s.counts.regions or study.settings.get("region"):
        region = ", ".join(s.counts.regions) or str(study.settings["region"])
        place: dict[str, Any] = {"country": clean(region)}
        intensity = [f for f in s.factors if f.label.startswith("intensity")]
        if len(intensity) == 1 and intensity[0].quantity.known:
            place["powerSourceCarbonIntensity"] = figures.rounded(intensity[0].quantity, "g/kWh")
        report["environment"] = place
    return json.dumps(report, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _task(study: Study, s: Story) -> dict[str, Any]:
    runs = figures.reported(study) or list(study)
    first = runs[0] if runs else None
    algorithm: dict[str, Any] = {"algorithmType": "not told"}
    if first is not None and first.parameters > 0:
        algorithm["parametersNumber"] = first.parameters / 1e9  # billions, by the schema
    data: dict[str, Any] = {"dataUsage": "input", "dataType": "other"}
    if first is not None and first.dataset_size > 0:
        data["dataQuantity"] = first.dataset_size
    sentences = [s.result(), *s.experiments()]
    accuracy = [x.mean for x in s.scores if x.name == "accuracy" and 0.0 <= x.mean <= 1.0]
    return {
        "taskStage": str(study.settings.get("stage") or "training"),
        "taskFamily": str(study.settings.get("task") or "not told"),
        "algorithms": [algorithm],
        "dataset": [data],
        **({"measuredAccuracy": accuracy[0]} if accuracy else {}),
        "taskDescription": clean(f"{s.counts.scope}. {' '.join(sentences)}"),
    }


def _measure(study: Study, footprint: Footprint) -> dict[str, Any]:
    energy = footprint.it_energy
    out: dict[str, Any] = {
        "measurementMethod": clean(f"picojoule ({energy.provenance}: {energy.basis})"),
        "version": __version__,
        "powerConsumption": figures.rounded(energy, "kWh"),
    }
    if footprint.wall_s.known:
        out["measurementDuration"] = round(footprint.wall_s.to("s"), 1)
    began = _when(study)
    if began:
        out["measurementDateTime"] = began
    return out


def _components(study: Study, s: Story) -> list[dict[str, Any]]:
    out = []
    for name in s.counts.devices or ("not named",):
        found = [r.device_count for r in study if r.device_name == name and r.device_count > 0]
        low = name.lower()
        kind = "cpu" if "cpu" in low or "xeon" in low or "epyc" in low else "gpu"
        out.append(
            {
                "componentName": clean(name),
                "componentType": kind if name != "not named" else "other",
                "nbComponent": max(1, math.ceil(max(found, default=1.0))),
            }
        )
    return out


def _quality(footprint: Footprint) -> str:
    energy = footprint.it_energy
    half = (energy.high - energy.low) / 2 / energy.value if energy.value > 0 else math.inf
    if energy.provenance in ("measured", "counted") and half <= 0.10:
        return "high"
    doubtful = energy.provenance in ("estimated", "imported")
    return "low" if doubtful or half > 0.25 else "medium"


def _when(study: Study) -> str:
    begun = [r.begin_wall_s for r in study if math.isfinite(r.begin_wall_s)]
    if not begun:
        return ""
    at = datetime.datetime.fromtimestamp(min(begun), tz=datetime.UTC)
    return at.strftime(_TIME)


def _version(study: Study) -> dict[str, str]:
    found = _said(study, "python")
    return {"version": found} if found else {}


def _said(study: Study, key: str) -> str:
    return next((clean(r.versions[key]) for r in study if r.versions.get(key)), "")
