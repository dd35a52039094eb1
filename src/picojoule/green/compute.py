"""FLOPs of training: by counting, by GPU time, by 6ND; petaflop/s-days, utilisation, pJ/FLOP.

One fused multiply-add (MAC) is 2 FLOPs. A training step is three times the forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from picojoule.errors import UsageError
from picojoule.flops.peaks import peaks_of
from picojoule.green.quantities import Quantity, quantity, unit_of, unknown, with_unit
from picojoule.green.tables import Tables, maybe, number, rows

#: Share of the peak that training was taken to reach, unless known (Amodei and Hernandez 2018).
GPU_UTILISATION = 0.33
CPU_UTILISATION = 0.17
#: They claim their estimates to be right within this factor.
_WITHIN = 3.0


def counted(macs_per_example: float, examples: float, epochs: float = 1.0) -> Quantity:
    """Training FLOPs by operation counting (Amodei and Hernandez 2018, method 1).

    ``MACs of a forward pass x 2 x 3 x examples x epochs``.

    >>> str(counted(16e9, 1.2e6, 74).because(""))
    '8.52 EFLOP'
    """
    macs = number(macs_per_example, "macs_per_example")
    many = number(examples, "examples") * number(epochs, "epochs")
    return Quantity(
        macs * 2 * 3 * many,
        unit_of("FLOP")[0],
        provenance="modelled",
        basis="MACs of a forward pass x 2 x 3 x examples x epochs",
    )


def from_device_time(
    devices: float, peak: Any, time: Any, utilisation: float | None = None
) -> Quantity:
    """Training FLOPs by device time (Amodei and Hernandez 2018, method 2).

    ``devices x peak x time x utilisation``.

    Args:
        devices: how many.
        peak: of one, "1.58 TFLOP/s".
        time: wall time, "5.5 d".
        utilisation: share of the peak that was reached; 0.33 if not told, and then the result is
            worth a factor of three either way.

    Raises:
        UnitError: ``peak`` is no FLOP/s or ``time`` no time.
        UsageError: a utilisation outside of 0 to 1, a negative number.
    """
    assumed = utilisation is None
    share = GPU_UTILISATION if utilisation is None else number(utilisation, "utilisation")
    if share > 1:
        raise UsageError(f"utilisation is a share of the peak, at most 1, not {share:g}")
    rate, wall = with_unit(peak, "TFLOP/s", "peak"), with_unit(time, "d", "time")
    flops = number(devices, "devices") * share * (rate * wall)
    said = f"devices x peak x time x utilisation {share:g}"
    if not assumed:
        return flops.because(said, "modelled")
    return Quantity(
        flops.value, flops.dimension, flops.value / _WITHIN, flops.value * _WITHIN,
        "estimated", f"{said}, assumed (Amodei and Hernandez 2018)",
    )  # fmt: skip


def training(parameters: float, tokens: float) -> Quantity:
    """Training FLOPs of a dense transformer: ``6 N D`` (2 N D forward, 4 N D backward).

    Args:
        parameters: N; of a mixture of experts those that are active for a token.
        tokens: D: tokens seen, all epochs.

    Kaplan et al. 2020, section 2.1. It leaves out attention over the context (see
    ``palm_flops_per_token``), and is a few percent off detailed counts.
    """
    n, d = number(parameters, "parameters"), number(tokens, "tokens")
    return Quantity(6.0 * n * d, unit_of("FLOP")[0], provenance="modelled", basis="6ND")


def palm_flops_per_token(
    parameters: float, layers: float = 0, heads: float = 0, head_dim: float = 0, context: float = 0
) -> float:
    """Training FLOPs of a token with attention: ``6 N + 12 L H Q T`` (Chowdhery et al. 2022, B).

    Leave out all but ``parameters`` for the count without attention.
    """
    n = number(parameters, "parameters")
    return 6.0 * n + 12.0 * float(layers) * float(heads) * float(head_dim) * float(context)


def mfu(
    tokens_per_s: float,
    flops_per_token: float,
    devices: float,
    peak: Any,
) -> float:
    """Model FLOPs utilisation of training: tokens/s x FLOPs a token / (devices x peak).

    Args:
        tokens_per_s: of all devices together.
        flops_per_token: see ``palm_flops_per_token``.
        devices: how many.
        peak: dense peak of one, "275 TFLOP/s".

    PaLM: 238,300 tokens/s on 6,144 TPU v4 is 46.2 % with attention and 45.7 % without.
    """
    top = number(devices, "devices") * with_unit(peak, "TFLOP/s", "peak").value
    if not top > 0:
        raise UsageError("devices and peak must be above 0")
    rate = number(tokens_per_s, "tokens_per_s") * number(flops_per_token, "flops_per_token")
    return rate / top


def hfu(model_utilisation: float, executed_over_model: float) -> float:
    """Hardware FLOPs utilisation: MFU x (executed FLOPs / model FLOPs).

    Rematerialisation executes up to one more forward pass: 4/3. PaLM: 46.2 % x 4.10/3.28 = 57.8 %.
    """
    ratio = number(executed_over_model, "executed_over_model")
    if ratio < 1:
        raise UsageError(f"hardware executes at least the model's FLOPs, not {ratio:g} of them")
    return number(model_utilisation, "model_utilisation") * ratio


def pf_days(flops: Any) -> float:
    """FLOPs in petaflop/s-days of 8.64e19."""
    return with_unit(flops, "FLOP", "flops").to("pf-days")


def pj_per_flop(energy: Any, flops: Any) -> Quantity:
    """Energy of one FLOP. Say beside it of what: device, node or facility; model or executed FLOPs.

    Returns:
        A quantity whose ``to("pJ/FLOP")`` is the number; unknown if there are no FLOPs.
    """
    e, f = with_unit(energy, "kWh", "energy"), with_unit(flops, "FLOP", "flops")
    if f.known and f.value < 1:
        return unknown("pJ/FLOP", "no FLOPs")
    return e / f


def nameplate_floor(device: str, arithmetic: str = "tensor-fp16") -> Quantity:
    """The least pJ/FLOP that a device's papers allow: board power over dense peak.

    Args:
        device: name as its driver gives it.
        arithmetic: a type of ``picojoule.flops.peaks``, such as "tensor-bf16" or "fp32".

    Returns:
        Unknown for devices and types that the table lacks.
    """
    found = peaks_of(device) if device else None
    if found is None:
        return unknown("pJ/FLOP", f"no peaks of {device or 'the device'} are known")
    peak = found.flops_per_s(arithmetic)
    if math.isnan(peak) or math.isnan(found.tdp_w):
        return unknown("pJ/FLOP", f"no power or {arithmetic} peak of {found.device} is known")
    floor = quantity(found.tdp_w, "W") / quantity(peak, "FLOP/s")
    said = f"board power over dense {arithmetic} peak of {found.device}"
    return floor.because(said, "published")


@dataclass(frozen=True, slots=True)
class Growth:
    """How something grew between two dates.

    Attributes:
        factor: last over first.
        doublings: log2 of it.
        days: between the dates.
        doubling_days: days for each doubling; nan without growth.
    """

    factor: float
    doublings: float
    days: float
    doubling_days: float

    @property
    def doubling_months(self) -> float:
        """Doubling time in months of 30.44 days."""
        return self.doubling_days / 30.4375

    def __str__(self) -> str:
        return (
            f"x{self.factor:,.3g} in {self.days / 365.25:.1f} years: {self.doublings:.1f} "
            f"doublings, one per {self.doubling_months:.1f} months"
        )


def growth(first: Any, last: Any, begin: str | date, end: str | date) -> Growth:
    """Growth from one amount to another, with its doubling time.

    Args:
        first: FLOPs, energy or any quantity, or a plain number.
        last: of the same kind.
        begin: date of the first, "2012-09-30" or a ``date``; a month alone is its first day.
        end: of the last.

    Raises:
        UnitError: two kinds.
        UsageError: amounts that are not above 0, or dates in the wrong order.
    """
    a = first if isinstance(first, Quantity) else Quantity(number(first, "first"))
    b = last if isinstance(last, Quantity) else Quantity(number(last, "last"))
    a._same(b, "cannot be compared")
    if not (a.value > 0 and b.value > 0):
        raise UsageError("growth needs two known amounts above 0")
    days = (_date(end) - _date(begin)).days
    if days <= 0:
        raise UsageError(f"{end} is not after {begin}")
    factor = b.value / a.value
    doublings = math.log2(factor)
    return Growth(factor, doublings, float(days), days / doublings if doublings > 0 else math.nan)


@dataclass(frozen=True, slots=True)
class ComputeRow:
    """A row of the table of Amodei and Hernandez, printed and recomputed.

    ``flops`` is what the printed factors give, unknown where only the result was published;
    ``printed_pf_days`` is what they print; ``note`` says where the two differ.
    """

    system: str
    date: str
    method: str
    flops: Quantity
    printed_pf_days: float
    printed_pflop: float
    note: str


def ai_and_compute(tables: Tables | None = None) -> Sequence[ComputeRow]:
    """The table of Amodei and Hernandez, "AI and Compute" (2018), recomputed from its factors."""
    out = []
    for r in rows("ai_and_compute", tables):
        if r["method"] == "counting":
            flops = counted(
                float(r["macs_per_example"]), float(r["examples"]), float(r["epochs"])
            )  # fmt: skip
        elif r["method"] == "gpu-time":
            flops = from_device_time(
                float(r["devices"]),
                f"{r['peak_tflops']} TFLOP/s",
                f"{r['days']} d",
                float(r["utilisation"]),
            )
        else:
            flops = quantity(float(r["printed_pf_days"]), "pf-days").because(
                f"Amodei and Hernandez 2018; {r['note']}".rstrip("; "), "published"
            )
        out.append(
            ComputeRow(
                r["system"], r["date"], r["method"], flops,
                maybe(r, "printed_pf_days"), maybe(r, "printed_pflop"), r["note"],
            )
        )  # fmt: skip
    return tuple(out)


def _date(told: str | date) -> date:
    if isinstance(told, date):
        return told
    try:
        return date.fromisoformat(told if len(told) > 7 else f"{told}-01")
    except ValueError:
        raise UsageError(f"{told!r} is no date; write 2012-09-30 or 2012-09") from None
