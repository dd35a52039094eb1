"""What is known of a profile's FLOPs and bytes, in sentences and as plain values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from picojoule.reports import _facts, units
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.results import Profile

#: Where FLOPs come from, for a reader who never heard of it.
SOURCES = {
    "aten": "formulas of PyTorch's operations",
    "user": "what the user told",
    "triton": "what the Triton kernels tell of themselves",
    "inductor": "what torch.compile's code generator tells",
    "hlo": "formulas of XLA's operations",
    "cublas": "the shapes that cuBLAS logged",
    "counter": "hardware counters",
}
_MOST_OPS = 6


def lines(profile: Profile) -> list[str]:
    """A sentence each for model FLOPs, executed FLOPs, bytes and what is not known."""
    known = profile.flops
    out = []
    covers = _covers(profile)
    if not math.isnan(known.model):
        sources = [clean(SOURCES.get(s, s)) for s in known.sources if s != "counter"]
        by = f" by {'; '.join(sources)}" if sources else ""
        out.append(f"model FLOPs: {units.quantity(known.model, 'FLOP')}{by}{_types(profile)}")
        if rates := _rates(profile, known.model):
            out.append(f"that is {rates}")
        if share := _utilisation(profile):
            out.append(share)
    if not math.isnan(known.executed):
        out.append(
            f"executed FLOPs: {units.quantity(known.executed, 'FLOP')}, counted by the hardware "
            "once for each kernel and shape, times the launches seen"
        )
    if not math.isnan(known.bytes) and known:
        out.append(f"bytes: {units.quantity(known.bytes, 'B')} at least, where they are known")
    if known and covers:
        out.append(f"FLOPs known for {covers}")
    if known.unknown:
        shown = ", ".join(clean(op) for op in known.unknown[:_MOST_OPS])
        more = len(known.unknown) - _MOST_OPS
        out.append(f"FLOPs not known of: {shown}{f' and {more:,} more' if more > 0 else ''}")
    return out + [clean(note) for note in known.notes]


def facts(profile: Profile) -> dict[str, Any]:
    """For JSON: unknown numbers are None."""
    known = profile.flops
    found: dict[str, Any] = _facts.plain(
        {
            "model": known.model,
            "executed": known.executed,
            "bytes": known.bytes,
            "by_type": dict(known.by_type),
            "sources": known.sources,
            "coverage_time": known.coverage_time,
            "coverage_energy": known.coverage_energy,
            "basis": known.basis,
            "unknown": known.unknown,
            "notes": known.notes,
            "regions": [
                {
                    "path": r.path,
                    "flops": r.flops,
                    "bytes": r.bytes,
                    "by_type": dict(r.by_type),
                    "calls": r.calls,
                    "basis": r.basis,
                }
                for r in known.regions
            ],
        }
    )
    return found


def _types(profile: Profile) -> str:
    by_type = profile.flops.by_type
    whole = math.fsum(by_type.values())
    if not whole > 0:
        return ""
    largest = sorted(by_type.items(), key=lambda item: -item[1])
    words = [f"{clean(name) or 'untold type'} {units.percent(v / whole)}" for name, v in largest]
    return f" ({', '.join(words)})"


def _rates(profile: Profile, flops: float) -> str:
    """Per second and joule of what the FLOPs are known of, not of the whole."""
    known, kernels = profile.flops, [k for k in profile.kernels if k.kind == "kernel"]
    whole_s = math.fsum(k.time_s for k in kernels) if kernels else profile.duration_s
    whole_j = math.fsum(k.energy_j for k in kernels) if kernels else profile.energy_j
    out = []
    if known.coverage_time > 0 and whole_s > 0:
        rate = units.quantity(flops / (known.coverage_time * whole_s), "FLOP/s")
        out.append(f"{rate} of {'kernel time' if kernels else 'the time'} they are known for")
    if known.coverage_energy > 0 and whole_j > 0:
        out.append(units.quantity(flops / (known.coverage_energy * whole_j), "FLOP/J"))
    return ", ".join(out)


def _utilisation(profile: Profile) -> str:
    """Model FLOPs utilisation, where the device and its peak are known."""
    from picojoule.flops.peaks import mfu, peaks_of_profile

    peaks = peaks_of_profile(profile)
    by_type = profile.flops.by_type
    if peaks is None or not by_type:
        return ""
    most = max(by_type, key=lambda name: by_type[name])
    share = mfu(by_type[most], profile.duration_s, peaks, most)
    if math.isnan(share):
        return ""
    return (
        f"MFU {units.percent(share)}: of the dense {most} peak of {peaks.device}, "
        f"{units.quantity(peaks.flops_per_s(most), 'FLOP/s')} by its data sheet, over all the time"
    )


def _covers(profile: Profile) -> str:
    known = profile.flops
    of = "kernel " if any(k.kind == "kernel" for k in profile.kernels) else "the "
    out = []
    if not math.isnan(known.coverage_time):
        out.append(f"{_percent(known.coverage_time)} of {of}time")
    if not math.isnan(known.coverage_energy):
        out.append(f"{_percent(known.coverage_energy)} of {of}energy")
    return " and ".join(out)


def _percent(share: float) -> str:
    return units.percent(share) if share else "0 %"
