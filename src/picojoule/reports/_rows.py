"""The flat tables behind CSV and Parquet: one row a region and domain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from picojoule.reports import units

if TYPE_CHECKING:
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
