"""Pictures of a study's report: still SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from picojoule.green import figures
from picojoule.green.quantities import quantity
from picojoule.green.report import Part, Point, StudyReport
from picojoule.reports import units
from picojoule.reports._markup import e, pct
from picojoule.reports._svg import label
from picojoule.reports._text import clean, ellipsize

#: Role -> number of its colour in the style sheet.
ROLE_COLORS = {"final": 0, "tune": 1, "ablation": 2, "eval": 3, "debug": 7}
#: Part of the energy -> number of its colour.
PART_COLORS = {
    "the result": 0, "other tuning": 1, "ablations": 2, "evaluation": 3, "debugging": 7,
    "pruned": 4, "without a result": 6, "still running": 5,
}  # fmt: skip
_NAMED = 4


def scatter(r: StudyReport, width: int, height: int, kind: str) -> str:
    """Score against energy (logarithmic): runs, front, laws, next point; ``kind`` is a class."""
    left, right, top, bottom = 62, 18, 16, 46
    xs = [p.kwh for p in r.points]
    ys = [p.score for p in r.points]
    price = next((p for p in r.prices if p.next_point is not None), None)
    goal = price.next_point if price else None
    if goal is not None:
        xs.append(goal.cost * goal.factor)
        sign = 1.0 if r.larger_is_better else -1.0
        ys.append(goal.score + sign * goal.delta)
    least, most = min(xs), max(xs)
    x0, x1 = math.log10(least) - 0.06, math.log10(most) + 0.06
    if x1 - x0 < 0.3:
        x0, x1 = x0 - 0.15, x1 + 0.15
    span = max(ys) - min(ys) or abs(ys[0]) * 0.1 or 1.0
    y0, y1 = min(ys) - 0.07 * span, max(ys) + 0.07 * span

    def x(value: float) -> float:
        return left + (width - left - right) * (math.log10(value) - x0) / (x1 - x0)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (y1 - value) / (y1 - y0)

    out = [_frame(x0, x1, y0, y1, x, y, width, height, left, right, top, bottom)]
    out += _unscored(r.unscored, x, least, most, height - bottom)
    out += _laws(r, x, y, (10**x0, 10**x1), (y0, y1))
    out.append(_front(r.points, x, y, width - right))
    named = 0
    for p in sorted(r.points, key=lambda p: p.front):
        words = (
            f"{clean(p.label)}: {p.score:.4g}, {figures.shown(quantity(p.kwh, 'kWh'))}, {p.role}"
        )
        at_x, at_y = x(p.kwh), y(p.score)
        if p.front:
            ends = [min(max(v, 10**x0), 10**x1) for v in (p.low_kwh, p.high_kwh) if v > 0]
            if len(ends) == 2:
                out.append(
                    f'<line class="whisker" x1="{x(ends[0]):.1f}" x2="{x(ends[1]):.1f}" '
                    f'y1="{at_y:.1f}" y2="{at_y:.1f}"/>'
                )
        color = ROLE_COLORS.get(p.role, 5)
        kinds = f"run c{color}" + (" front" if p.front else "")
        out.append(
            f'<circle class="{kinds}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="{5 if p.front else 4}">'
            f"<title>{e(words)}</title></circle>"
        )
        if kind == "large" and len(r.points) <= 12 and p.front and named < _NAMED and p.label:
            named += 1
            side = at_x > (left + width) / 2
            out.append(
                label(at_x + (-9 if side else 9), at_y + (14 if side else 15),
                      ellipsize(clean(p.label), 30), "end" if side else "start")
            )  # fmt: skip
    if goal is not None:
        out.append(_next(goal.cost, goal.factor, goal.score, ys[-1], goal.delta, x, y))
    name = ellipsize(clean(r.score_name), 40)
    out.append(label((left + width - right) / 2, height - 8, "IT energy of a run (log)", "middle"))
    out.append(
        f'<text class="in" x="{left + 8}" y="{top + 12}" text-anchor="start">{e(name)}</text>'
    )
    words = f"Score {clean(r.score_name)} of {len(r.points):,} runs against their energy"
    return _svg(kind, words, width, height, out)


def _frame(
    x0: float, x1: float, y0: float, y1: float, x: Callable[[float], float],
    y: Callable[[float], float], width: int, height: int, left: int, right: int, top: int,
    bottom: int,
) -> str:  # fmt: skip
    out = []
    steps = (1, 2, 5) if x1 - x0 < 2.2 else (1,)
    # Round numbers of the unit that is shown: joules below 2 Wh.
    unit = 1.0 if 10**x1 > 2e-3 else 1.0 / 3.6e6
    for power in range(math.floor(x0 - math.log10(unit)), math.ceil(x1 - math.log10(unit)) + 1):
        for step in steps:
            value = step * 10.0**power * unit
            if not x0 <= math.log10(value) <= x1:
                continue
            at = x(value)
            out.append(
                f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" '
                f'y2="{height - bottom}"/>'
            )
            out.append(label(at, height - bottom + 17, _energy(value), "middle"))
    for value in ticks(y0, y1):
        out.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/>'
        )
        out.append(label(left - 8, y(value) + 4, f"{value:.6g}", "end"))
    out.append(
        f'<path class="axis" fill="none" d="M{left} {top}V{height - bottom}H{width - right}"/>'
    )
    return "".join(out)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between two ends."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def _energy(kwh: float) -> str:
    for size, unit in ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh"), (2e-3, "Wh")):
        if kwh >= size * (1 - 1e-9):
            return f"{kwh / size:.3g} {unit}" if size >= 1 else f"{kwh * 1e3:.3g} {unit}"
    return units.quantity(kwh * 3.6e6, "J", 1)


def _unscored(
    kwh: Sequence[float], x: Callable[[float], float], least: float, most: float, floor: float
) -> list[str]:
    inside = [v for v in kwh if least <= v <= most][:400]
    return [
        f'<line class="lost" x1="{x(v):.1f}" x2="{x(v):.1f}" y1="{floor - 9}" y2="{floor}">'
        f"<title>no score, {e(_energy(v))}</title></line>"
        for v in inside
    ]


def _laws(
    r: StudyReport, x: Callable[[float], float], y: Callable[[float], float],
    xs: tuple[float, float], ys: tuple[float, float],
) -> list[str]:  # fmt: skip
    out = []
    for i, price in enumerate(r.prices):
        inside = [(c, s) for c, s in price.curve if xs[0] <= c <= xs[1] and ys[0] <= s <= ys[1]]
        if len(inside) > 1:
            path = "L".join(f"{x(c):.1f} {y(s):.1f}" for c, s in inside)
            out.append(
                f'<path class="law{" b" * (i > 0)}" d="M{path}">'
                f"<title>{price.law} law</title></path>"
            )
    return out


def _front(
    points: Sequence[Point], x: Callable[[float], float], y: Callable[[float], float], right: float
) -> str:
    front = sorted((p for p in points if p.front), key=lambda p: p.kwh)
    if not front:
        return ""
    path = f"M{x(front[0].kwh):.1f} {y(front[0].score):.1f}"
    for p in front[1:]:
        path += f"H{x(p.kwh):.1f}V{y(p.score):.1f}"
    return f'<path class="step" d="{path}H{right}"/>'


def _next(
    cost: float, factor: float, start: float, goal: float, delta: float,
    x: Callable[[float], float], y: Callable[[float], float],
) -> str:  # fmt: skip
    at, to = x(cost), x(cost * factor)
    words = f"+{delta:g}: x{factor:.3g}"
    return (
        f'<path class="next" fill="none" d="M{at:.1f} {y(start):.1f}H{to:.1f}V{y(goal):.1f}"/>'
        f'<text class="in" x="{to - 8:.1f}" y="{y(goal) + 2:.1f}" text-anchor="end">{words}</text>'
    )


def share_bar(parts: Sequence[Part]) -> str:
    """The parts' shares of the energy as one bar."""
    known = [p for p in parts if p.share > 0]
    if not known:
        return ""
    out = []
    at = 0.0
    for p in known:
        out.append(
            f'<rect class="c{PART_COLORS[p.label]}" x="{pct(at)}" width="{pct(p.share)}" '
            f'height="30"><title>{e(p.label)}: {p.share:.1%}</title></rect>'
        )
        at += p.share
    words = ", ".join(f"{p.label} {p.share:.1%}" for p in known)
    return f'<svg class="share" role="img" aria-label="{e(words)}" height="30">{"".join(out)}</svg>'


def line_bar(share: float, color: int) -> str:
    """A share as a bar in a table."""
    if not share >= 0:
        return ""
    return (
        f'<svg class="iv" aria-hidden="true" height="12"><rect class="c{color}" '
        f'width="{pct(share)}" height="9" y="2" rx="2"/></svg>'
    )


def best_of(r: StudyReport, width: int = 480, height: int = 250) -> str:
    """Expected best of n trials, with the spread of the best."""
    best = r.best_of
    if best is None or len(best.n) < 2:
        return ""
    left, right, top, bottom = 58, 14, 14, 42
    ns: list[int] = best.n.tolist()
    mean: list[float] = best.expected.tolist()
    spread = [s if math.isfinite(s) else 0.0 for s in best.spread.tolist()]
    lows = [m - s for m, s in zip(mean, spread, strict=True)]
    highs = [m + s for m, s in zip(mean, spread, strict=True)]
    y0, y1 = min(lows), max(highs)
    pad = 0.06 * (y1 - y0 or 1.0)
    y0, y1 = y0 - pad, y1 + pad

    def x(n: float) -> float:
        return left + (width - left - right) * (n - 1) / max(1, ns[-1] - 1)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (y1 - value) / (y1 - y0)

    out = []
    for value in ticks(y0, y1, 4):
        out.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/>'
        )
        out.append(label(left - 8, y(value) + 4, f"{value:.6g}", "end"))
    shown = [n for n in sorted({round(t) for t in ticks(1, ns[-1], 5)} | {1}) if n >= 1]
    out += [label(x(n), height - bottom + 17, f"{n:,}", "middle") for n in shown]
    keep = range(0, len(ns), max(1, len(ns) // 300))
    there = "L".join(f"{x(ns[i]):.1f} {y(highs[i]):.1f}" for i in keep)
    back = "L".join(f"{x(ns[i]):.1f} {y(lows[i]):.1f}" for i in reversed(keep))
    out.append(f'<path class="ribbon" d="M{there}L{back}Z"/>')
    line = "L".join(f"{x(ns[i]):.1f} {y(mean[i]):.1f}" for i in keep)
    out.append(f'<path class="curve" d="M{line}"/>')
    out.append(label((left + width - right) / 2, height - 8, "trials n", "middle"))
    return _svg("", f"Expected best {clean(r.score_name)} of n trials", width, height, out)


def _svg(kind: str, words: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg class="{f"plot {kind}".strip()}" role="img" aria-label="{e(words)}" '
        f'viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )
