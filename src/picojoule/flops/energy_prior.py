"""What a kernel is expected to draw, from its FLOPs and bytes: where readings cannot tell.

Power = constant + (energy per FLOP x FLOPs + energy per byte x bytes) / time. The figures are
marginal energies under full use, measured by others on few boards, so each has a wide spread; they
are priors, never answers: the solver moves away from them as far as the readings say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picojoule.kernels import Kernel, KernelTable
    from picojoule.results import Profile


@dataclass(frozen=True, slots=True)
class PerWork:
    """Marginal energy of work on one architecture.

    ``pj_per_flop`` maps a type of arithmetic to (pJ, factor of one standard deviation).
    """

    arch: str
    pj_per_flop: Mapping[str, tuple[float, float]]
    pj_per_byte: tuple[float, float]
    source: str


_WEAK: Mapping[str, tuple[float, float]] = {
    "tensor-bf16": (0.55, 1.4),
    "tensor-fp16": (0.55, 1.4),
    "tensor-fp8": (0.30, 1.6),
    "tensor-int8": (0.30, 1.6),
    "tensor-tf32": (1.2, 1.6),
    "fp32": (6.0, 2.0),
    "fp16": (6.0, 2.0),
    "bf16": (6.0, 2.0),
    "fp64": (24.0, 1.3),
}
_DRIVEN = "Benchmark-driven models for GPU energy, SC'25: control and datapath with random data"
#: Memory: pJ per bit from L1 to HBM, times 8.
PER_WORK: Mapping[str, PerWork] = {
    "ampere": PerWork(
        "ampere",
        {**_WEAK, "tensor-fp16": (0.70, 1.3), "tensor-bf16": (0.70, 1.4), "fp64": (28.5, 1.2)},
        (8 * 13.11, 1.15),
        f"{_DRIVEN}, A100-40",
    ),
    "hopper": PerWork(
        "hopper",
        {**_WEAK, "tensor-fp16": (0.52, 1.3), "tensor-bf16": (0.52, 1.4), "fp64": (23.6, 1.2)},
        (8 * 11.68, 1.15),
        f"{_DRIVEN}, GH200 (the same die as H100)",
    ),
    "cdna2": PerWork(
        "cdna2",
        {**_WEAK, "tensor-fp16": (1.60, 1.3), "tensor-bf16": (1.60, 1.4), "fp64": (15.73, 1.2)},
        (8 * 13.64, 1.15),
        f"{_DRIVEN}, MI250X",
    ),
    "cdna3": PerWork(
        "cdna3",
        {**_WEAK, "tensor-fp16": (0.46, 1.3), "tensor-bf16": (0.46, 1.4), "fp64": (11.47, 1.2)},
        (8 * 14.72, 1.15),
        f"{_DRIVEN}, MI300A",
    ),
}
#: Of an architecture that nobody measured.
ANY = PerWork("any", _WEAK, (8 * 12.0, 1.25), f"spread around those of {_DRIVEN}")

#: Names of boards -> architecture, by words in the name that the driver gives.
_ARCHITECTURES = (
    ("ampere", ("a100", "a30", "a10", "a40")),
    ("hopper", ("h100", "h200", "h800", "h20", "gh200")),
    ("cdna2", ("mi210", "mi250", "mi250x")),
    ("cdna3", ("mi300a", "mi300x", "mi325x")),
)

#: Power of a board in use that does no work: 54 to 88 W on four boards (same source), and 26 to 50
#: W more once a context exists (arXiv 2605.23918).
_CONSTANT_W = (90.0, 1.4)
#: The model itself: energy per operation moves with data, clocks and temperature (data alone
#: changes the power of a matrix product by up to 40 %: arXiv 2409.18324).
_MODEL = 1.28
#: One of FLOPs and bytes is not known: so much more may be missing.
_HALF_KNOWN = 1.7


def per_work(device: str) -> PerWork:
    """Energies for the board that the driver calls ``device``; those of ``ANY`` if not known."""
    words = set(device.lower().replace("-", " ").replace("/", " ").split())
    for arch, names in _ARCHITECTURES:
        if words.intersection(names):
            return PER_WORK[arch]
    return ANY


def expected_watts(
    kernel: Kernel, energies: PerWork, constant_w: tuple[float, float] = _CONSTANT_W
) -> tuple[float, float]:
    """Mean power that a kernel's FLOPs and bytes let expect, and its relative standard deviation.

    Args:
        kernel: with the FLOPs and bytes of all its runs.
        energies: of its board.
        constant_w: power without work, W, and the factor of one standard deviation.

    Returns:
        (watts, relative std); (nan, nan) where neither FLOPs nor bytes are known.
    """
    flops = kernel.flops if math.isnan(kernel.executed_flops) else kernel.executed_flops
    each = energies.pj_per_flop.get(kernel.flops_type)
    parts: list[tuple[float, float]] = []
    if flops == 0.0:
        parts.append((0.0, 1.0))
    elif not math.isnan(flops) and each is not None:
        parts.append((flops * each[0] * 1e-12, each[1]))
    if not math.isnan(kernel.bytes):
        parts.append((kernel.bytes * energies.pj_per_byte[0] * 1e-12, energies.pj_per_byte[1]))
    if not parts or not kernel.time_s > 0:
        return math.nan, math.nan
    work_w = math.fsum(joules for joules, _ in parts) / kernel.time_s
    spread = math.hypot(*(joules / kernel.time_s * (factor - 1.0) for joules, factor in parts))
    model = work_w * (_MODEL - 1.0 if len(parts) > 1 else _HALF_KNOWN - 1.0)
    watts = constant_w[0] + work_w
    std = math.hypot(spread, model, constant_w[0] * (constant_w[1] - 1.0))
    return watts, std / watts


def priors(profile: Profile, kernel_classes: Sequence[Mapping[str, Any]]) -> Priors | None:
    """Expected power of each kernel class of a trace, for the solver; None if nothing is known.

    ``kernel_classes`` are those of the trace, in its order; kernels are met by name and shape.
    """
    table = profile.kernels
    devices = {c.domain: c.device for c in profile.channels if c.device}
    constants = {d.domain: _constant(table, d.domain) for d in table.devices}
    sums: dict[tuple[object, ...], list[tuple[float, float, float]]] = {}
    for k in table:
        if k.domain not in constants:
            continue
        found = expected_watts(k, per_work(devices.get(k.domain, "")), constants[k.domain])
        if not math.isnan(found[0]):
            key = (k.kind, k.name, k.grid, k.block)
            sums.setdefault(key, []).append((k.time_s, *found))
    if not sums:
        return None
    watts, spreads = [], []
    for what in kernel_classes:
        shape = (tuple(what["grid"]), tuple(what["block"]))
        rows = sums.get((what["kind"], what["name"], *shape), [])
        time_s = math.fsum(t for t, _, _ in rows)
        mean = math.fsum(t * w for t, w, _ in rows) / time_s if time_s > 0 else math.nan
        watts.append(mean)
        spreads.append(max((cv for _, _, cv in rows), default=1.0))
    return Priors(tuple(watts), tuple(spreads))


@dataclass(frozen=True, slots=True)
class Priors:
    """Expected W of each kernel class while it runs, nan where unknown, and its relative std."""

    watts: tuple[float, ...]
    cv: tuple[float, ...]


def _constant(table: KernelTable, domain: str) -> tuple[float, float]:
    """What the device drew while nothing ran, where that was seen; else what boards do."""
    for d in table.devices:
        if d.domain != domain or d.idle_s < 0.02 * (d.idle_s + d.busy_s):
            continue
        watts = d.idle.joules / d.idle_s
        if d.idle.std_j < 0.3 * d.idle.joules:
            # Running anything at all costs more than idling.
            return watts, 1.25
    return _CONSTANT_W
