"""The flat tables behind CSV and Parquet: regions by domain, kernels, runs of kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from picojoule.kernels import IdleIn
from picojoule.reports import units

if TYPE_CHECKING:
    from picojoule.kernels import Kernel
    from picojoule.results import Estimate, Profile

#: Column -> type, in order.
REGION_COLUMNS: Mapping[str, type] = {
    "scope": str,  # "profile" or "region": never add rows of both
    "path": str,
    "name": str,
    "depth": int,
    "domain": str,
    "counted": bool,  # only these add up over domains
    "calls": int,
    "duration_s": float,
    "self_s": float,
    "joules": float,
    "low_j": float,
    "high_j": float,
    "std_j": float,
    "gain_std": float,
    "watts": float,
    "provenance": str,
    "resolved": bool,
    "concurrent": bool,
    "open_at_end": int,
    "basis": str,
}

#: Column -> type, in order. Rows of both scopes of a domain add up to the domain's joules.
KERNEL_COLUMNS: Mapping[str, type] = {
    "scope": str,  # "kernel"; "idle": gaps of a device; "unattributed": unexplained
    "name": str,
    "short_name": str,
    "kind": str,
    "region": str,
    "domain": str,
    "stream": int,
    "grid": str,
    "block": str,
    "calls": int,
    "time_s": float,
    "least_s": float,
    "most_s": float,
    "joules": float,
    "low_j": float,
    "high_j": float,
    "std_j": float,
    "gain_std": float,
    "watts": float,
    "provenance": str,
    "resolved": bool,
    "flops": float,
    "executed_flops": float,
    "bytes": float,
    "flops_source": str,
    "flops_type": str,
    "op": str,
    "captured": bool,
    "unmatched": bool,
    "identified": bool,
    "group": str,
    "basis": str,
}


def of_kernels(profile: Profile) -> Iterator[dict[str, Any]]:
    """Every kernel as ``Profile.kernels`` has it, in its order, then each device's gaps."""
    for k in profile.kernels:
        yield {
            "scope": "kernel",
            "name": k.name,
            "short_name": k.short_name,
            "kind": k.kind,
            "region": "/".join(k.region),
            "domain": k.domain,
            "stream": k.stream,
            **shape(k),
            "calls": k.calls,
            "time_s": k.time_s,
            "least_s": k.least_s,
            "most_s": k.most_s,
            **_energy(k.energy, k.powered_s),
            "flops": k.flops,
            "executed_flops": k.executed_flops,
            "bytes": k.bytes,
            "flops_source": k.flops_source,
            "flops_type": k.flops_type,
            "op": k.op,
            "captured": k.captured,
            "unmatched": k.unmatched,
            "identified": k.identified,
            "group": k.group,
        }
    for d in profile.kernels.devices:
        without = {**dict.fromkeys(KERNEL_COLUMNS), "domain": d.domain}
        # Gaps belong to the region that was open on the host meanwhile.
        for gap in d.idle_in or (IdleIn((), d.idle_s, d.idle.joules),):
            share = gap.time_s / d.idle_s if d.idle_s > 0 else 0.0
            energy = replace(d.idle, joules=gap.energy_j, std_j=share * d.idle.std_j)
            yield {
                **without,
                "scope": "idle",
                "region": "/".join(gap.region),
                "time_s": gap.time_s,
                **_energy(energy, gap.time_s),
            }
        if d.unattributed_j:
            energy = replace(d.idle, joules=d.unattributed_j, std_j=abs(d.unattributed_j))
            yield {**without, "scope": "unattributed", "time_s": 0.0, **_energy(energy, 0.0)}


def shape(kernel: Kernel) -> dict[str, str]:
    """Grid and block as ``128x2x1``; "" for what has none."""
    return {
        "grid": "x".join(map(str, kernel.grid)) if any(kernel.grid) else "",
        "block": "x".join(map(str, kernel.block)) if any(kernel.block) else "",
    }


def of_regions(profile: Profile) -> Iterator[dict[str, Any]]:
    """The profile's own domains first, then every region's, each with a 95 % interval."""
    for domain, e in profile.energy.items():
        yield {
            "scope": "profile",
            "path": "",
            "name": profile.name,
            "depth": None,
            "domain": domain,
            "counted": domain in profile.counted,
            "calls": None,
            "duration_s": profile.duration_s,
            "self_s": math.nan,
            **_energy(e, profile.duration_s),
            "concurrent": False,
            "open_at_end": None,
        }
    for region in profile.regions:
        # A region that no meter covered keeps its row: its time is known.
        for domain, e in (region.energy or {"": region.total}).items():
            yield {
                "scope": "region",
                "path": "/".join(region.path),
                "name": region.name,
                "depth": region.depth,
                "domain": domain,
                "counted": domain in profile.counted,
                "calls": region.calls,
                "duration_s": region.duration_s,
                "self_s": region.self_s,
                **_energy(e, region.duration_s),
                "concurrent": region.concurrent,
                "open_at_end": region.open_at_end,
            }


def _energy(e: Estimate, duration_s: float) -> dict[str, Any]:
    low, high = units.bounds(e)
    return {
        "joules": e.joules,
        "low_j": low,
        "high_j": high,
        "std_j": e.std_j,
        "gain_std": e.gain_std,
        "watts": e.joules / duration_s if duration_s > 0 else math.nan,
        "provenance": "unknown" if math.isnan(e.joules) else e.provenance,
        "resolved": e.resolved,
        "basis": e.basis,
    }
