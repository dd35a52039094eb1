"""What ``picojoule count`` measured of single kernels, for profiles of the same program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from picojoule.flops.cost import Cost
from picojoule.flops.work import KernelCost

if TYPE_CHECKING:
    from picojoule._counts import CountTable


def kernel_costs(classes: Iterable[Mapping[str, Any]], table: CountTable) -> Iterator[KernelCost]:
    """The counted cost of each kernel class of a trace that the table has.

    Where it tells no total (some work of a type that was not counted) the cost is nan: a part of it
    would look like all.
    """
    made = f"counted by the hardware on {table.device or 'a GPU'}, {table.date or 'undated'}"
    for c in classes:
        if c["kind"] != "kernel":
            continue
        found = table.find(c["name"], c["grid"], c["block"], c["dynamic_shared"])
        if found is None or not found.known:
            continue
        most = max(found.flops, key=lambda name: found.flops[name], default="")
        note = made + ("; launches differ in their work, this is the first" if found.varies else "")
        yield KernelCost(
            c["name"],
            Cost(found.flops_total, found.bytes, most, "counter", "opaque", note),
            grid=tuple(c["grid"]),
            block=tuple(c["block"]),
        )
