"""What several outputs say about kernels, found once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from picojoule.errors import UsageError
from picojoule.kernels import Device, IdleIn, Kernel, merge
from picojoule.reports import units
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.kernels import KernelTable
    from picojoule.results import Profile

#: What kernels can be listed by. "op" is the name of the innermost region for now, wherever that
#: region is in the tree; once operations have regions of their own, it will be theirs.
GROUPINGS = ("kernel", "region", "op")
SORTS = ("energy", "time", "flops")
#: Rows that a person reads; the rest becomes one.
MOST_ROWS = 12

#: Whole names behind a short one, such as those of a template, that are told.
_MOST_NAMES = 5

#: Regions whose gaps get a line.
_MOST_GAPS = 5

#: A number of FLOP that nobody told.
UNTOLD = "?"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list of kernels."""

    kernel: Kernel  # what it adds up to
    name: str
    region: str
    full: str = ""  # the names it stands for, whole
    folded: int = 0  # lines that this one stands for; 0 if it is one itself


def rows(
    table: KernelTable, by: str | None = None, sort: str = "energy", top: int | None = MOST_ROWS
) -> list[Row]:
    """The kernels of ``table`` in lines that add up to it.

    Args:
        table: of a profile.
        by: one of ``GROUPINGS``; None is a line for each kernel in each region.
        sort: one of ``SORTS``, largest first, unknown last.
        top: lines of their own at most; one more holds the sum of the rest. None for all.

    Raises:
        UsageError: there is no such grouping or order, or ``top`` is negative.
    """
    if by is not None and by not in GROUPINGS:
        raise UsageError(f"kernels are listed by {', '.join(GROUPINGS)}, not by {by!r}")
    if sort not in SORTS:
        raise UsageError(f"kernels are sorted by {', '.join(SORTS)}, not by {sort!r}")
    if top is not None and top < 0:
        raise UsageError(f"a number of rows cannot be {top}")
    merged = table.by(by) if by else table.by("kernel", "region")
    ordered = sorted(merged, key=_ORDER[sort])
    places: dict[tuple[str, str], set[str]] = {}
    names: dict[tuple[str, str], dict[str, None]] = {}
    for kernel in table:
        key = (kernel.short_name, kernel.kind)
        places.setdefault(key, set()).add(where(kernel))
        names.setdefault(key, {})[clean(kernel.name)] = None
    out = []
    for kernel in ordered[:top]:
        if by in ("region", "op"):
            out.append(Row(kernel, clean(kernel.name), ""))
            continue
        key = (kernel.name, kernel.kind)
        regions = {where(kernel)} if by is None else places[key]
        only = next(iter(regions)) if len(regions) == 1 else f"{len(regions)} regions"
        full = list(names[key])
        more = [f"and {len(full) - _MOST_NAMES:,} more"] if len(full) > _MOST_NAMES else []
        words = "\n".join([*full[:_MOST_NAMES], *more])
        out.append(Row(kernel, clean(kernel.name), only, words))
    if rest := ordered[len(out) :]:
        name = f"and {len(rest):,} more"
        out.append(Row(merge(rest, name), name, "", folded=len(rest)))
    return out


def time_without(table: KernelTable) -> list[Row]:
    """Lines for what no kernel had.

    The gaps of each device by the region that was open on the host meanwhile, and joules that
    nothing explains.
    """
    out = []
    for d in table.devices:
        gaps = d.idle_in or (IdleIn((), d.idle_s, d.idle.joules),)
        out += [
            _without(d, "(idle)", gap.region, gap.time_s, gap.energy_j) for gap in gaps[:_MOST_GAPS]
        ]
        if rest := gaps[_MOST_GAPS:]:
            time_s = math.fsum(gap.time_s for gap in rest)
            joules = math.fsum(gap.energy_j for gap in rest)
            row = _without(d, "(idle)", (), time_s, joules)
            out.append(replace(row, region=f"{len(rest):,} more regions", folded=len(rest)))
        if abs(d.unattributed_j) > 1e-6 * abs(d.busy.joules + d.idle.joules):
            out.append(_without(d, "(unattributed)", (), 0.0, d.unattributed_j))
    return [row for row in out if row.kernel.time_s > 0 or row.kernel.energy_j]


def _without(d: Device, name: str, region: tuple[str, ...], time_s: float, joules: float) -> Row:
    share = joules / d.idle.joules if d.idle.joules > 0 else 0.0
    kernel = Kernel(
        name=name,
        kind="idle",
        region=region,
        domain=d.domain,
        stream=-1,
        grid=(0, 0, 0),
        block=(0, 0, 0),
        calls=0,
        time_s=time_s,
        least_s=math.nan,
        most_s=math.nan,
        energy=replace(d.idle, joules=joules, std_j=share * d.idle.std_j),
        flops=0.0,
        bytes=0.0,
    )
    what = f"{clean(d.domain)} {name}" if name == "(idle)" else name
    return Row(kernel, what, where(kernel), what)


def told_apart(table: KernelTable) -> list[str]:
    """What the readings cannot tell, in sentences."""
    out = []
    for d in table.devices:
        for name, sum_of in d.groups.items():
            members = sorted({clean(k.short_name) for k in table if k.group == name})
            if not members:
                continue
            few = ", ".join(members[:4]) + (f" and {len(members) - 4}" if len(members) > 4 else "")
            out.append(
                f"{clean(d.domain)}: only the sum of {few} is known, {units.energy(sum_of)}; "
                "they always run together, and their split rests on priors"
            )
        alone = [k for k in table if k.domain == d.domain and not k.identified and not k.group]
        joules = math.fsum(k.energy_j for k in alone if not math.isnan(k.energy_j))
        if alone and d.spread == "timeline" and joules > 0.02 * d.busy.joules:
            out.append(
                f"{clean(d.domain)}: of {units.percent(joules / d.busy.joules)} of the joules of "
                "kernels the readings do not say which kernel had them; their intervals are wide"
            )
    return out


def _unknown_last(value: float) -> tuple[bool, float]:
    return (math.isnan(value), -value)


_ORDER: dict[str, Callable[[Kernel], tuple[tuple[bool, float], float, str]]] = {
    "energy": lambda k: (_unknown_last(k.energy_j), -k.time_s, k.name),
    "time": lambda k: (_unknown_last(k.time_s), -k.calls, k.name),
    "flops": lambda k: (_unknown_last(k.flops), -k.time_s, k.name),
}


def where(kernel: Kernel) -> str:
    """The region that launched it, or why none is known."""
    if kernel.region:
        return " / ".join(clean(name) for name in kernel.region)
    return "(launch not seen)" if kernel.unmatched else "(no region)"


def busy_s(table: KernelTable) -> float:
    """Seconds in which devices were busy, added over devices; nan if one of them is not known."""
    known = {d.domain: d.busy_s for d in table.devices}
    return math.fsum(known.get(domain, math.nan) for domain in {k.domain for k in table})


def share_of_busy(kernel: Kernel, busy: float) -> str:
    """Its time as a share of busy time; where kernels ran at once these exceed 100 % together."""
    return units.percent(kernel.time_s / busy) if busy > 0 else "-"


def flop_rate(kernel: Kernel) -> str:
    """FLOP a second, ``?`` if its FLOP are not known, ``-`` for what computes nothing."""
    return _flops_per(kernel, kernel.time_s, "FLOP/s")


def flop_yield(kernel: Kernel) -> str:
    """FLOP a joule; ``?`` and ``-`` as in ``flop_rate``."""
    return _flops_per(kernel, kernel.energy_j, "FLOP/J")


def _flops_per(kernel: Kernel, amount: float, unit: str) -> str:
    if kernel.flops == 0:
        return "-"
    if math.isnan(kernel.flops) or not amount > 0:
        return UNTOLD
    return units.quantity(kernel.flops / amount, unit)


def how(kernel: Kernel) -> str:
    """The provenance of its joules in a word."""
    return units.UNKNOWN if math.isnan(kernel.energy_j) else kernel.energy.provenance


def device(d: Device) -> str:
    """How the time and the joules of a device went, in a sentence."""
    whole = d.busy_s + d.idle_s
    share = units.percent(d.busy_s / whole) if whole > 0 else units.UNKNOWN
    return (
        f"{clean(d.domain)}: busy {share} ({units.seconds(d.busy_s)}, {units.energy(d.busy)}); "
        f"idle {units.seconds(d.idle_s)}, {units.energy(d.idle)}"
    )


def unmetered(table: KernelTable) -> list[str]:
    """Devices that ran something and that no meter covered."""
    known = {d.domain for d in table.devices}
    known |= {k.domain for k in table if not math.isnan(k.energy_j)}
    return [clean(domain) for domain in sorted({k.domain for k in table} - known)]


def coverage(table: KernelTable) -> str:
    """For how much of the kernels' time FLOP are known; "" where no kernel ran."""
    share = table.coverage
    if math.isnan(share):
        return ""
    sources = sorted({clean(k.flops_source) for k in table if k.kind == "kernel"} - {""})
    said = f" ({', '.join(sources)})" if sources else ""
    return f"FLOP known for {units.percent(share) if share else '0 %'} of kernel time{said}"


def basis(table: KernelTable) -> list[str]:
    """What the joules of kernels rest on, each sentence once."""
    known = (k.energy for k in table if not math.isnan(k.energy_j))
    return list(dict.fromkeys(clean(e.basis) for e in known if e.basis))


def runs_missing(profile: Profile) -> bool:
    """Whether kernels are known by their sums only."""
    return len(profile.kernels) > 0 and not len(profile.kernels.runs)


def known_rates(found: Sequence[Row]) -> bool:
    """Whether any line has a FLOP rate."""
    return any(row.kernel.flops > 0 for row in found)
