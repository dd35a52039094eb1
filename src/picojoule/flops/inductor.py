"""What PyTorch's compiler says that its own Triton kernels cost.

Inductor writes both figures into the kernels it generates if asked to when it compiles
(``torch._inductor.config.benchmark_kernel = True``); without that there is nothing to read.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

from picojoule.flops.cost import Cost
from picojoule.flops.work import KernelCost


def costs() -> Iterator[KernelCost]:
    """A cost for each generated kernel that tells its own; nothing is imported for it."""
    cache = getattr(sys.modules.get("torch._inductor.codecache"), "PyCodeCache", None)
    seen: set[int] = set()
    for module in list(getattr(cache, "modules", ())):
        for kernel in list(vars(module).values()):
            meta = getattr(kernel, "inductor_meta", None)
            if id(kernel) in seen or not isinstance(meta, dict):
                continue
            seen.add(id(kernel))
            found = _cost(meta)
            if found is not None:
                yield found


def _cost(meta: dict[str, Any]) -> KernelCost | None:
    name, flops, gigabytes = (
        meta.get(key) for key in ("kernel_name", "kernel_flop", "kernel_num_gb")
    )
    if not name or (flops is None and gigabytes is None):
        return None
    # Element-wise kernels are told with 0 FLOP: their arithmetic is left out, so it is not known.
    known = flops if flops else math.nan
    moved = math.nan if gigabytes is None else gigabytes * 1e9
    return KernelCost(str(name), Cost(float(known), moved, "", "inductor", "opaque"))
