"""Arithmetic intensity against FLOP/s, for kernels of which both FLOP and bytes are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from picojoule.reports import units
from picojoule.reports._markup import e
from picojoule.reports._svg import label
from picojoule.reports._text import clean, ellipsize

if TYPE_CHECKING:
    from picojoule.kernels import Kernel
    from picojoule.results import Profile

#: Types of arithmetic whose ceilings are asked for.
TYPES = ("fp64", "fp32", "tensor-tf32", "tensor-fp16", "tensor-bf16", "tensor-fp8")
_MOST_POINTS = 300
_NAMED = 5
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 24, 12, 40


class Peaks(Protocol):
    """What a device can do at most; nan where that is not known."""

    @property
    def bytes_per_s(self) -> float:
        """Bytes a second from its memory."""
        ...

    def flops_per_s(self, type: str, /) -> float:
        """FLOP a second in one of ``TYPES``."""
        ...


def section(profile: Profile, peaks: Peaks | None) -> str:
    """The plot, or a sentence that says what it lacks; "" where no kernel ran."""
    table = profile.kernels
    ran = [k for k in table.by("kernel", "region") if k.kind == "kernel"] if len(table) else []
    if not ran:
        return ""
    found = [k for k in ran if k.flops > 0 and k.bytes > 0 and k.time_s > 0]
    found.sort(key=lambda k: -k.time_s)
    notes = []
    if not found:
        lacks = [
            words
            for words, known in (
                ("FLOP", any(k.flops > 0 for k in ran)),
                ("the bytes they move", any(k.bytes > 0 for k in ran)),
            )
            if not known
        ]
        what = " and ".join(lacks) or "FLOP and bytes of the same kernel"
        notes.append(f"No roofline: it needs {what}, which no kernel here has.")
    else:
        if len(found) < len(ran):
            notes.append(
                f"{len(found):,} of {len(ran):,} kernels; of the others FLOP or bytes are unknown."
            )
        if len(found) > _MOST_POINTS:
            notes.append(f"Only the {_MOST_POINTS:,} that took most of the time are drawn.")
        if peaks is None:
            notes.append("No ceilings: what the device can do at most is not known here.")
        notes.append("The larger a dot, the more time. Dots are means over all runs of a kernel.")
    plot = _draw(found[:_MOST_POINTS], peaks) if found else ""
    return (
        '<section id="roofline"><div class="title"><h2>Roofline</h2></div>'
        + (f'<div class="scroll">{plot}</div>' if plot else "")
        + "".join(f'<p class="note">{e(n)}</p>' for n in notes)
        + "</section>"
    )


def _ceilings(peaks: Peaks | None) -> tuple[float, list[tuple[str, float]]]:
    """Bytes a second (nan if unknown), and what of ``TYPES`` is known."""
    if peaks is None:
        return math.nan, []
    known = [(name, float(peaks.flops_per_s(name))) for name in TYPES]
    slope = float(peaks.bytes_per_s)
    return (
        slope if math.isfinite(slope) and slope > 0 else math.nan,
        [(name, top) for name, top in known if math.isfinite(top) and top > 0],
    )


def _of_attainable(kernel: Kernel, peaks: Peaks | None) -> str:
    """How much of what the roof allows a kernel reached; "" where the roof is not known."""
    top = peaks.flops_per_s(kernel.flops_type) if peaks is not None else math.nan
    slope = kernel.flops / kernel.bytes * peaks.bytes_per_s if peaks is not None else math.nan
    if math.isnan(top) or math.isnan(slope):
        return ""
    share = kernel.flops / kernel.time_s / min(top, slope)
    bound = "arithmetic" if top <= slope else "memory"
    return f", {units.percent(share)} of attainable ({bound} bound, {kernel.flops_type})"


def _draw(points: Sequence[Kernel], peaks: Peaks | None) -> str:
    slope, tops = _ceilings(peaks)
    xs = [k.flops / k.bytes for k in points]
    ys = [k.flops / k.time_s for k in points]
    knees = [top / slope for _, top in tops if slope > 0]
    x0, x1 = _decades([*xs, *knees])
    y0, y1 = _decades([*ys, *(top for _, top in tops)])
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + (right - _LEFT) * (math.log10(value) - x0) / (x1 - x0)

    def y(value: float) -> float:
        return bottom - (bottom - _TOP) * (math.log10(value) - y0) / (y1 - y0)

    out = []
    for power in range(x0, x1 + 1):
        at = x(10.0**power)
        out.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        out.append(label(at, bottom + 16, f"{10.0**power:g}", "middle"))
    for power in range(y0, y1 + 1):
        at = y(10.0**power)
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        # Three digits that say 1, 10 or 100.
        words = units.quantity(10.0**power, "", 1).rstrip()
        out.append(label(_LEFT - 6, at + 4, words, "end"))
    out.append(label((_LEFT + right) / 2, _HEIGHT - 6, "FLOP per byte moved", "middle"))
    out.append(label(_LEFT + 6, _TOP + 10, "FLOP/s", "start"))
    least_x, least_y = 10.0**x0, 10.0**y0
    for name, top in tops:
        knee = top / slope if slope > 0 else least_x
        begin = min(max(knee, least_x), 10.0**x1)
        out.append(
            f'<line class="ceiling" x1="{x(begin):.1f}" x2="{right}" '
            f'y1="{y(top):.1f}" y2="{y(top):.1f}"/>'
        )
        out.append(label(right - 4, y(top) - 4, f"{name} {units.quantity(top, 'FLOP/s')}", "end"))
    if slope > 0:
        top = max((t for _, t in tops), default=10.0**y1)
        from_x = max(least_x, least_y / slope)
        to_x = min(10.0**x1, top / slope)
        if to_x > from_x:
            out.append(
                f'<line class="ceiling" x1="{x(from_x):.1f}" x2="{x(to_x):.1f}" '
                f'y1="{y(from_x * slope):.1f}" y2="{y(to_x * slope):.1f}"/>'
            )
    most = max(k.time_s for k in points)
    named: set[tuple[int, int]] = set()
    for k, at_x, at_y in zip(points, xs, ys, strict=True):
        radius = 3 + 6 * math.sqrt(k.time_s / most)
        words = (
            f"{clean(k.name)}, {'/'.join(clean(n) for n in k.region) or 'no region'}: "
            f"{units.quantity(at_y, 'FLOP/s')}, {at_x:.3g} FLOP/byte, {units.seconds(k.time_s)}, "
            f"{units.energy(k.energy)}{_of_attainable(k, peaks)}"
        )
        out.append(
            f'<circle class="dot c0" cx="{x(at_x):.1f}" cy="{y(at_y):.1f}" r="{radius:.1f}">'
            f"<title>{e(words)}</title></circle>"
        )
        here = (round(x(at_x) / 40), round(y(at_y) / 14))
        if len(named) < _NAMED and here not in named:  # no name over another
            named.add(here)
            end = x(at_x) > (_LEFT + right) / 2
            side = -radius - 4 if end else radius + 4
            short = ellipsize(clean(k.name), 28)
            out.append(label(x(at_x) + side, y(at_y) + 4, short, "end" if end else "start"))
    words = (
        f"Roofline of {len(points):,} kernels: FLOP a second over FLOP per byte, both logarithmic"
    )
    return (
        f'<svg class="roof" role="img" aria-label="{words}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"{''.join(out)}</svg>"
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Powers of ten that hold ``values``, two at least."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return (low, max(high, low + 1))
