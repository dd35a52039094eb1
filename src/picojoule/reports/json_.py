"""The whole profile for other programs. Every energy carries its interval and its provenance."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

from picojoule.reports import _facts, _flops, _state, units

if TYPE_CHECKING:
    from picojoule.kernels import Device, Kernel
    from picojoule.results import Estimate, Profile, Region

SCHEMA = "picojoule.profile/1"
LEVEL = 0.95


def render(profile: Profile) -> str:
    """All there is, series included, as one JSON document."""
    return json.dumps(to_dict(profile, series=True), allow_nan=False) + "\n"


def to_dict(profile: Profile, *, series: bool = False) -> dict[str, Any]:
    """The profile as plain values; unknown numbers are None.

    Args:
        profile: what a measurement found.
        series: with power, readings, spans and runs of kernels, which can be long.
    """
    out = {
        "schema": SCHEMA,
        "level": LEVEL,
        "name": profile.name,
        "begin_ns": profile.begin_ns,
        "end_ns": profile.end_ns,
        "duration_s": profile.duration_s,
        "energy_j": profile.energy_j,
        "watts": profile.watts,
        "total": estimate(profile.total),
        "counted": profile.counted,
        "energy": {
            domain: {**estimate(e), "counted": domain in profile.counted}
            for domain, e in profile.energy.items()
        },
        "regions": [_region(r) for r in profile.regions],
        "kernels": [_kernel(k) for k in profile.kernels],
        "flops": _flops.facts(profile),
        "counters": _state.facts(profile, series=series),
        "state": _state.lines(profile),
        "devices": [_device(d) for d in profile.kernels.devices],
        "channels": [dataclasses.asdict(c) for c in profile.channels],
        "gaps": [dataclasses.asdict(g) for g in profile.gaps],
        "overhead": profile.overhead,
        "meta": profile.meta,
        "warnings": profile.warnings,
        "findings": profile.findings,
    }
    if series:
        out["power"] = [
            {
                "domain": p.domain,
                "provenance": p.provenance,
                "edges_ns": p.edges_ns,
                "watts": p.watts,
            }
            for p in profile.power
        ]
        out["readings"] = _columns(profile.readings)
        out["spans"] = _columns(profile.spans)
        out["paths"] = profile.paths
        # "kernel" is a position in the list of kernels.
        out["kernel_runs"] = _columns(profile.kernels.runs)
    found: dict[str, Any] = _facts.plain(out)
    return found


def estimate(e: Estimate) -> dict[str, Any]:
    """An energy with its 95 % interval, with and without the meter's own scale."""
    low, high = units.bounds(e, LEVEL)
    low_absolute, high_absolute = units.bounds(e, LEVEL, absolute=True)
    return {
        "joules": e.joules,
        "low_j": low,
        "high_j": high,
        "low_absolute_j": low_absolute,
        "high_absolute_j": high_absolute,
        "std_j": e.std_j,
        "below_j": e.below_j,
        "above_j": e.above_j,
        "gain_std": e.gain_std,
        "provenance": None if math.isnan(e.joules) else e.provenance,
        "resolved": e.resolved,
        "basis": e.basis,
    }


def _region(region: Region) -> dict[str, Any]:
    return {
        "path": region.path,
        "calls": region.calls,
        "duration_s": region.duration_s,
        "self_s": region.self_s,
        "watts": region.watts,
        "concurrent": region.concurrent,
        "open_at_end": region.open_at_end,
        "total": estimate(region.total),
        "energy": {domain: estimate(e) for domain, e in region.energy.items()},
    }


def _kernel(kernel: Kernel) -> dict[str, Any]:
    fields = (
        *("name", "short_name", "kind", "region", "domain", "stream", "grid", "block"),
        *("calls", "time_s", "least_s", "most_s", "watts"),
        *("flops", "executed_flops", "bytes", "flops_source", "flops_type", "op"),
        *("captured", "unmatched", "identified", "group"),
    )
    return {**{name: getattr(kernel, name) for name in fields}, "energy": estimate(kernel.energy)}


def _device(device: Device) -> dict[str, Any]:
    return {
        "domain": device.domain,
        "busy_s": device.busy_s,
        "idle_s": device.idle_s,
        "busy": estimate(device.busy),
        "idle": estimate(device.idle),
        "spread": device.spread,
        "groups": {name: estimate(e) for name, e in device.groups.items()},
        "idle_in": [
            {"region": gap.region, "time_s": gap.time_s, "energy_j": gap.energy_j}
            for gap in device.idle_in
        ],
        "unattributed_j": device.unattributed_j,
        "residual_j": device.residual_j,
        "edge_std_ns": device.edge_std_ns,
        "drift": device.drift,
        "outliers": device.outliers,
        "context": device.context,
    }


def _columns(rows: Any) -> dict[str, Any]:
    return {name: rows[name] for name in rows.dtype.names or ()}
