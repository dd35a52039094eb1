"""The kernels of a profile, from the raw trace and what the native analysis made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from picojoule import _core
from picojoule.flops.work import below
from picojoule.kernels import Device, IdleIn, Kernel, KernelTable
from picojoule.results import UNKNOWN, Channel, Estimate

if TYPE_CHECKING:
    from picojoule.flops.energy_prior import Priors

_REPLAYED, _UNMATCHED = 1, 2

_BASIS = {
    "timeline": "{meter} joules of the device attributed to what ran: a rate for each kernel, "
    "solved from readings and timeline so that all parts add up to the meter",
    "sample": "{meter} joules of the device attributed to what ran: a rate for each kernel, solved "
    "in stretches drawn at random, of which each kernel was kept, and taken to hold for all of its "
    "time; all parts add up to the meter",
    "sums": "{meter} joules of the device spread over what ran, by time: the mean power of all "
    "busy time, since kernels were not kept one by one",
}


def kernel_table(
    trace: _core.Trace,
    found: Mapping[str, Any],
    chosen: Mapping[str, Channel],
    paths: tuple[tuple[str, ...], ...],
    own_path: tuple[str, ...] = (),
    expected: Priors | None = None,
) -> KernelTable:
    """What ran on devices in ``trace``, with the energy of each."""
    cells = trace.kernel_cells
    if not len(cells):
        return KernelTable(())
    classes, tracks = trace.kernel_classes, trace.tracks
    energies: dict[int, Estimate] = {}
    inside: dict[int, float] = {}
    groups: dict[int, str] = {}
    identified: dict[int, bool] = {}
    devices = []
    for use in found["devices"]:
        channel = next((c for c in chosen.values() if c.index == use["channel"]), None)
        if channel is None:
            continue
        for i, joules, std_j in zip(use["cell"], use["joules"], use["std_j"], strict=True):
            watts = expected.watts[int(cells[int(i)]["kernel_class"])] if expected else math.nan
            energies[int(i)] = _estimate(channel, use["spread"], float(joules), float(std_j), watts)
        inside.update(zip(use["cell"].tolist(), use["inside_s"].tolist(), strict=True))
        for i, group, known in zip(use["cell"], use["group"], use["identified"], strict=True):
            groups[int(i)] = f"{channel.domain}#{int(group) + 1}" if group >= 0 else ""
            identified[int(i)] = bool(known)
        devices.append(_device(use, channel, paths, own_path))
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
                identified=identified.get(i, False),
                group=groups.get(i, ""),
                flops=0.0 if is_copy else math.nan,
                bytes=float(count * what["bytes"]) if is_copy else math.nan,
                flops_source="a copy computes nothing" if is_copy else "",
                captured=bool(int(cell["flags"]) & _REPLAYED),
                unmatched=bool(int(cell["flags"]) & _UNMATCHED),
            )
        )
    return KernelTable(rows, devices)


def _device(
    use: Mapping[str, Any],
    channel: Channel,
    paths: tuple[tuple[str, ...], ...],
    own_path: tuple[str, ...],
) -> Device:
    idle_s, idle_j = float(use["idle_s"]), float(use["idle_j"])
    seconds: dict[tuple[str, ...], float] = {}
    for path, own_s in zip(paths, use["idle_path_s"].tolist(), strict=False):
        if own_s > 0.0:
            region = below(path, own_path)
            seconds[region] = seconds.get(region, 0.0) + own_s
    gaps = tuple(
        IdleIn(region, own_s, idle_j * own_s / idle_s if idle_s > 0 else math.nan)
        for region, own_s in sorted(seconds.items(), key=lambda item: -item[1])
    )
    return Device(
        domain=channel.domain,
        busy_s=use["busy_s"],
        idle_s=idle_s,
        busy=_estimate(channel, use["spread"], use["busy_j"], use["busy_std_j"]),
        idle=_estimate(channel, use["spread"], idle_j, use["idle_std_j"]),
        spread=use["spread"],
        groups=MappingProxyType(
            {
                f"{channel.domain}#{i + 1}": _estimate(channel, use["spread"], joules, std_j)
                for i, (joules, std_j) in enumerate(
                    zip(use["group_j"].tolist(), use["group_std_j"].tolist(), strict=True)
                )
            }
        ),
        idle_in=gaps,
        unattributed_j=use["unattributed_j"],
        residual_j=use["residual_j"],
        edge_std_ns=use["edge_std_ns"],
        drift=use["drift"],
        outliers=use["outliers"],
        context=use["context"],
    )


def _estimate(
    channel: Channel, spread: str, joules: float, std_j: float, expected_w: float = math.nan
) -> Estimate:
    # The device's total may be measured; that it falls to kernels by time is a model of theirs.
    guess = channel.provenance in ("estimated", "simulated")
    provenance = channel.provenance if guess else "modelled"
    basis = _BASIS[spread].format(meter=channel.meter)
    if spread == "timeline" and not math.isnan(expected_w):
        basis += (
            f"; {expected_w:.0f} W are expected of its FLOPs and bytes, where readings are silent"
        )
    return Estimate(
        joules=joules, std_j=std_j, provenance=provenance, gain_std=channel.gain_std, basis=basis
    )
