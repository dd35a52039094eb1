"""The kernels of a profile, from the raw trace and what the native analysis made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from picojoule import _core
from picojoule.flops.work import below
from picojoule.kernels import Device, Kernel, KernelTable
from picojoule.results import UNKNOWN, Channel, Estimate

_REPLAYED, _UNMATCHED = 1, 2

_BASIS = {
    "timeline": "{meter} joules of the device spread over what ran, by time: equal power for all "
    "that shares a tick of the meter",
    "sums": "{meter} joules of the device spread over what ran, by time: the mean power of all "
    "busy time, since kernels were not kept one by one",
}


def kernel_table(
    trace: _core.Trace,
    found: Mapping[str, Any],
    chosen: Mapping[str, Channel],
    paths: tuple[tuple[str, ...], ...],
    own_path: tuple[str, ...] = (),
) -> KernelTable:
    """What ran on devices in ``trace``, with the energy of each."""
    cells = trace.kernel_cells
    if not len(cells):
        return KernelTable(())
    classes, tracks = trace.kernel_classes, trace.tracks
    energies: dict[int, Estimate] = {}
    inside: dict[int, float] = {}
    devices = []
    for use in found["devices"]:
        channel = next((c for c in chosen.values() if c.index == use["channel"]), None)
        if channel is None:
            continue
        for i, joules, std_j in zip(use["cell"], use["joules"], use["std_j"], strict=True):
            energies[int(i)] = _estimate(channel, use["spread"], float(joules), float(std_j))
        inside.update(zip(use["cell"].tolist(), use["inside_s"].tolist(), strict=True))
        busy_j = math.fsum(use["joules"])
        devices.append(
            Device(
                domain=channel.domain,
                busy_s=use["busy_s"],
                idle_s=use["idle_s"],
                busy=_estimate(channel, use["spread"], busy_j, 0.0),
                idle=_estimate(channel, use["spread"], use["idle_j"], 0.0),
                spread=use["spread"],
            )
        )
    rows = []
    for i, cell in enumerate(cells):
        what, where = classes[int(cell["kernel_class"])], tracks[int(cell["track"])]
        count = int(cell["count"])
        is_copy = what["kind"] in ("memcpy", "memset")
        rows.append(
            Kernel(
                name=what["name"],
                kind=what["kind"],
                region=below(paths[int(cell["path"])], own_path),
                domain=where["domain"],
                stream=int(where["stream"]),
                grid=tuple(what["grid"]),
                block=tuple(what["block"]),
                calls=count,
                time_s=int(cell["time_ns"]) * 1e-9,
                least_s=int(cell["least_ns"]) * 1e-9,
                most_s=int(cell["most_ns"]) * 1e-9,
                energy=energies.get(i, UNKNOWN),
                inside_s=inside.get(i, math.nan),
                flops=0.0 if is_copy else math.nan,
                bytes=float(count * what["bytes"]) if is_copy else math.nan,
                flops_source="a copy computes nothing" if is_copy else "",
                captured=bool(int(cell["flags"]) & _REPLAYED),
                unmatched=bool(int(cell["flags"]) & _UNMATCHED),
            )
        )
    return KernelTable(rows, devices)


def _estimate(channel: Channel, spread: str, joules: float, std_j: float) -> Estimate:
    # The device's total may be measured; that it falls to kernels by time is a model of theirs.
    guess = channel.provenance in ("estimated", "simulated")
    provenance = channel.provenance if guess else "modelled"
    return Estimate(
        joules=joules,
        std_j=std_j,
        provenance=provenance,
        gain_std=channel.gain_std,
        basis=_BASIS[spread].format(meter=channel.meter),
    )
