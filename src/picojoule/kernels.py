"""What ran on devices: kernels and copies, by the region that launched them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from picojoule.errors import MissingExtraError
from picojoule.results import Estimate, weakest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Kernel:
    """All runs of one kernel (with one launch shape) or copy, launched from one region.

    Times are seconds on the device. ``energy`` is what the device used while it ran, its share
    where several ran at once; idle power is in it. ``flops`` and ``bytes`` are of all runs
    together, nan where not known.
    """

    name: str
    kind: str  # "kernel" | "memcpy" | "memset" | "other"
    region: tuple[str, ...]  # () where no region was open, or the launch was not seen
    domain: str  # "gpu:0"
    stream: int
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    calls: int
    time_s: float
    least_s: float
    most_s: float
    energy: Estimate
    flops: float = math.nan
    bytes: float = math.nan
    #: How its FLOPs were got; "" if they are not known.
    flops_source: str = ""
    #: What was computed with: "tensor-bf16", "fp32" ...; "" if several or not known.
    flops_type: str = ""
    #: FLOPs that hardware counters saw; ``flops`` is what the mathematics needs.
    executed_flops: float = math.nan
    #: The framework's operation that launched it; "" if not known.
    op: str = ""
    captured: bool = False  # it ran as part of a graph
    unmatched: bool = False  # its launch was not seen
    #: Of ``time_s``, what lies inside the profile, as ``energy`` does: a kernel may end after it.
    #: nan: all of it.
    inside_s: float = math.nan
    #: Whether the meter's readings themselves determine its power; if not, its energy rests on
    #: what kernels in general draw, or on its FLOPs and bytes, and the interval says so.
    identified: bool = True
    #: Kernels with the same non-empty name here are known only by their sum.
    group: str = ""

    @property
    def short_name(self) -> str:
        """The name without return type, template arguments and parameters."""
        return short_name(self.name)

    @property
    def mean_s(self) -> float:
        """Mean seconds of one run."""
        return self.time_s / self.calls if self.calls else math.nan

    @property
    def energy_j(self) -> float:
        """Joules of all runs; nan if unknown."""
        return self.energy.joules

    @property
    def watts(self) -> float:
        """Mean power while it ran; nan if unknown."""
        return self.energy.joules / self.powered_s if self.powered_s > 0 else math.nan

    @property
    def powered_s(self) -> float:
        """The seconds that ``energy`` belongs to."""
        return self.time_s if math.isnan(self.inside_s) else self.inside_s


@dataclass(frozen=True, slots=True)
class IdleIn:
    """Gaps of a device while a region was the innermost one open on the host."""

    region: tuple[str, ...]  # () where no region was open
    time_s: float
    energy_j: float


@dataclass(frozen=True, slots=True)
class Device:
    """How the time and the joules of one device went.

    ``busy``, ``idle`` and ``unattributed_j`` add up to what its meter counted.
    """

    domain: str
    busy_s: float  # at least one kernel or copy ran
    idle_s: float
    busy: Estimate
    idle: Estimate
    #: "timeline": kernels are known one by one; "sample": in a random part of the time, of the rest
    #: their sums; "sums": only their sums, so that each gets the mean power of all busy time.
    spread: str = "timeline"
    #: Energy of the kernels that have the same ``Kernel.group``, by that name.
    groups: Mapping[str, Estimate] = field(default_factory=dict)
    #: ``idle`` by the host region that was open meanwhile, most time first.
    idle_in: tuple[IdleIn, ...] = ()
    unattributed_j: float = 0.0
    #: What the solved rates left unexplained before they were made to add up.
    residual_j: float = 0.0
    #: Found from the readings: uncertainty of their edges (ns), slow drift of power (relative, root
    #: mean square), and how many readings were set aside because nothing explains them.
    edge_std_ns: float = math.nan
    drift: float = 0.0
    outliers: int = 0
    #: By how much (relative standard deviation) readings of like kernels differ depending on what
    #: ran before; 0: no sign of that. It is in the intervals, and a warning of the profile.
    context: float = 0.0


_TEMPLATE = re.compile(r"<[^<>]*>")
_ANONYMOUS = "(anonymous namespace)"


def short_name(name: str) -> str:
    """``void ns::gemm<float, 4>(float*, int)`` -> ``ns::gemm``; a plain name stays as it is."""
    text = name.replace(_ANONYMOUS, "anonymous")
    previous = ""
    while previous != text:
        previous = text
        text = _TEMPLATE.sub("", text)
    text = text.partition("(")[0].strip()
    text = text.rpartition(" ")[2] if "(" in name or "<" in name else text
    return text.replace("anonymous", _ANONYMOUS) or name


class KernelTable(Sequence[Kernel]):
    """Kernels, most energy first (most time where energy is not known).

    An Arrow table by the PyCapsule interface: ``pyarrow.table(prof.kernels)``, and so
    on; ``to_pandas()`` and ``to_polars()`` make frames.
    """

    #: One row a run, in time order; empty where runs were not kept one by one. Fields ``begin_ns``,
    #: ``end_ns`` (i8), ``kernel`` (u4, position in this table), ``graph_node`` (u4, 0 for none).
    runs: NDArray[Any]

    def __init__(
        self,
        kernels: Sequence[Kernel],
        devices: Sequence[Device] = (),
        runs: NDArray[Any] | None = None,
    ) -> None:
        """Wrap ``kernels``; sorted here, so ``runs`` must name positions of the sorted table."""
        self._kernels = tuple(sorted(kernels, key=_weight, reverse=True))
        self.devices = tuple(devices)
        self.runs = no_runs() if runs is None else runs

    def __len__(self) -> int:
        return len(self._kernels)

    def __iter__(self) -> Iterator[Kernel]:
        return iter(self._kernels)

    def __getitem__(self, key: Any) -> Any:
        """The kernel at a position; with a str, all whose name contains it, as a table."""
        if isinstance(key, str):
            return KernelTable([k for k in self._kernels if key in k.name], self.devices)
        return self._kernels[key]

    def __repr__(self) -> str:
        return f"KernelTable({len(self)} kernels, {self.calls} runs, {self.time_s:.6g} s)"

    @property
    def calls(self) -> int:
        """Runs of all kernels."""
        return sum(k.calls for k in self._kernels)

    @property
    def time_s(self) -> float:
        """Seconds of all runs, each counted for itself."""
        return math.fsum(k.time_s for k in self._kernels)

    @property
    def energy_j(self) -> float:
        """Joules of all runs; nan if one is not known."""
        return math.fsum(k.energy_j for k in self._kernels)

    @property
    def flops(self) -> float:
        """FLOP of all runs whose FLOP are known; nan if none is. See ``coverage``."""
        known = [k.flops for k in self._kernels if not math.isnan(k.flops)]
        return math.fsum(known) if known else math.nan

    @property
    def coverage(self) -> float:
        """Share of kernel time (copies left out) whose FLOP are known; nan if none ran."""
        ran = [k for k in self._kernels if k.kind == "kernel"]
        total = math.fsum(k.time_s for k in ran)
        if total <= 0:
            return math.nan
        return math.fsum(k.time_s for k in ran if not math.isnan(k.flops)) / total

    def with_rows(self, rows: Sequence[Kernel]) -> KernelTable:
        """This table with another row in each place; rows that have become alike are merged.

        Args:
            rows: as many as there are, in the same order; nothing that sorts them (energy, time)
                may differ.
        """
        groups: dict[Any, list[int]] = {}
        for at, k in enumerate(rows):
            key = (k.name, k.kind, k.region, k.domain, k.stream, k.grid, k.block)
            groups.setdefault((*key, k.captured, k.unmatched, k.op, k.group), []).append(at)
        if len(groups) == len(rows):
            return KernelTable(rows, self.devices, self.runs)
        merged = [
            merge([rows[at] for at in group], rows[group[0]].name) for group in groups.values()
        ]
        order = sorted(range(len(merged)), key=lambda i: _weight(merged[i]), reverse=True)
        places = {at: i for i, group in enumerate(groups.values()) for at in group}
        import numpy as np

        new = np.empty(len(rows), dtype="u4")
        new[[*places]] = np.argsort(order)[[*places.values()]]
        runs = self.runs.copy()
        if len(runs):
            runs["kernel"] = new[runs["kernel"]]
        return KernelTable([merged[i] for i in order], self.devices, runs)

    def by(self, *what: str) -> KernelTable:
        """Merged by ``"kernel"`` (short name), ``"region"``, ``"op"`` or ``"device"``.

        With several of them, by all at once; rows are named after the first. ``"op"`` is the
        framework's operation where it is known, else the name of the innermost region that launched
        a kernel, wherever in the tree that region was.

        Raises:
            ValueError: ``what`` is empty or has none of these.
        """
        for one in what or ("nothing",):
            if one not in _KEYS:
                raise ValueError(f"kernels can be merged by {', '.join(_KEYS)}, not by {one!r}")
        groups: dict[Any, list[Kernel]] = {}
        for kernel in self._kernels:
            groups.setdefault(tuple(_KEYS[one](kernel) for one in what), []).append(kernel)
        merged = [merge(group, _NAMES[what[0]](group[0])) for group in groups.values()]
        return KernelTable(merged, self.devices)

    def columns(self) -> dict[str, NDArray[Any]]:
        """One array a column, shape (n,): names str, counts i8, seconds, joules and FLOP f8."""
        import numpy as np

        rows = self._kernels
        numbers: dict[str, NDArray[np.float64]] = {
            name: np.array([getattr(k, name) for k in rows], dtype="f8")
            for name in (
                *("time_s", "least_s", "most_s", "energy_j"),
                *("flops", "executed_flops", "bytes"),
            )
        }
        return {
            "name": np.array([k.name for k in rows], dtype=object),
            "kind": np.array([k.kind for k in rows], dtype=object),
            "region": np.array(["/".join(k.region) for k in rows], dtype=object),
            "domain": np.array([k.domain for k in rows], dtype=object),
            "stream": np.array([k.stream for k in rows], dtype="i8"),
            "grid": np.array(["x".join(map(str, k.grid)) for k in rows], dtype=object),
            "block": np.array(["x".join(map(str, k.block)) for k in rows], dtype=object),
            "calls": np.array([k.calls for k in rows], dtype="i8"),
            **numbers,
            "energy_std_j": np.array([k.energy.std_j for k in rows], dtype="f8"),
            "provenance": np.array([k.energy.provenance for k in rows], dtype=object),
            "flops_source": np.array([k.flops_source for k in rows], dtype=object),
            "flops_type": np.array([k.flops_type for k in rows], dtype=object),
            "op": np.array([k.op for k in rows], dtype=object),
        }

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table as an Arrow stream of one batch."""
        import nanoarrow as na

        fields, children = {}, []
        for name, column in self.columns().items():
            kind = {"i": na.int64(), "f": na.float64()}.get(column.dtype.kind, na.string())
            fields[name] = kind
            values = column.tolist() if column.dtype.kind == "O" else column
            children.append(na.c_array(values, kind))
        batch = na.c_array_from_buffers(
            na.struct(fields), length=len(self), buffers=[None], null_count=0, children=children
        )
        return na.c_array_stream(batch).__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """As a ``pandas.DataFrame``; raises MissingExtraError without pandas."""
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "pandas", "to_pandas()") from None
        return pandas.DataFrame(self.columns())

    def to_polars(self) -> Any:
        """As a ``polars.DataFrame``; raises MissingExtraError without polars."""
        try:
            import polars
        except ImportError:
            raise MissingExtraError("polars", "polars", "to_polars()") from None
        return polars.DataFrame(self.columns())


def _weight(kernel: Kernel) -> tuple[float, float]:
    joules = kernel.energy_j
    return (-1.0 if math.isnan(joules) else joules, kernel.time_s)


_KEYS: dict[str, Callable[[Kernel], Any]] = {
    "kernel": lambda k: (k.short_name, k.kind),
    "region": lambda k: k.region,
    "op": lambda k: k.op or k.region[-1:],
    "device": lambda k: k.domain,
}
_NAMES: dict[str, Callable[[Kernel], str]] = {
    "kernel": lambda k: k.short_name,
    "region": lambda k: "/".join(k.region) or "(no region)",
    "op": lambda k: k.op or (k.region[-1] if k.region else "(no region)"),
    "device": lambda k: k.domain,
}


def no_runs(count: int = 0) -> NDArray[Any]:
    """``count`` rows of ``KernelTable.runs``, all zero."""
    import numpy as np

    fields = [("begin_ns", "<i8"), ("end_ns", "<i8"), ("kernel", "<u4"), ("graph_node", "<u4")]
    return np.zeros(count, dtype=fields)


def merge(group: Sequence[Kernel], name: str) -> Kernel:
    """One row for several, called ``name``; what differs between them is left blank."""
    first = group[0]

    def same(name: str, otherwise: Any) -> Any:
        values = {getattr(k, name) for k in group}
        return values.pop() if len(values) == 1 else otherwise

    joules = math.fsum(k.energy_j for k in group)
    # What sets kernels apart from their neighbours does so each time: doubts add up.
    std = math.fsum(k.energy.std_j for k in group)
    flops = math.fsum(k.flops for k in group)
    return replace(
        first,
        name=name,
        kind=same("kind", "other"),
        region=same("region", ()),
        domain=same("domain", ""),
        stream=same("stream", -1),
        grid=same("grid", (0, 0, 0)),
        block=same("block", (0, 0, 0)),
        calls=sum(k.calls for k in group),
        time_s=math.fsum(k.time_s for k in group),
        inside_s=math.fsum(k.powered_s for k in group),
        least_s=min(k.least_s for k in group),
        most_s=max(k.most_s for k in group),
        energy=replace(
            first.energy,
            joules=joules,
            std_j=std,
            provenance=weakest([k.energy.provenance for k in group]),
        ),
        flops=flops,
        bytes=math.fsum(k.bytes for k in group),
        executed_flops=math.fsum(k.executed_flops for k in group),
        flops_type=same("flops_type", ""),
        op=same("op", ""),
        flops_source=same("flops_source", "several") if not math.isnan(flops) else "",
        captured=any(k.captured for k in group),
        unmatched=any(k.unmatched for k in group),
        identified=all(k.identified for k in group),
        group=same("group", ""),
    )
