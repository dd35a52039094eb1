"""What a measurement found: plain immutable values, the only thing that views know.

Times are nanoseconds of ``CLOCK_MONOTONIC`` on the machine that recorded, energies joules, powers
watts. Unknown is ``nan``, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from picojoule.counters import PmReadings, Share
    from picojoule.counters_view import Counter
    from picojoule.flops.summary import Flops
    from picojoule.kernels import KernelTable

#: How a number was got, most trustworthy first.
PROVENANCES = ("measured", "counted", "modelled", "estimated", "simulated")


def weakest(provenances: Sequence[str]) -> str:
    """The least trustworthy of several provenances: that of their sum."""
    return max(provenances, key=PROVENANCES.index, default="measured")


@dataclass(frozen=True, slots=True)
class Estimate:
    """An energy with its uncertainty and how it was got.

    Three kinds of doubt are kept apart because they behave differently. ``std_j`` is statistical
    (tick times, counter steps, what happened inside the first and the last tick).
    ``below_j``/``above_j`` bound what no statistics can know: how energy splits inside one tick
    between regions that share it. ``gain_std`` is the relative uncertainty of the absolute scale
    (board gain, or the model behind an estimate), common to everything one meter says.
    """

    joules: float
    std_j: float
    provenance: str
    below_j: float = 0.0
    above_j: float = 0.0
    gain_std: float = 0.0
    #: Whether the meter can see this interval at all; if not, ``joules`` is a share by time.
    resolved: bool = True
    #: One sentence: what the number rests on.
    basis: str = ""
    #: Of a sum: what was added. Each keeps its own doubt, so that a small estimate beside a large
    #: measurement does not make the measurement vague.
    parts: tuple[Estimate, ...] = ()

    def interval(self, level: float = 0.95, *, absolute: bool | None = None) -> tuple[float, float]:
        """The interval that holds the true energy with probability ``level``.

        Args:
            level: between 0 and 1, exclusive.
            absolute: include the uncertainty of the meter's absolute scale. False compares regions
                of one meter with each other; True is for joules that leave the machine. None (the
                default) means True for modelled and estimated numbers, where that scale is most of
                the doubt, and False otherwise.

        Returns:
            (low, high) in joules, low never negative; (nan, nan) if the energy is unknown.

        Raises:
            ValueError: ``level`` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be between 0 and 1, got {level!r}")
        if math.isnan(self.joules) or math.isnan(self.std_j):
            return (math.nan, math.nan)
        if self.parts:
            below = above = 0.0
            for part in self.parts:
                low, high = part.interval(level, absolute=absolute)
                below = math.hypot(below, part.joules - low)
                above = math.hypot(above, high - part.joules)
            return (max(0.0, self.joules - below), self.joules + above)
        z = NormalDist().inv_cdf((1.0 + level) / 2.0)
        if absolute is None:
            absolute = self.provenance in ("modelled", "estimated")
        low = self.joules - z * self.std_j - self.below_j
        high = self.joules + z * self.std_j + self.above_j
        if absolute and self.gain_std > 0.0:
            # A scale is positive: its error is a factor, not a summand.
            factor = math.exp(z * math.log1p(self.gain_std))
            low = low / factor if low > 0 else low * factor
            high = high * factor
        return (max(0.0, low), max(0.0, high))

    def __add__(self, other: Estimate) -> Estimate:
        """Sum of two domains' energies; independent in noise, added in bounds and scale."""
        total = self.joules + other.joules
        gain_j = self.gain_std * self.joules + other.gain_std * other.joules
        return Estimate(
            joules=total,
            std_j=math.hypot(self.std_j, other.std_j),
            provenance=weakest([self.provenance, other.provenance]),
            below_j=self.below_j + other.below_j,
            above_j=self.above_j + other.above_j,
            gain_std=gain_j / total if total > 0 else 0.0,
            resolved=self.resolved and other.resolved,
            basis=self.basis if self.basis == other.basis else "sum of several domains",
            parts=(*(self.parts or (self,)), *(other.parts or (other,))),
        )


#: The energy of something no meter covered.
UNKNOWN = Estimate(math.nan, math.nan, "estimated", resolved=False, basis="no meter covered it")


@dataclass(frozen=True, slots=True)
class Channel:
    """One series of readings: which meter, of what, in which unit.

    ``quantity`` is "energy" or "power", or what tells no joules: "ratio", "rate", "count",
    "frequency", "flags", "temperature". ``unit`` is what one raw count means: J, W, 1, B/s, Hz,
    degrees Celsius.
    """

    index: int
    meter: str
    domain: str
    field: str
    device: str
    quantity: str
    provenance: str
    in_total: bool
    latched: bool
    update_period_ns: int
    window_ns: int
    unit: float
    gain_std: float
    note: str = ""

    @property
    def tells_energy(self) -> bool:
        """Whether joules can be had from it."""
        return self.quantity in ("energy", "power")


@dataclass(frozen=True, slots=True)
class Region:
    """All calls of one region at one place in the tree.

    ``duration_s`` is inclusive of inner regions and, where several calls were open at once
    (threads, tasks), counts each of them; ``concurrent`` says so. ``energy`` is what each domain
    used while the region was open; concurrent regions therefore overlap.
    """

    name: str
    path: tuple[str, ...]
    calls: int
    duration_s: float
    self_s: float
    energy: Mapping[str, Estimate]
    total: Estimate  # sum over the domains that count towards the profile's total
    concurrent: bool = False
    open_at_end: int = 0  # calls not yet closed when the profile ended

    @property
    def depth(self) -> int:
        """0 for an outermost region."""
        return len(self.path) - 1

    @property
    def energy_j(self) -> float:
        """Joules of this region over all counted domains; nan if unknown."""
        return self.total.joules

    @property
    def watts(self) -> float:
        """Mean power while the region was open; nan if unknown.

        Unknown too where calls overlapped: their seconds are summed, the joules are not.
        """
        if self.concurrent or self.duration_s <= 0:
            return math.nan
        return self.total.joules / self.duration_s


class RegionTable(Sequence[Region]):
    """The region tree in pre-order: parents before children, siblings by energy, largest first.

    Indexed by position, or by path: ``prof.regions["train/forward"]``; a bare name works where it
    is unique.
    """

    def __init__(self, regions: Sequence[Region]) -> None:
        """Wrap ``regions``, already in pre-order."""
        self._regions = tuple(regions)
        self._by_path = {"/".join(r.path): r for r in self._regions}

    def __len__(self) -> int:
        return len(self._regions)

    def __iter__(self) -> Iterator[Region]:
        return iter(self._regions)

    def __getitem__(self, key: Any) -> Any:
        """The region at a position (int, slice) or of a path or unique name (str)."""
        if not isinstance(key, str):
            return self._regions[key]
        if key in self._by_path:
            return self._by_path[key]
        named = [r for r in self._regions if r.name == key]
        if len(named) == 1:
            return named[0]
        if named:
            where = ", ".join("/".join(r.path) for r in named)
            raise KeyError(f"{key!r} is ambiguous; use one of the paths: {where}")
        raise KeyError(f"no region {key!r}; there are: {', '.join(self._by_path) or 'none'}")

    def __contains__(self, key: object) -> bool:
        return key in self._by_path or key in self._regions or any(r.name == key for r in self)

    def __repr__(self) -> str:
        return f"RegionTable({', '.join(self._by_path)})"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which a meter said nothing."""

    meter: str
    domain: str
    begin_ns: int
    end_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class PowerSeries:
    """Mean power of one domain between consecutive readings: a step function.

    ``edges_ns`` has shape (n + 1,), ``watts`` (n,); nan where there was a gap.
    """

    domain: str
    provenance: str
    edges_ns: NDArray[np.int64]
    watts: NDArray[np.float64]


def _no_kernels() -> KernelTable:
    from picojoule.kernels import KernelTable

    return KernelTable(())


def _no_flops() -> Flops:
    from picojoule.flops.summary import Flops

    return Flops()


@dataclass(frozen=True)
class Profile:
    """What one measurement found.

    Attributes:
        name: what the user called it; "" if nothing.
        begin_ns: when it began.
        end_ns: when it ended.
        channels: the series that were recorded.
        energy: domain -> Estimate, every domain that has an energy, in the meters' order.
        counted: the domains whose energies add up to ``total`` (no domain contains another).
        total: sum over ``counted``.
        regions: the region tree.
        readings: structured array, one row a reading, fields ``channel`` (u2), ``begin_ns``,
            ``end_ns`` (i8), ``joules`` (f8), ``edge_std_ns`` (f8, of ``end_ns``), ``flags`` (u1).
        spans: structured array, one row a region call kept for the timeline, fields ``begin_ns``,
            ``end_ns`` (i8), ``path`` (u4, index into ``paths``), ``thread`` (u4).
        paths: path id -> names from the outermost inwards.
        power: one step function a domain.
        gaps: where a meter said nothing.
        overhead: what the measurement itself cost (``sampler_cpu_s``, ``polls``, ...).
        meta: host, versions, command, wall-clock start.
        warnings: sentences the reader of any view must see.
        findings: what every meter said when it was opened: dicts with ``meter``, ``state``
            ("works", "refused", "absent"), ``subject``, ``why``, ``remedy``.
        kernels: what ran on devices, by the region that launched it; empty where no timeline was
            recorded.
        flops: FLOPs and bytes, how they were got, and for how much of the time and energy they are
            known.
        counters: ``"gpu:0/sm_clock"`` -> ``Counter``: clocks, throttling, temperatures and how busy
            a device's units were. No energy is among them; what kernels draw may be found to move
            with clocks and temperatures.
        pm: sampled hardware counters (``pj.profile(pm_interval_us=...)``); None if none were.
        own_path: names of the profile's own region and of those around it, which the paths of
            ``regions`` and ``kernels`` leave out.
    """

    name: str
    begin_ns: int
    end_ns: int
    channels: tuple[Channel, ...]
    energy: Mapping[str, Estimate]
    counted: tuple[str, ...]
    total: Estimate
    regions: RegionTable
    readings: NDArray[Any]
    spans: NDArray[Any]
    paths: tuple[tuple[str, ...], ...]
    power: tuple[PowerSeries, ...]
    gaps: tuple[Gap, ...] = ()
    overhead: Mapping[str, float] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    findings: tuple[Mapping[str, str], ...] = ()
    kernels: KernelTable = field(default_factory=_no_kernels)
    flops: Flops = field(default_factory=_no_flops)
    own_path: tuple[str, ...] = ()
    counters: Mapping[str, Counter] = field(default_factory=dict)
    pm: PmReadings | None = None

    def pm_by_kernel(self) -> dict[str, list[Share]]:
        """Sampled counters split among kernels, by the same least squares for each counter.

        Each ``Share`` names a kernel (its short name); what pipe cycles say of FLOPs is modelled.
        Empty where nothing was sampled, or kernels were not kept one by one.
        """
        runs = self.kernels.runs
        if self.pm is None or not len(runs):
            return {}
        names = [k.short_name for k in self.kernels]
        return self.pm.disaggregate(
            [(int(r["begin_ns"]), int(r["end_ns"]), names[int(r["kernel"])]) for r in runs]
        )

    @property
    def duration_s(self) -> float:
        """Wall-clock seconds between begin and end."""
        return (self.end_ns - self.begin_ns) * 1e-9

    @property
    def energy_j(self) -> float:
        """Joules over all counted domains; nan if nothing measured."""
        return self.total.joules

    @property
    def watts(self) -> float:
        """Mean power over all counted domains; nan if nothing measured."""
        return self.total.joules / self.duration_s if self.duration_s > 0 else math.nan

    def __str__(self) -> str:
        """The table, plain text."""
        from picojoule.reports.table import render

        return render(self, color=False)

    def report(self, path: str) -> None:
        """Write the self-contained HTML report to ``path``."""
        from picojoule.reports.html import write

        write(self, path)

    def _repr_html_(self) -> str:
        from picojoule.reports.html import fragment

        return fragment(self)
