"""What Triton kernels tell of themselves: ``launch_metadata``, with the keys that Proton reads.

A kernel decorated with ``@triton.jit(launch_metadata=f)`` gives at each launch a dict that may hold
``name``, ``flops8``, ``flops16``, ``flops32``, ``flops64``, ``flops`` and ``bytes``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from picojoule.flops.cost import Cost

#: Widths of the operands: with 8 and 16 bits only the tensor units are meant.
_TYPES = {"flops8": "tensor-fp8", "flops16": "tensor-fp16", "flops32": "fp32", "flops64": "fp64"}


def cost_of(metadata: Mapping[str, Any]) -> Cost:
    """The cost that one launch tells; nan where it tells none.

    Where it tells FLOPs of several widths they are added, and the type is that of the most.
    """
    told = {key: float(metadata[key]) for key in _TYPES if metadata.get(key) is not None}
    plain = metadata.get("flops")
    flops = math.fsum(told.values()) if told else math.nan if plain is None else float(plain)
    most = max(told, key=lambda key: told[key]) if told and flops > 0 else ""
    moved = metadata.get("bytes")
    return Cost(
        flops=flops,
        bytes=math.nan if moved is None else float(moved),
        type=_TYPES.get(most, ""),
        source="" if math.isnan(flops) else "triton",
        kind="opaque",
        note="told by its launch_metadata" if not math.isnan(flops) else "it tells no FLOPs",
    )


@contextmanager
def looking(
    note: Callable[[str, Cost], None], around: Callable[[str], AbstractContextManager[Any]]
) -> Iterator[None]:
    """Call ``note(name, cost)`` at each Triton launch in the block, which runs in ``around(name)``.

    Does nothing where Triton is not loaded; afterwards its hooks are as before.
    """
    chain = _chains()
    if chain is None:
        yield
        return
    enter_chain, exit_chain = chain
    entered: list[AbstractContextManager[Any]] = []

    def enter(metadata: Any) -> None:
        told = (
            metadata.get()
            if hasattr(metadata, "get") and not hasattr(metadata, "keys")
            else (metadata)
        )
        name = str(told.get("name", "a Triton kernel"))
        note(name, cost_of(told))
        entered.append(around(name))
        entered[-1].__enter__()

    def leave(_metadata: Any) -> None:
        if entered:
            entered.pop().__exit__(None, None, None)

    enter_chain.add(enter)
    exit_chain.add(leave)
    try:
        yield
    finally:
        enter_chain.remove(enter)
        exit_chain.remove(leave)
        while entered:
            entered.pop().__exit__(None, None, None)


def _chains() -> tuple[Any, Any] | None:
    knobs = getattr(sys.modules.get("triton"), "knobs", None)
    runtime = getattr(knobs, "runtime", None)
    found = [getattr(runtime, f"launch_{which}_hook", None) for which in ("enter", "exit")]
    # Older Tritons have one plain hook, which another tool may hold: left alone.
    if all(hasattr(c, "add") and hasattr(c, "remove") for c in found):
        return found[0], found[1]
    return None
