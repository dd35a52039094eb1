"""What several outputs say about a profile, found once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from picojoule.reports import units
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.results import Estimate, Profile, Region

#: What each way of knowing means, for a reader who never heard of it.
MEANING = {
    "measured": "an energy counter of the hardware said so",
    "counted": "counted by the hardware, and free of any model",
    "modelled": "readings of a meter, completed by a model of what lies between or below them",
    "estimated": "no meter: activity times a published range of power",
    "simulated": "no meter and no measurement: a simulated sensor of made-up power",
}


def domains(profile: Profile) -> list[tuple[str, bool, bool]]:
    """Every domain once as (name, counted, inside another): what is not added follows its whole."""
    extra = [d for d in profile.energy if d not in profile.counted]
    out: list[tuple[str, bool, bool]] = []
    for whole in (d for d in profile.counted if d in profile.energy):
        out.append((whole, True, False))
        inside = [d for d in extra if d.startswith(whole + "/") or _sibling(d, whole)]
        out += [(d, False, True) for d in inside]
        extra = [d for d in extra if d not in inside]
    return out + [(d, False, False) for d in extra]


def _sibling(domain: str, whole: str) -> bool:
    """Whether both are parts of one device, as ``cpu:0/core`` and ``cpu:0/package`` are."""
    return "/" in domain and "/" in whole and domain.split("/")[0] == whole.split("/")[0]


def how(estimate: Estimate, parts: Sequence[Estimate] = ()) -> str:
    """The provenance in words: a sum in which only something is estimated is "part estimated"."""
    if math.isnan(estimate.joules):
        return units.UNKNOWN
    known = [p.provenance for p in parts if not math.isnan(p.joules)]
    if len(set(known)) > 1:
        return f"part {estimate.provenance}"
    return estimate.provenance


def how_of(item: Region | Profile, counted: Sequence[str]) -> str:
    """The provenance of a region's or a profile's total, a sum over ``counted``."""
    return how(item.total, [item.energy[d] for d in counted if d in item.energy])


def share(region: Region, profile: Profile) -> float:
    """Of the profile's joules; nan if either is unknown or the region is not resolved."""
    whole = profile.total.joules
    if not region.total.resolved or not whole > 0:
        return math.nan
    return region.total.joules / whole


def largest(regions: Sequence[Region], limit: int | None) -> Sequence[Region]:
    """The largest ``limit`` regions at most, each with its ancestors; still in pre-order."""
    if limit is None or len(regions) <= limit:
        return regions
    places = {r.path: i for i, r in enumerate(regions)}
    order = sorted(
        range(len(regions)),
        key=lambda i: (
            -(
                regions[i].duration_s
                if math.isnan(regions[i].total.joules)
                else regions[i].total.joules
            )
        ),
    )
    kept: set[int] = set()
    for i in order:
        path = regions[i].path
        line = {places[path[:n]] for n in range(1, len(path) + 1) if path[:n] in places}
        if len(kept | line) > limit:
            break
        kept |= line
    return [r for i, r in enumerate(regions) if i in kept]


def power(region: Region) -> str:
    """The mean power of a region in words."""
    return units.power_of(region.total, region.duration_s, concurrent=region.concurrent)


def device_of(profile: Profile, domain: str) -> tuple[str, str]:
    """Device and note of the channel a domain's energy comes from; "" where there is none."""
    of_domain = [c for c in profile.channels if c.domain == domain and c.tells_energy]
    of_domain.sort(key=lambda c: c.quantity != "energy")
    if not of_domain:
        return "", ""
    notes = dict.fromkeys(clean(c.note) for c in of_domain if c.note)
    return clean(of_domain[0].device), "; ".join(notes)


def gaps(profile: Profile) -> list[str]:
    """A sentence for each domain and reason."""
    groups: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for gap in profile.gaps:
        key = (clean(gap.domain), clean(gap.reason))
        groups.setdefault(key, []).append((gap.begin_ns, gap.end_ns))
    out = []
    for (domain, reason), stretches in groups.items():
        lost = sum(end - begin for begin, end in stretches) * 1e-9
        begin, end = max(stretches, key=lambda s: s[1] - s[0])
        at = units.seconds((begin - profile.begin_ns) * 1e-9)
        many = f" in {len(stretches):,} gaps, the longest" if len(stretches) > 1 else ""
        longest = f" {units.seconds((end - begin) * 1e-9)}" if many else ""
        out.append(
            f"{domain}: no reading for {units.seconds(lost)}{many}{longest} from {at}"
            f"{': ' + reason if reason else ''}"
        )
    return out


def overhead(profile: Profile) -> list[str]:
    """What the measurement cost and lost, in phrases, the important first."""
    cost = profile.overhead
    out = []
    core = cost.get("sampler_core_share", math.nan)
    if math.isnan(core) and profile.duration_s > 0:
        core = cost.get("sampler_cpu_s", math.nan) / profile.duration_s
    if not math.isnan(core):
        out.append(f"sampler {units.percent(core)} of one core")
    if "polls" in cost:
        out.append(f"{units.count(cost['polls'])} polls")
    for key, words in _LOSSES.items():
        if cost.get(key, 0) > 0:
            out.append(f"{units.count(cost[key])} {words}")
    return out


_LOSSES = {
    "polls_late": "polls late",
    "ticks_missed": "meter ticks missed",
    "counter_resets": "counter resets",
    "spans_dropped": "region calls not on the timeline",
    "spans_folded": "short region calls folded on the timeline",
    "journal_records_lost": "journal records lost",
}


def refused(profile: Profile) -> list[tuple[str, str, str]]:
    """Meters that exist and would not answer: (what, why, remedy)."""
    out = []
    for finding in profile.findings:
        if finding.get("state") == "refused":
            what = ": ".join(clean(finding[k]) for k in ("meter", "subject") if finding.get(k))
            out.append((what, clean(finding.get("why", "")), clean(finding.get("remedy", ""))))
    return out


def absent(profile: Profile) -> list[str]:
    """Names of meters that this machine does not have."""
    found = (f.get("meter", "") for f in profile.findings if f.get("state") == "absent")
    return list(dict.fromkeys(clean(name) for name in found if name))


def scale(estimate: Estimate) -> str:
    """What the uncertainty of the absolute scale does to a measured number; "" if nothing."""
    if not estimate.gain_std > 0 or math.isnan(estimate.joules) or not estimate.resolved:
        return ""
    low, high = units.bounds(estimate, absolute=True)
    if not math.isfinite(high) or (low, high) == units.bounds(estimate):
        return ""
    return units.interval(low, high)


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: no nan, no numpy, no tuple; what it cannot know as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy, without importing it
        found = value.tolist()
        if getattr(value, "ndim", 0) == 1 and value.dtype.kind == "f":
            return [v if math.isfinite(v) else None for v in found]
        if getattr(value, "ndim", 0) == 1 and value.dtype.kind in "iub":
            return found
        return plain(found)
    return str(value)
