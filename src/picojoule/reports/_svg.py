"""A still picture of power over time, for where no script runs: notebooks, locked browsers."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from picojoule.reports import _plot, units
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.results import PowerSeries, Profile

#: Middle tones that stand on white as on black, and apart for colour-blind eyes.
_COLORS = ("#2f80c2", "#d9702a", "#16a07c", "#b5619f", "#b08d1a", "#4fb0dc", "#97704d", "#808690")
_LEFT, _RIGHT, _TOP = 54, 8, 22
_HEIGHT = 150
_POINTS = 800


def draw(profile: Profile, width: int) -> str:
    """The picture as an ``<svg>``; "" if there is no power to draw."""
    series = [p for p in profile.power if len(p.watts)]
    if not series or profile.duration_s <= 0:
        return ""
    thin = [(p, *_plot.decimate(p.edges_ns, p.watts, _POINTS)) for p in series]
    top = max((w for _, _, watts in thin for w in watts.tolist() if math.isfinite(w)), default=0.0)
    top = nice(top) if top > 0 else 1.0
    inner = width - _LEFT - _RIGHT

    def x(at: int) -> float:
        share = (at - profile.begin_ns) / (profile.end_ns - profile.begin_ns)
        return _LEFT + inner * min(max(share, 0.0), 1.0)

    def y(watts: float) -> float:
        return _TOP + _HEIGHT * (1 - watts / top)

    out = []
    for i in range(3):
        at = top * i / 2
        out.append(
            f'<line x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y(at):.1f}" y2="{y(at):.1f}" '
            'stroke="currentColor" stroke-opacity=".2"/>'
            + label(_LEFT - 6, y(at) + 4, units.watts(at) if at else "0 W", "end")
        )
    for i in range(5):
        at_s = profile.duration_s * i / 4
        place = "start" if i == 0 else "end" if i == 4 else "middle"
        out.append(label(_LEFT + inner * i / 4, _TOP + _HEIGHT + 16, units.seconds(at_s), place))
    for gap in profile.gaps[:200]:
        left, right = x(gap.begin_ns), x(gap.end_ns)
        out.append(
            f'<rect x="{left:.1f}" y="{_TOP}" width="{max(1.0, right - left):.1f}" '
            f'height="{_HEIGHT}" fill="currentColor" fill-opacity=".1">'
            f"<title>no reading: {escape(clean(gap.domain))}</title></rect>"
        )
    legend = float(_LEFT)
    for i, (p, edges, watts) in enumerate(thin):
        color = _COLORS[i % len(_COLORS)]
        dash = ' stroke-dasharray="5 3"' if p.provenance == "estimated" else ""
        path = _steps([x(e) for e in edges.tolist()], watts.tolist(), y)
        out.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dash}/>')
        name = f"{clean(p.domain)}, {p.provenance}"
        if legend + 30 + 7 * len(name) < width:
            out.append(
                f'<line x1="{legend:.0f}" x2="{legend + 20:.0f}" y1="9" y2="9" stroke="{color}" '
                f'stroke-width="2"{dash}/>' + label(legend + 26, 13, name, "start")
            )
            legend += 46 + 6.5 * len(name)
    words = escape("Power over time: " + ", ".join(_words(p) for p in series))
    return (
        f'<svg role="img" aria-label="{words}" width="100%" '
        f'viewBox="0 0 {width} {_TOP + _HEIGHT + 22}" font-family="system-ui, sans-serif" '
        f'font-size="11">{"".join(out)}</svg>'
    )


def nice(value: float) -> float:
    """The least of 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten that holds ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    return next((s * power for s in steps if s * power >= value), 10 * power)


def _words(series: PowerSeries) -> str:
    return f"{clean(series.domain)} ({series.provenance})"


def _steps(xs: list[float], watts: list[float], y: Callable[[float], float]) -> str:
    out = []
    drawing = False
    for i, value in enumerate(watts):
        if math.isnan(value):
            drawing = False
            continue
        height = y(value)
        out.append(
            f"V{height:.1f}H{xs[i + 1]:.1f}"
            if drawing
            else f"M{xs[i]:.1f} {height:.1f}H{xs[i + 1]:.1f}"
        )
        drawing = True
    return "".join(out)


def label(x: float, y: float, text: str, anchor: str) -> str:
    """Foreign text at a place of a picture, in the colour of the text around it."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" '
        f'fill-opacity=".75">{escape(text)}</text>'
    )
