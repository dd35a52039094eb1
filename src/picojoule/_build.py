"""From a raw trace to a ``Profile``: joins what the native analysis found into plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from picojoule import _core
from picojoule.results import (
    UNKNOWN,
    Channel,
    Estimate,
    Gap,
    PowerSeries,
    Profile,
    Region,
    RegionTable,
)

if TYPE_CHECKING:
    from picojoule.flops.energy_prior import Priors
from picojoule._build_counters import counter_table
from picojoule._build_kernels import kernel_table
from picojoule.flops.work import OP_MARK

#: Of the time in a domain, what may lack readings before its energy is called incomplete.
_TOLERATED = 0.01


def build(trace: _core.Trace, expected: Priors | None = None) -> Profile:
    """The profile that ``trace`` holds. Pure: the same trace, the same profile.

    ``expected`` is what its kernels are expected to draw, by their FLOPs and bytes.
    """
    found = trace.analyse(expected.watts, expected.cv) if expected else trace.analyse()
    channels = tuple(Channel(index=i, **_known(c)) for i, c in enumerate(trace.channels))
    warnings = list(trace.warnings)
    chosen = _energy_channels(channels)
    duration_s = (trace.end_ns - trace.begin_ns) * 1e-9
    energy: dict[str, Estimate] = {}
    for domain, channel in chosen.items():
        result = found["channels"][channel.index]
        energy[domain] = _estimate(
            channel, result["joules"], result["std_j"], bool(result["resolved"])
        )
        missing_s = result["uncovered_s"]
        if missing_s > _TOLERATED * duration_s and not math.isnan(result["joules"]):
            warnings.append(
                f"{domain}: no reading for {missing_s:.3g} s of {duration_s:.3g} s; "
                "its energy is that of the rest"
            )
        if any(f & 4 for f in result["flags"]):
            warnings.append(
                f"{domain}: its counter was reset while recording (driver or GPU reset); "
                "the energy of that tick is unknown"
            )
    counted = _counted(chosen)
    total = _sum(energy, counted)
    one_in = trace.overhead.get(_core.KERNEL_SAMPLE_KEY, 1.0)
    if one_in > 1:
        known = (
            f"solved in about one second of every {one_in:.0f}, drawn at random"
            if len(trace.kernels)
            else "shares of the mean power"
        )
        warnings.append(
            "more kernels ran than are kept one by one in memory: their sums are exact, their "
            f"joules are {known}, and there is no timeline of them. With output=... each is kept "
            "on disk"
        )
    warnings += [
        f"{channels[use['channel']].domain}: readings of like kernels differ by about "
        f"{100 * use['context']:.2g} % depending on what ran before (a power cap, a clock that "
        "follows the load, or a sensor that is not as its table says); the intervals of kernels "
        "are widened for that"
        for use in found["devices"]
        if use["context"] > 0.0
    ]
    if not counted:
        warnings.append("no meter worked here: energies are unknown; see picojoule doctor")
    environment = _environment(trace)
    paths = _paths(trace.paths)
    shown = _shown(trace, found, paths)
    # The profile's own region, and what was open around it, is no news inside the profile.
    around = _own_region(trace, paths, shown, found)
    own_path = paths[around[0]] if around else ()
    return Profile(
        name=trace.name,
        begin_ns=trace.begin_ns,
        end_ns=trace.end_ns,
        channels=channels,
        energy=MappingProxyType(energy),
        counted=counted,
        total=total,
        regions=_regions(trace, found, chosen, counted, paths, shown, around),
        kernels=kernel_table(trace, found, chosen, paths, own_path, expected),
        own_path=own_path,
        counters=counter_table(trace, channels),
        readings=_readings(trace, found, channels),
        spans=_spans(trace),
        paths=paths,
        power=tuple(_power(trace, found, c) for c in chosen.values()),
        gaps=tuple(
            Gap(channels[i].meter, channels[i].domain, begin, end, reason)
            for i, begin, end, reason in trace.gaps
            if channels[i].domain in chosen and chosen[channels[i].domain].index == i
        ),
        overhead=MappingProxyType(
            {**trace.overhead, "sampler_core_share": _share(trace.overhead, duration_s)}
        ),
        meta=MappingProxyType(
            {
                **{
                    k: v
                    for k, v in environment.items()
                    if k not in ("findings", "work", "pm_refusal")
                },
                "begin_wall_ns": trace.begin_wall_ns,
            }
        ),
        warnings=tuple(dict.fromkeys(warnings)),
        findings=tuple(environment.get("findings", ())),
    )


def _known(channel: Mapping[str, Any]) -> dict[str, Any]:
    return {k: channel[k] for k in Channel.__dataclass_fields__ if k != "index"}


def _environment(trace: _core.Trace) -> dict[str, Any]:
    known = getattr(trace, "environment", None)
    if known is not None:
        return dict(known)
    from picojoule._environment import environment

    return environment(trace)


def _share(overhead: Mapping[str, float], duration_s: float) -> float:
    spent = overhead.get("sampler_cpu_s", math.nan)
    return spent / duration_s if duration_s > 0 else math.nan


def _energy_channels(channels: tuple[Channel, ...]) -> dict[str, Channel]:
    """One series for each domain: its counter, or else a gauge, integrated."""
    chosen: dict[str, Channel] = {}
    for c in channels:
        if not c.tells_energy:
            continue
        known = chosen.get(c.domain)
        if known is None or _rank(c) < _rank(known):
            chosen[c.domain] = c
    return chosen


def _rank(channel: Channel) -> tuple[bool, bool]:
    return (channel.quantity != "energy", not channel.in_total)


def _counted(chosen: Mapping[str, Channel]) -> tuple[str, ...]:
    """Domains that add up: none contains another, no estimate beside a measurement."""
    counted = [d for d, c in chosen.items() if c.in_total]
    guesses = ("estimated", "simulated")
    measured_cpu = any(d.startswith("cpu") and chosen[d].provenance not in guesses for d in counted)
    return tuple(
        d
        for d in counted
        if not (measured_cpu and d.startswith("cpu") and chosen[d].provenance == "estimated")
    )


def _sum(energy: Mapping[str, Estimate], counted: tuple[str, ...]) -> Estimate:
    parts = [energy[d] for d in counted if d in energy]
    if not parts:
        return UNKNOWN
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _estimate(
    channel: Channel,
    joules: float,
    std_j: float,
    resolved: bool,
    solved: bool = False,
    identified: bool = False,
    cpu_unknown: float = 0.0,
) -> Estimate:
    if math.isnan(joules):
        return UNKNOWN
    if channel.provenance == "estimated":
        basis = "estimated from CPU time and a published range of watts per busy core; no meter"
    elif channel.quantity == "power":
        basis = f"{channel.meter} power readings ({channel.field}) integrated over time"
    else:
        basis = f"{channel.meter} energy counter"
    if channel.provenance == "simulated":
        basis = f"simulated, not measured: {channel.device} ({channel.field})"
    provenance = channel.provenance
    if channel.quantity == "power" and provenance == "measured":
        provenance = "modelled"  # watts are measured; that they hold between readings is a model
    if (solved or not resolved) and provenance == "measured":
        provenance = "modelled"
    if not resolved and solved:
        basis += "; shorter than the meter can see: a rate solved from readings and region times"
        if not identified:
            basis += ", which do not tell it apart from others"
    elif not resolved:
        basis += "; shorter than the meter can see: a share by time of the ticks it lies in"
    if solved and cpu_unknown >= 1.0:
        basis += "; by wall time, since how long threads computed is not known"
    elif solved and cpu_unknown > 0.0:
        basis += (
            f"; its threads' CPU time is not known for {max(0.01, cpu_unknown):.0%} of its time "
            "and taken to be as in the rest"
        )
    return Estimate(
        joules=joules,
        std_j=std_j,
        provenance=provenance,
        gain_std=channel.gain_std,
        resolved=resolved or (solved and identified),
        basis=basis,
    )


def _paths(nodes: list[tuple[int, str]]) -> tuple[tuple[str, ...], ...]:
    out: list[tuple[str, ...]] = [()]
    for parent, name in nodes[1:]:
        out.append((*out[parent], name))
    return tuple(out)


def _regions(
    trace: _core.Trace,
    found: Mapping[str, Any],
    chosen: Mapping[str, Channel],
    counted: tuple[str, ...],
    paths: tuple[tuple[str, ...], ...],
    shown: set[int],
    around: list[int],
) -> RegionTable:
    time_ns, enters, exits = found["time_ns"], found["enters"], found["exits"]
    open_at_begin, concurrent = found["open_at_begin"], found["concurrent"]
    children: dict[int, list[int]] = {}
    for i in sorted(shown):
        children.setdefault(trace.paths[i][0], []).append(i)
    out: list[Region] = []

    def make(i: int, above: tuple[str, ...]) -> Region:
        energy = {
            domain: _estimate(
                c,
                float(found["channels"][c.index]["region_joules"][i]),
                float(found["channels"][c.index]["region_std_j"][i]),
                bool(found["channels"][c.index]["region_resolved"][i]),
                bool(found["channels"][c.index]["region_solved"][i]),
                bool(found["channels"][c.index]["region_identified"][i]),
                float(found["channels"][c.index]["region_cpu_unknown"][i]),
            )
            for domain, c in chosen.items()
        }
        inner_ns = sum(int(time_ns[c]) for c in children.get(i, ()))
        return Region(
            name=paths[i][-1],
            path=(*above, paths[i][-1]),
            calls=int(enters[i]) + int(open_at_begin[i]),
            duration_s=float(time_ns[i]) * 1e-9,
            self_s=max(0.0, float(int(time_ns[i]) - inner_ns) * 1e-9),
            energy=MappingProxyType(energy),
            total=_sum(energy, counted),
            concurrent=bool(concurrent[i]),
            open_at_end=max(0, int(enters[i]) + int(open_at_begin[i]) - int(exits[i])),
        )

    def walk(i: int, above: tuple[str, ...]) -> None:
        region = make(i, above)
        out.append(region)
        below = [(make(c, region.path), c) for c in children.get(i, ())]
        for _, c in sorted(below, key=lambda b: -_weight(b[0])):
            walk(c, region.path)

    tops = [i for above in (0, *around) for i in children.get(above, ()) if i not in around]
    for i in sorted(tops, key=lambda i: -_weight(make(i, ()))):
        walk(i, ())
    return RegionTable(out)


def _shown(
    trace: _core.Trace, found: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]
) -> set[int]:
    """The regions that the tree has: those that were open, and what holds them together."""
    time_ns, enters, open_at_begin = found["time_ns"], found["enters"], found["open_at_begin"]
    shown = {
        i
        for i in range(1, len(paths))
        if (time_ns[i] or enters[i] or open_at_begin[i]) and not paths[i][-1].startswith(OP_MARK)
    }
    # A parent that was silent itself still holds its children together.
    for i in list(shown):
        parent = trace.paths[i][0]
        while parent and parent not in shown:
            shown.add(parent)
            parent = trace.paths[parent][0]
    return shown


def _weight(region: Region) -> float:
    joules = region.total.joules
    return region.duration_s if math.isnan(joules) else joules


def _own_region(
    trace: _core.Trace,
    paths: tuple[tuple[str, ...], ...],
    shown: set[int],
    found: Mapping[str, Any],
) -> list[int]:
    """The path of the profile's own region and all above it; empty if it has none."""
    own = [
        i
        for i in shown
        if trace.name and paths[i][-1] == trace.name and int(found["enters"][i]) == 1
    ]
    if not own:
        return []
    around = [min(own, key=lambda i: len(paths[i]))]
    while trace.paths[around[-1]][0]:
        around.append(trace.paths[around[-1]][0])
    return around


def _readings(trace: _core.Trace, found: Mapping[str, Any], channels: tuple[Channel, ...]) -> Any:
    import numpy as np

    dtype = [
        ("channel", "<u2"),
        ("begin_ns", "<i8"),
        ("end_ns", "<i8"),
        ("joules", "<f8"),
        ("edge_std_ns", "<f8"),
        ("flags", "u1"),
    ]
    parts = []
    for c in channels:
        line = found["channels"][c.index]
        n = max(0, len(line["time_ns"]) - 1)
        part = np.empty(n, dtype=dtype)
        if n:
            edges = line["origin_ns"] + np.rint(line["time_ns"]).astype("i8")
            part["channel"] = c.index
            part["begin_ns"], part["end_ns"] = edges[:-1], edges[1:]
            part["joules"] = np.where(
                line["broken"][1:] != 0, np.nan, np.diff(line["cumulative_j"])
            )
            part["edge_std_ns"] = line["time_std_ns"][1:]
            part["flags"] = line["flags"][1:]
            # Earlier ticks serve to learn the clock; they are not of this profile.
            part = part[(part["end_ns"] > trace.begin_ns) & (part["begin_ns"] < trace.end_ns)]
        parts.append(part)
    out = np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
    out.setflags(write=False)
    return out


def _power(trace: _core.Trace, found: Mapping[str, Any], channel: Channel) -> PowerSeries:
    import numpy as np

    line = found["channels"][channel.index]
    edges = line["origin_ns"] + np.rint(line["time_ns"]).astype("i8")
    if len(edges) < 2:
        return PowerSeries(channel.domain, channel.provenance, np.empty(0, dtype="i8"), np.empty(0))
    watts = np.diff(line["cumulative_j"]) / np.maximum(1e-9, np.diff(edges) * 1e-9)
    watts[line["broken"][1:] != 0] = np.nan
    for index, begin, end, _ in trace.gaps:
        if index == channel.index:
            watts[(edges[:-1] < end) & (edges[1:] > begin)] = np.nan
    inside = (edges[1:] > trace.begin_ns) & (edges[:-1] < trace.end_ns)
    if not inside.any():
        return PowerSeries(channel.domain, channel.provenance, np.empty(0, dtype="i8"), np.empty(0))
    first, last = np.flatnonzero(inside)[[0, -1]]
    kept = np.clip(edges[first : last + 2], trace.begin_ns, trace.end_ns)
    return PowerSeries(channel.domain, channel.provenance, kept, watts[first : last + 1])


def _spans(trace: _core.Trace) -> Any:
    import numpy as np

    rows = trace.spans
    out = np.empty(
        len(rows),
        dtype=[("begin_ns", "<i8"), ("end_ns", "<i8"), ("path", "<u4"), ("thread", "<u4")],
    )
    out["begin_ns"] = np.maximum(rows["a"], trace.begin_ns)
    out["end_ns"] = np.minimum(rows["b"], trace.end_ns)
    out["path"], out["thread"] = rows["d"], rows["c"]
    out.setflags(write=False)
    return out
