"""CodeCarbon's ``emissions.csv``: kWh, W, kg, seconds.

Its energies have the PUE in them already; here they are those of the IT equipment again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.imports._table import Options, Runs, Table, number, wall_s, whole

_KWH = 3.6e6
_DOMAINS = {"cpu_energy": "cpu", "gpu_energy": "gpu", "ram_energy": "ram"}


def is_mine(table: Table) -> bool:
    """Whether the columns are CodeCarbon's."""
    return {"energy_consumed", "emissions", "duration"} <= set(table.columns)


def read(table: Table, options: Options) -> Runs:
    """One run for each tracker; of the rows that ``flush`` wrote, the last one has all of it."""
    out = Runs(table.path, "CodeCarbon", options)
    latest: dict[str, tuple[float, int, Mapping[str, Any]]] = {}
    for line, row in table.rows:
        with out.row(line):
            whole(row)
            key = str(row.get("run_id") or f"{table.path.name}:{line}")
            duration = number(row, "duration", "s")
            if math.isnan(duration):
                raise UsageError("no duration")
            if key not in latest or duration >= latest[key][0]:
                latest[key] = (duration, line, row)
    divided = False
    for key, (duration, line, row) in latest.items():
        with out.row(line):
            pue = number(row, "pue")
            pue = 1.0 if math.isnan(pue) else pue
            if pue < 1.0:
                raise UsageError(f"pue is {pue}; none is below 1")
            divided = divided or pue > 1.0
            out.add(key, **_fields(row, duration, pue))
    if divided:
        out.notes.append(
            "CodeCarbon's energies include its PUE and were divided by it: IT energy is kept"
        )
    return out


def _fields(row: Mapping[str, Any], duration: float, pue: float) -> dict[str, Any]:
    end = wall_s(row.get("timestamp"))
    gpus = number(row, "gpu_count")
    gpu = re.sub(r"^\d+ x ", "", str(row.get("gpu_model") or ""))
    has_gpu = gpus > 0 and bool(gpu)
    device = gpu if has_gpu else str(row.get("cpu_model") or "")
    energy = number(row, "energy_consumed", "kWh") * _KWH / pue
    mode = row.get("tracking_mode") or "machine"
    basis = f"CodeCarbon {row.get('codecarbon_version') or ''}".strip()
    basis += f", tracking mode {mode}; it does not say which parts were measured"
    if pue > 1.0:
        basis += f"; without the PUE {pue:g} that it had in it"
    domains = {d: number(row, n, "kWh") * _KWH / pue for n, d in _DOMAINS.items()}
    on_cloud = str(row.get("on_cloud") or "").upper() == "Y"
    region = (row.get("cloud_region") if on_cloud else "") or row.get("country_iso_code") or ""
    return {
        "name": str(row.get("project_name") or ""),
        "begin_wall_s": end - duration,
        "duration_s": duration,
        "devices": (device,) if device else (),
        "device_count": gpus if has_gpu else 1.0,
        "device_name": device,
        "energy_j": energy,
        "energy_provenance": "imported",
        "energy_basis": basis,
        "domain_j": {d: joules for d, joules in domains.items() if not math.isnan(joules)},
        "region": str(region),
        "versions": {
            name: str(row[column])
            for name, column in (
                ("python", "python_version"),
                ("codecarbon", "codecarbon_version"),
            )
            if row.get(column)
        },
        "heartbeat_wall_s": end,
    }
