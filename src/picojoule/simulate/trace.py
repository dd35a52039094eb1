"""A simulation as a recorded trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.simulate.simulation import Simulation

#: Times of a trace are above 0, and ticks from before the begin belong to it.
OFFSET_NS = 10_000_000_000

_TICK, _KERNEL = 1, 7
_WRAPPED, _RESET, _MISSED = 2, 4, 16
_DOMAIN = "gpu:0"


def to_trace(sim: Simulation) -> _core.Trace:
    """Ticks of the meter and kernels of the spans, as the recorder would have left them."""
    device = f"simulated {sim.sensor.name}"
    lags = sim.sensor.shape == "lag"
    # As the table of real sensors has it: what a lagging value is mostly of.
    window_s = 2.0 * sim.assumed.tau_s if lags else sim.assumed.window_s
    channel = {
        "meter": "simulate",
        "domain": _DOMAIN,
        "field": "energy" if sim.sensor.counter else "power_instant",
        "device": device,
        "note": "made-up power, no meter",
        "quantity": "energy" if sim.sensor.counter else "power",
        "provenance": "simulated",
        "in_total": True,
        "latched": True,
        "update_period_ns": round(sim.sensor.period_s * 1e9),
        "window_ns": round(window_s * 1e9),
        "unit": sim.sensor.quantum,
        "wrap_at": sim.sensor.wrap_at,
        "gain_std": sim.gain_std,
    }
    clock = {
        **channel,
        "field": "sm_clock",
        "quantity": "frequency",
        "in_total": False,
        "latched": False,
        "update_period_ns": 0,
        "window_ns": 0,
        "unit": 1.0,
        "wrap_at": 0,
        "gain_std": 0.0,
    }
    streams = int(sim.span_stream.max()) + 1 if len(sim.span_stream) else 0
    empty = np.zeros(0, dtype=_core.record_dtype())
    trace = _core.Trace(
        name="simulation",
        begin_ns=OFFSET_NS,
        end_ns=OFFSET_NS + sim.duration_ns,
        begin_wall_ns=0,
        channels=[channel] if sim.clock is None else [channel, clock],
        paths=[(0, "")],
        ticks=_in_order(_ticks(sim), _clock_ticks(sim)),
        cells=empty,
        spans=empty,
        gaps=[],
        overhead={},
        warnings=["simulated: made-up power, no meter was read"],
        kernels=_kernels(sim),
        kernel_classes=[_kernel_class(name) for name in sim.work.names],
        tracks=[
            {"domain": _DOMAIN, "device": device, "context": 1, "stream": i} for i in range(streams)
        ],
    )
    trace.environment = {"host": "simulated"}
    return trace


def _ticks(sim: Simulation) -> NDArray[Any]:
    shown = sim.ticks
    # A reader looks no further than to the first tick that closes the last window.
    n = int(np.searchsorted(sim.old_ns, sim.duration_ns, side="right")) + 1
    n = min(n, len(shown.count))
    rows = np.zeros(n, dtype=_core.record_dtype())
    rows["kind"] = _TICK
    rows["a"] = np.ceil(sim.new_ns[:n]).astype(np.int64) + OFFSET_NS
    rows["b"] = np.floor(sim.old_ns[:n]).astype(np.int64) + OFFSET_NS
    count = shown.count[:n]
    skipped = np.diff(shown.index[:n], prepend=shown.index[:1] - 1) - 1
    rows["d"] = skipped
    flags = np.where(skipped > 0, _MISSED, 0)
    if sim.sensor.counter:
        count = count - count[:1]
        if sim.sensor.wrap_at:
            turns = count // sim.sensor.wrap_at
            flags |= np.where(np.diff(turns, prepend=0) > 0, _WRAPPED, 0)
        flags |= np.where(shown.reset[:n], _RESET, 0)
    rows["c"] = count.astype(np.uint64)
    rows["flags"] = flags
    return rows


def _clock_ticks(sim: Simulation) -> NDArray[Any]:
    t_ns, hertz = sim.clock or (np.zeros(0, np.int64), np.zeros(0))
    rows = np.zeros(len(t_ns), dtype=_core.record_dtype())
    rows["kind"], rows["id"] = _TICK, 1
    rows["a"] = rows["b"] = t_ns + OFFSET_NS
    rows["c"] = np.rint(hertz).astype(np.uint64)
    return rows


def _in_order(*parts: NDArray[Any]) -> NDArray[Any]:
    rows = np.concatenate(parts)
    return rows[np.argsort(rows["a"], kind="stable")]


def _kernels(sim: Simulation) -> NDArray[Any]:
    rows = np.zeros(len(sim.span_class), dtype=_core.record_dtype())
    rows["kind"] = _KERNEL
    rows["a"], rows["b"] = sim.span_begin_ns + OFFSET_NS, sim.span_end_ns + OFFSET_NS
    rows["d"], rows["id"] = sim.span_class, sim.span_stream
    return rows


def _kernel_class(name: str) -> dict[str, Any]:
    return {
        "kind": "kernel",
        "name": name,
        "grid": (1, 1, 1),
        "block": (1, 1, 1),
        "static_shared": 0,
        "dynamic_shared": 0,
        "bytes": 0,
    }
