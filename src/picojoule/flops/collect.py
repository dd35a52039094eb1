"""What this process knows of the work in a trace that it has just recorded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picojoule import _core
    from picojoule._counts import CountTable
    from picojoule.flops.work import Work


def environment_with_work(
    trace: _core.Trace, counts: CountTable | None = None
) -> dict[str, Any] | None:
    """The environment to keep with ``trace`` if anything is known of its work; None if not.

    Costs next to nothing where nobody has asked for FLOPs: what was not imported knows nothing.
    """
    asked = (
        *("picojoule.flops.window", "picojoule.flops.kernel_cost", "picojoule.flops.jax_"),
        "torch._inductor.codecache",
    )
    if not counts and not any(name in sys.modules for name in asked):
        return None
    work = work_of(trace, counts)
    if not work:
        return None
    from picojoule._environment import environment
    from picojoule.flops.work import to_json

    return {**environment(trace), "work": to_json(work)}


def work_of(trace: _core.Trace, counts: CountTable | None = None) -> Work:
    """Windows inside the trace, and costs of the kernels that it has."""
    from picojoule.flops.work import KernelCost, Work

    window, told, jax = (
        sys.modules.get(f"picojoule.flops.{name}") for name in ("window", "kernel_cost", "jax_")
    )
    end_ns = trace.end_ns or sys.maxsize
    windows = tuple(window.windows_within(trace.begin_ns, end_ns)) if window else ()
    kernels: list[KernelCost] = []
    classes = [c for c in trace.kernel_classes if c["kind"] == "kernel"]
    if classes:
        names = {c["name"] for c in classes}
        if "torch._inductor.codecache" in sys.modules:
            from picojoule.flops import inductor

            kernels += [k for k in inductor.costs() if k.name in names]
        if counts:
            from picojoule.flops import counted

            kernels += counted.kernel_costs(classes, counts)
        if jax:
            kernels += jax.kernel_costs(names)
        for c in classes if told else ():
            grid, block = tuple(c["grid"]), tuple(c["block"])
            cost = told.cost_of(c["name"], grid, block) if told else None
            if cost is not None:
                kernels.append(KernelCost(c["name"], cost, grid, block))
    return Work(windows=windows, kernels=tuple(kernels))
