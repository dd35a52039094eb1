"""``emissions.csv`` with the columns of CodeCarbon 3: one row a run; kg, kWh, seconds.

As there, ``energy_consumed`` has the PUE in it and stands beside it. What is not known is empty,
never 0.
"""

from __future__ import annotations

import csv
import datetime
import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from picojoule._version import __version__
from picojoule.green import figures
from picojoule.green.model import Run, Study
from picojoule.green.quantities import Quantity
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint

COLUMNS = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions",
    "emissions_rate", "cpu_power", "gpu_power", "ram_power", "cpu_energy", "gpu_energy",
    "ram_energy", "energy_consumed", "water_consumed", "country_name", "country_iso_code",
    "region", "cloud_provider", "cloud_region", "os", "python_version", "codecarbon_version",
    "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude",
    "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent",
    "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue",
)  # fmt: skip


def render(study: Study, footprint: Footprint) -> str:
    """The file."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    factors = _by_region(study, footprint)
    for run in study:
        writer.writerow(_row(run, *factors(run.region)))
    return out.getvalue()


def _by_region(
    study: Study, footprint: Footprint
) -> Callable[[str], tuple[Quantity | None, Quantity | None, float]]:
    """Region of a run -> (facility J for each J, g for each J, PUE)."""
    regions = {r.region for r in study}
    if len(regions) <= 1:
        found = _ratios(footprint)
        return lambda _: found
    from picojoule.green import footprint as _footprint

    each = {}
    for region in regions:
        runs = [r for r in study if r.region == region]
        each[region] = _ratios(_footprint.of(Study(study.name, runs, study.settings)))
    return lambda region: each[region]


def _ratios(footprint: Footprint) -> tuple[Quantity | None, Quantity | None, float]:
    pue = [q for what, q in footprint.factors if what.startswith("PUE") and q.known]
    facility = pue[0] if len(pue) == 1 else None
    intensity = [q for what, q in footprint.factors if what.startswith("intensity") and q.known]
    co2 = facility * intensity[0] if facility is not None and len(intensity) == 1 else None
    return facility, co2, facility.value if facility is not None else math.nan


def _row(
    run: Run, facility: Quantity | None, co2: Quantity | None, pue: float
) -> dict[str, object]:
    energy = run.energy
    row: dict[str, object] = {
        "timestamp": _when(run),
        "project_name": _cell(run.study),
        "run_id": run.uid,
        "experiment_id": run.config_hash,
        "region": _cell(run.region),
        "os": _cell(run.versions.get("os", "")),
        "python_version": _cell(run.versions.get("python", "")),
        # Ours: the column says who wrote the file.
        "codecarbon_version": f"picojoule {__version__}",
        "gpu_model": _cell(run.device_name),
        "tracking_mode": "process" if run.energy_provenance == "measured" else "machine",
        "on_cloud": "",
    }
    if math.isfinite(run.duration_s):
        row["duration"] = f"{run.duration_s:.6g}"
    if math.isfinite(run.device_count):
        row["gpu_count"] = f"{run.device_count:g}"
    if math.isfinite(pue):
        row["pue"] = f"{pue:.4g}"
    if energy.known:
        with_pue = energy * facility if facility is not None else None
        # CodeCarbon takes 1.0 for a PUE that nobody told; we leave the column empty.
        row["energy_consumed"] = _number(with_pue if with_pue is not None else energy, "kWh")
        for column, names in (("gpu_energy", "gpu"), ("cpu_energy", "cpu"), ("ram_energy", "dram")):
            parts = [j for d, j in run.domain_j.items() if d.startswith(names)]
            if parts and all(math.isfinite(j) for j in parts):
                row[column] = f"{math.fsum(parts) / 3.6e6 * (1 if math.isnan(pue) else pue):.6g}"
        if co2 is not None:
            emitted = energy * co2
            row["emissions"] = _number(emitted, "kg")
            if run.duration_s > 0:
                row["emissions_rate"] = f"{emitted.to('kg') / run.duration_s:.4g}"
    return row


def _number(found: Quantity, unit: str) -> str:
    # One digit more than its range shows: these columns will be added up.
    return f"{figures.rounded(found, unit, guard=1):.12g}"


def _when(run: Run) -> str:
    if not math.isfinite(run.begin_wall_s):
        return ""
    at = datetime.datetime.fromtimestamp(run.begin_wall_s, tz=datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def _cell(text: object) -> str:
    """Names that a spreadsheet will not take for a formula."""
    safe = clean(text)
    return f"'{safe}" if safe[:1] in ("=", "+", "-", "@") else safe
