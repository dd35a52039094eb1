"""What is known of the work a program did, as a trace keeps it beside the times.

A ``Window`` is a short stretch in which every operation was looked at: what each costs, and in
which region. A ``KernelCost`` is the cost of one launch of one kernel, told by a user, a compiler
or a hardware counter. Both are kept as plain JSON below ``work`` in a trace's environment; nothing
here knows a framework.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from picojoule.flops.cost import Cost

#: Version of the JSON form; another one is left alone and said so.
VERSION = 1
#: Begins the name of a path node that stands for an op: made below its region while ops are looked
#: at, so that the kernels which it launches are known as its own.
OP_MARK = "\x1fop:"

#: Stands in a kernel's path between the region that launched a graph and the one that captured it.
CAPTURED = "<captured>"

Path = tuple[str, ...]
Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class OpRow:
    """All calls of one operation with one signature in one region, in one window."""

    op: str
    signature: str
    path: Path
    calls: int
    cost: Cost  # of one call


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time whose every operation was looked at.

    ``calls`` says how often each region was entered inside it: the cost of a region's call is the
    sum of its rows over that.
    """

    begin_ns: int
    end_ns: int
    rows: tuple[OpRow, ...]
    calls: Mapping[Path, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelCost:
    """The cost of one launch of a kernel.

    ``grid`` and ``block`` are None where any launch shape costs the same, ``region`` where it does
    not matter who launched it.
    """

    name: str
    cost: Cost
    grid: Shape | None = None
    block: Shape | None = None
    region: Path | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """All that a trace knows of FLOPs and bytes."""

    windows: tuple[Window, ...] = ()
    kernels: tuple[KernelCost, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.windows or self.kernels)


def to_json(work: Work) -> dict[str, Any]:
    """``work`` as JSON can hold it: nan becomes null."""
    return {
        "version": VERSION,
        "windows": [
            {
                "begin_ns": w.begin_ns,
                "end_ns": w.end_ns,
                "rows": [
                    {
                        "op": r.op,
                        "signature": r.signature,
                        "path": list(r.path),
                        "calls": r.calls,
                        **_cost_to_json(r.cost),
                    }
                    for r in w.rows
                ],
                "calls": [[list(path), calls] for path, calls in w.calls.items()],
                "notes": list(w.notes),
            }
            for w in work.windows
        ],
        "kernels": [
            {
                "name": k.name,
                "grid": list(k.grid) if k.grid else None,
                "block": list(k.block) if k.block else None,
                "region": None if k.region is None else list(k.region),
                **_cost_to_json(k.cost),
            }
            for k in work.kernels
        ],
        "notes": list(work.notes),
    }


def from_json(known: Mapping[str, Any] | None) -> Work:
    """The inverse of ``to_json``; what a newer picojoule wrote is a note, not an error."""
    if not known:
        return Work()
    if known.get("version") != VERSION:
        return Work(notes=("the FLOPs in this trace are in a form that this version cannot read",))
    return Work(
        windows=tuple(
            Window(
                begin_ns=int(w["begin_ns"]),
                end_ns=int(w["end_ns"]),
                rows=tuple(
                    OpRow(r["op"], r["signature"], tuple(r["path"]), int(r["calls"]), _cost_of(r))
                    for r in w["rows"]
                ),
                calls={tuple(path): int(calls) for path, calls in w["calls"]},
                notes=tuple(w.get("notes", ())),
            )
            for w in known["windows"]
        ),
        kernels=tuple(
            KernelCost(
                name=k["name"],
                cost=_cost_of(k),
                grid=_shape(k["grid"]),
                block=_shape(k["block"]),
                region=None if k["region"] is None else tuple(k["region"]),
            )
            for k in known["kernels"]
        ),
        notes=tuple(known.get("notes", ())),
    )


def below(path: Path, prefix: Path) -> Path:
    """``path`` without ``prefix``, where it begins with it."""
    return path[len(prefix) :] if path[: len(prefix)] == prefix else path


def total(costs: Iterable[tuple[Cost, int]]) -> tuple[float, float, dict[str, float]]:
    """(FLOP, bytes, FLOP by type) of costs times calls; nan as soon as one part is not known."""
    flops: list[float] = []
    moved: list[float] = []
    by_type: dict[str, list[float]] = {}
    for cost, calls in costs:
        flops.append(cost.flops * calls)
        moved.append(cost.bytes * calls)
        if cost.flops:
            by_type.setdefault(cost.type, []).append(cost.flops * calls)
    return math.fsum(flops), math.fsum(moved), {t: math.fsum(v) for t, v in by_type.items()}


def _shape(values: Sequence[int] | None) -> Shape | None:
    return None if values is None else (int(values[0]), int(values[1]), int(values[2]))


def _cost_to_json(cost: Cost) -> dict[str, Any]:
    return {
        "flops": None if math.isnan(cost.flops) else cost.flops,
        "bytes": None if math.isnan(cost.bytes) else cost.bytes,
        "type": cost.type,
        "source": cost.source,
        "kind": cost.kind,
        "note": cost.note,
    }


def _cost_of(known: Mapping[str, Any]) -> Cost:
    return Cost(
        flops=math.nan if known["flops"] is None else float(known["flops"]),
        bytes=math.nan if known["bytes"] is None else float(known["bytes"]),
        type=known["type"],
        source=known["source"],
        kind=known["kind"],
        note=known["note"],
    )
