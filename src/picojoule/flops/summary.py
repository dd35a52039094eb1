"""The FLOPs and bytes of a profile, from what is known of its work. Pure functions.

Model FLOPs (by formula, user or compiler) and executed FLOPs (by hardware counters) are two
numbers that are never added. What is not known is nan and is missing from ``coverage``, which says
for how much of the time and of the energy the FLOPs are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from picojoule.flops.cost import Cost
from picojoule.flops.work import (
    CAPTURED,
    OP_MARK,
    KernelCost,
    Path,
    Window,
    Work,
    below,
    total,
)

if TYPE_CHECKING:
    from picojoule.kernels import Kernel
    from picojoule.results import Profile, Region

#: Sources that looked at what the hardware did; all others say what the mathematics needs.
COUNTED = ("counter",)


@dataclass(frozen=True, slots=True)
class RegionFlops:
    """Model FLOPs of one region: its own ops, without those of inner regions."""

    path: Path
    flops: float  # of all calls; nan where an op of it is not known
    bytes: float
    by_type: Mapping[str, float]
    calls: int
    basis: str


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOPs and bytes of a profile.

    ``model`` and ``executed`` are sums over what is known, nan if nothing is; how much that is, the
    two coverages say: shares between 0 and 1 of the time, and of the energy, whose FLOPs are known
    (device time and energy where kernels were recorded, else that of the profile); nan where there
    is no such time or energy. One fused multiply-add counts 2.
    """

    model: float = math.nan
    executed: float = math.nan
    bytes: float = math.nan
    by_type: Mapping[str, float] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    coverage_time: float = math.nan
    coverage_energy: float = math.nan
    regions: tuple[RegionFlops, ...] = ()
    #: Names of ops whose FLOPs are not known, most calls first.
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    basis: str = ""

    def __bool__(self) -> bool:
        return not (math.isnan(self.model) and math.isnan(self.executed))


def with_flops(profile: Profile, work: Work) -> Profile:
    """``profile`` with the FLOPs that ``work`` tells of, for its kernels and as a whole."""
    windows = tuple(_within(w, profile.own_path) for w in work.windows)
    table = profile.kernels
    if work and len(table):
        table = table.with_rows(kernels_with_costs(tuple(table), windows, work.kernels))
        profile = replace(profile, kernels=table)
    return replace(profile, flops=summarise(profile, windows, work.notes))


def summarise(profile: Profile, windows: Sequence[Window] = (), notes: Sequence[str] = ()) -> Flops:
    """The whole profile's FLOPs: by its kernels where they were recorded, else by its regions."""
    by_region = region_flops(profile.regions, windows)
    unknown = _unknown_ops(windows)
    said = tuple(dict.fromkeys([*notes, *(n for w in windows for n in w.notes)]))
    ran = [k for k in profile.kernels if k.kind == "kernel"]
    common = {"regions": by_region, "unknown": unknown, "notes": said}
    if any(not (math.isnan(k.flops) and math.isnan(k.executed_flops)) for k in ran):
        known = [k for k in ran if not math.isnan(k.flops)]
        any_known = [k for k in ran if not (math.isnan(k.flops) and math.isnan(k.executed_flops))]
        types: dict[str, list[float]] = {}
        for k in known:
            types.setdefault(k.flops_type, []).append(k.flops)
        return Flops(
            model=_sum_known([k.flops for k in ran]),
            executed=_sum_known([k.executed_flops for k in ran]),
            bytes=_sum_known([k.bytes for k in profile.kernels]),
            by_type={t: math.fsum(v) for t, v in types.items()},
            sources=tuple(sorted({k.flops_source for k in any_known} - {""})),
            coverage_time=_share([k.time_s for k in any_known], [k.time_s for k in ran]),
            coverage_energy=_share([k.energy_j for k in any_known], [k.energy_j for k in ran]),
            basis="cost of a launch, times the launches seen",
            **common,  # type: ignore[arg-type]
        )
    if not windows:
        return Flops(**common)  # type: ignore[arg-type]
    return replace(_of_regions(profile, windows, by_region), **common)  # type: ignore[arg-type]


def region_flops(regions: Sequence[Region], windows: Sequence[Window]) -> tuple[RegionFlops, ...]:
    """Model FLOPs of each region that was entered in a window: cost of a call, times its calls."""
    out = []
    for region in regions:
        inside = sum(w.calls.get(region.path, 0) for w in windows)
        rows = [r for w in windows if w.calls.get(region.path, 0) for r in w.rows]
        if not inside:
            continue
        own = [r for r in rows if r.path == region.path]
        flops, moved, by_type = total((r.cost, r.calls) for r in own)
        times = region.calls / inside
        out.append(
            RegionFlops(
                path=region.path,
                flops=flops * times,
                bytes=moved * times,
                by_type={t: v * times for t, v in by_type.items()},
                calls=region.calls,
                basis=f"mean of {inside} call{'s' if inside > 1 else ''} looked at, times its calls"
                if inside != region.calls
                else "every call looked at",
            )
        )
    return tuple(out)


def _of_regions(
    profile: Profile, windows: Sequence[Window], by_region: Sequence[RegionFlops]
) -> Flops:
    known = [r for r in by_region if not math.isnan(r.flops)]
    # What ran outside of all regions is known for the windows' own time only.
    outside = [r for w in windows for r in w.rows if r.path == ()]
    loose_flops, loose_bytes, loose_types = total((r.cost, r.calls) for r in outside)
    shown = {r.path: r for r in profile.regions}
    tops = [r for r in profile.regions if len(r.path) == 1]
    time_s = profile.duration_s
    loose_s = max(0.0, time_s - math.fsum(r.duration_s for r in tops))
    if math.isnan(loose_flops):
        loose_seen_s = 0.0
    else:
        window_s = math.fsum((w.end_ns - w.begin_ns) * 1e-9 for w in windows)
        in_regions_s = math.fsum(
            shown[path].duration_s * calls / max(1, shown[path].calls)
            for w in windows
            for path, calls in w.calls.items()
            if len(path) == 1 and path in shown
        )
        loose_seen_s = min(loose_s, max(0.0, window_s - in_regions_s))
    known_s = loose_seen_s + math.fsum(shown[r.path].self_s for r in known)
    known_j = [_self_joules(shown[r.path], profile.regions) for r in known]
    loose_j = profile.energy_j - math.fsum(r.energy_j for r in tops)
    if loose_s > 0:
        known_j.append(max(0.0, loose_j) * loose_seen_s / loose_s)
    types: dict[str, list[float]] = {}
    for by_type in (*(r.by_type for r in known), *([] if not outside else [loose_types])):
        for name, of_type in by_type.items():
            types.setdefault(name, []).append(of_type)
    flops = [r.flops for r in known] + ([loose_flops] if outside else [])
    moved = [r.bytes for r in known] + ([loose_bytes] if outside else [])
    sources = {r.cost.source for w in windows for r in w.rows if r.cost.flops > 0}
    return Flops(
        model=_sum_known(flops),
        bytes=_sum_known(moved),
        by_type={t: math.fsum(v) for t, v in types.items()},
        sources=tuple(sorted(sources - {""})),
        # Regions that overlap (threads) count each second of each of them.
        coverage_time=min(1.0, known_s / time_s) if time_s > 0 else math.nan,
        coverage_energy=min(1.0, math.fsum(known_j) / profile.energy_j)
        if profile.energy_j > 0
        else math.nan,
        basis="ops looked at in a window, times the calls of their regions",
    )


def kernels_with_costs(
    rows: Sequence[Kernel], windows: Sequence[Window], costs: Sequence[KernelCost]
) -> list[Kernel]:
    """``rows`` with FLOPs, bytes and ops.

    What a user or a counter told of a kernel comes first, then what the ops seen in a window tell
    of the kernels that they launched.
    """
    rows = _ops_told_apart(rows, windows)
    out = []
    for k in rows:
        if k.kind != "kernel":
            out.append(k)
            continue
        told = _last([c for c in costs if c.cost.source not in COUNTED], k)
        if told is not None:
            k = replace(
                k,
                flops=told.flops * k.calls,
                bytes=k.bytes if math.isnan(told.bytes) else told.bytes * k.calls,
                flops_source=told.source if not math.isnan(told.flops) else k.flops_source,
                flops_type=told.type,
            )
        counted = _last([c for c in costs if c.cost.source in COUNTED], k)
        if counted is not None:
            k = replace(
                k,
                executed_flops=counted.flops * k.calls,
                bytes=k.bytes if math.isnan(counted.bytes) else counted.bytes * k.calls,
                flops_source=k.flops_source or counted.source,
                flops_type=k.flops_type or counted.type,
            )
        out.append(k)
    return out


def _ops_told_apart(rows: Sequence[Kernel], windows: Sequence[Window]) -> list[Kernel]:
    """Kernels launched by an op that was looked at give their cost to their like everywhere.

    While ops are counted each is a path node of its own below its region. All FLOPs of an op go to
    that of its kernels which runs longest; the others, its helpers, compute none of them. A kernel
    of the same name and shape in the same region costs the same for each launch. An op that was
    looked at while a graph was captured ran at each launch of that graph: its kernel's launches are
    taken for as many of its calls.
    """
    costs = {(*r.path, OP_MARK + r.op + "|" + r.signature): r for w in windows for r in w.rows}
    ops: dict[Path, list[Kernel]] = {}
    for k in rows:
        if k.region and k.region[-1].startswith(OP_MARK):
            ops.setdefault(k.region, []).append(k)
    # (region, name, grid, block) -> [FLOP], [bytes], [launches], types, op names, sources
    seen: dict[tuple[object, ...], list[tuple[Cost, int, int, str]]] = {}
    for path, launched in ops.items():
        row = next((costs[p] for p in _as_captured(path) if p in costs), None)
        main = max(launched, key=lambda k: k.time_s)
        for k in launched:
            cost = Cost(math.nan, math.nan, "", "", "opaque", "")
            calls = 0
            launches = k.calls
            if row is not None:
                calls = row.calls
                launches = calls if CAPTURED in path else launches
                cost = row.cost if k is main else replace(row.cost, flops=0.0, bytes=0.0)
            key = (path[:-1], k.name, k.grid, k.block)
            seen.setdefault(key, []).append((cost, calls, launches, _op_name(path[-1])))
    out = []
    for k in rows:
        path = k.region
        op = ""
        if path and path[-1].startswith(OP_MARK):
            op, path = _op_name(path[-1]), path[:-1]
        known = seen.get((path, k.name, k.grid, k.block))
        if known:
            launches = sum(n for _, _, n, _ in known)
            flops = math.fsum(c.flops * calls for c, calls, _, _ in known) / launches
            moved = math.fsum(c.bytes * calls for c, calls, _, _ in known) / launches
            names = {name for *_, name in known}
            types = {c.type for c, *_ in known if c.flops > 0}
            sources = {c.source for c, *_ in known if not math.isnan(c.flops)}
            k = replace(
                k,
                region=path,
                op=op or (names.pop() if len(names) == 1 else ""),
                flops=flops * k.calls,
                bytes=moved * k.calls,
                flops_type=types.pop() if len(types) == 1 else "",
                flops_source="+".join(sorted(sources)) if not math.isnan(flops) else "",
            )
        elif op:
            k = replace(k, region=path, op=op)
        out.append(k)
    return out


def _as_captured(path: Path) -> list[Path]:
    """The paths that may have been open when what ran in ``path`` was captured, likeliest first.

    A path of a graph is launch / <captured> / rest, where ``rest`` leaves out what both have in
    common, so that any beginning of the launch's may have stood before it.
    """
    if CAPTURED not in path:
        return [path]
    at = path.index(CAPTURED)
    launch, rest = path[:at], path[at + 1 :]
    return [(*launch[:n], *rest) for n in range(len(launch), -1, -1)]


def _op_name(node: str) -> str:
    return node.removeprefix(OP_MARK).partition("|")[0]


def _last(costs: Sequence[KernelCost], k: Kernel) -> Cost | None:
    for cost in reversed(costs):
        if (
            cost.name == k.name
            and cost.grid in (None, k.grid)
            and cost.block in (None, k.block)
            and cost.region in (None, k.region)
        ):
            return cost.cost
    return None


def _within(window: Window, prefix: Path) -> Window:
    if not prefix:
        return window
    rows = tuple(replace(r, path=below(r.path, prefix)) for r in window.rows)
    return replace(window, rows=rows, calls={below(p, prefix): c for p, c in window.calls.items()})


def _unknown_ops(windows: Sequence[Window]) -> tuple[str, ...]:
    calls: dict[str, int] = {}
    for w in windows:
        for r in w.rows:
            if math.isnan(r.cost.flops):
                calls[r.op] = calls.get(r.op, 0) + r.calls
    return tuple(sorted(calls, key=lambda op: (-calls[op], op)))


def _sum_known(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return math.fsum(known) if known else math.nan


def _share(some: Sequence[float], everything: Sequence[float]) -> float:
    whole = math.fsum(everything)
    return math.fsum(some) / whole if whole > 0 else math.nan


def _self_joules(region: Region, regions: Sequence[Region]) -> float:
    n = len(region.path)
    inner = [r.energy_j for r in regions if len(r.path) == n + 1 and r.path[:n] == region.path]
    return max(0.0, region.energy_j - math.fsum(inner))
