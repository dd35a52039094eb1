"""A study's report for one terminal screen. Plain text is complete; colour only helps the eye."""

from __future__ import annotations

import math

from picojoule.green import figures
from picojoule.green.quantities import Quantity
from picojoule.green.report import Part, Price, StudyReport
from picojoule.reports._layout import LEAST_WIDTH, Cell, Column, Screen, lay_out
from picojoule.reports._text import cells, clean

_DEFAULT_WIDTH = 80
_PLOT_ROWS = 8
_NEEDED_FOR_A_PLOT = 40


def render(
    report: StudyReport,
    *,
    width: int | None = None,
    color: bool | None = None,
    unicode: bool | None = None,
) -> str:
    """The screen.

    Args:
        report: of a study.
        width: columns to fill at most; None is what the terminal has, 80 without one.
        color: None asks NO_COLOR, FORCE_COLOR, TERM and whether stdout is a terminal.
        unicode: whether more than ASCII can be shown; None asks stdout's encoding.
    """
    import sys

    from picojoule.cli import _terminal
    from picojoule.reports.table import _speaks_unicode

    if width is None:
        width = _terminal.width(sys.stdout) or _DEFAULT_WIDTH
    screen = Screen(
        max(width, LEAST_WIDTH),
        _terminal.color(sys.stdout) if color is None else color,
        _speaks_unicode() if unicode is None else unicode,
    )
    blocks = [
        _head(report, screen),
        _factors_of_cost(report, screen),
        _plot(report, screen),
        _next(report, screen),
        _accounts(report, screen),
    ]
    return "\n\n".join("\n".join(b) for b in blocks if b) + "\n"


def _head(r: StudyReport, screen: Screen) -> list[str]:
    out = [screen(screen.fit(clean(r.name) or "study"), "bold")]
    scores = [f"{clean(s.name)} {s.text}" for s in r.scores]
    out += _row("score", "; ".join(scores) or "none is recorded", screen)
    for s in r.scores[:2]:
        if len(s.by_fold) > 1:
            each = ", ".join(f"{clean(f)} {v:.3g}" for f, v in s.by_fold.items())
            out += _row("", f"{clean(s.name)} by fold: {each}", screen)
    energy, co2e = r.figure("it_energy"), r.figure("co2e")
    how = f" of the IT equipment, {energy.how}" if energy.quantity.known else ""
    out += _row("energy", f"{energy.text}{how}", screen)
    facility = r.figure("facility_energy")
    if facility.quantity.known:
        out += _row("", f"{facility.text} of the facility", screen)
    out += _row("CO2e", f"{co2e.text}" + (f", {co2e.how}" if co2e.quantity.known else ""), screen)
    money, hours = r.figure("money"), r.figure("device_hours")
    if money.quantity.known:
        out += _row("money", f"{money.text}, {money.basis}", screen)
    serial, parallel = r.figure("wall_s"), r.figure("wall_parallel_s")
    out += _row(
        "time",
        f"{hours.text} of devices; wall {serial.text} one after another, {parallel.text} at once",
        screen,
    )
    status = ", ".join(f"{n:,} {name}" for name, n in r.counts.by_status.items())
    out += _row("runs", f"{r.counts.runs:,}" + (f": {status}" if status else ""), screen)
    return out


def _row(name: str, text: str, screen: Screen) -> list[str]:
    return screen.prose(f"{name:<8}{text}" if name else text, hang=" " * 8,
                        indent="" if name else " " * 8)  # fmt: skip


def _factors_of_cost(r: StudyReport, screen: Screen) -> list[str]:
    h = r.edh
    each = f"{figures.shown(h.per_example)} an example" if h.per_example.known else "unknown"
    many = "unknown" if math.isnan(h.examples) else f"{h.examples:,.0f} examples a run"
    configs = "unknown" if math.isnan(h.configs) else f"{h.configs:,.0f}"
    by_cost = "unknown" if math.isnan(h.h_cost) else f"{h.h_cost:.3g}"
    out = [screen("cost ~ E x D x H", "bold")]
    out += screen.prose(
        f"E {each}; D {many}; K {h.folds} fold{'s' * (h.folds != 1)}; S {h.seeds} "
        f"seed{'s' * (h.seeds != 1)}; H {configs} configuration{'s' * (h.configs != 1)} by count, "
        f"{by_cost} by cost",
        indent="  ",
        hang="  ",
    )
    if not r.parts:
        return out
    columns = (
        Column("Energy went into", right=False, shrinks_to=10, comfortable=18),
        Column("Runs"),
        Column("IT energy"),
        Column("Share"),
        Column("", right=False),
    )
    rows = [
        [
            Cell(p.label),
            Cell(f"{p.runs:,}"),
            Cell(figures.shown(p.energy), "", _plain(p.energy)),
            Cell("-" if math.isnan(p.share) else f"{p.share:.1%}"),
            Cell(_bar(p, screen), "counted" if p is r.parts[0] else "dim"),
        ]
        for p in r.parts
    ]
    indent = 2 if screen.width >= _NEEDED_FOR_A_PLOT else 0
    inner = Screen(screen.width - indent, screen.color, screen.unicode)
    return out + [" " * indent + line for line in lay_out(columns, rows, ("-", "IT energy"), inner)]


def _plain(found: Quantity) -> str:
    return figures.shown(found).partition(" (")[0]


def _bar(part: Part, screen: Screen) -> str:
    if math.isnan(part.share):
        return ""
    full, sliver = ("█", "▏") if screen.unicode else ("#", "|")
    return full * round(20 * part.share) or (sliver if part.share > 0 else "")


def _plot(r: StudyReport, screen: Screen) -> list[str]:
    title = f"{clean(r.score_name)} against IT energy" if r.score_name else "score against energy"
    out = [screen(screen.fit(title), "bold")]
    if r.why_no_points:
        return out + screen.prose(f"no plot: {clean(r.why_no_points)}", indent="  ", hang="  ")
    if screen.width < _NEEDED_FOR_A_PLOT:
        return out + screen.prose(
            f"{sum(p.front for p in r.points)} of {len(r.points) + r.points_hidden:,} runs are on "
            "the front; this screen is too narrow for a plot",
            indent="  ",
            hang="  ",
        )
    out += _scatter(r, screen)
    front = sum(p.front for p in r.points)
    total = len(r.points) + r.points_hidden
    mark = "●" if screen.unicode else "@"
    dot = "·" if screen.unicode else "."
    said = f"{mark} on the front ({front} of {total:,} runs)  {dot} other runs"
    return [*out, screen(screen.fit(f"  {said}"), "dim")]


def _scatter(r: StudyReport, screen: Screen) -> list[str]:
    xs = [math.log10(p.kwh) for p in r.points]
    ys = [p.score for p in r.points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    labels = [f"{y1:.3g}", f"{y0:.3g}"]
    left = max(cells(t) for t in labels) + 3
    inner = min(60, screen.width - left - 2)
    grid = [[" "] * inner for _ in range(_PLOT_ROWS)]
    marks = ("·", "●") if screen.unicode else (".", "@")
    for p, x, y in sorted(zip(r.points, xs, ys, strict=True), key=lambda t: t[0].front):
        column = round((inner - 1) * (x - x0) / (x1 - x0)) if x1 > x0 else inner // 2
        row = round((_PLOT_ROWS - 1) * (y1 - y) / (y1 - y0)) if y1 > y0 else _PLOT_ROWS // 2
        grid[row][column] = marks[p.front]
    out = []
    bar = "│" if screen.unicode else "|"
    for i, drawn in enumerate(grid):
        name = labels[0] if i == 0 else labels[1] if i == _PLOT_ROWS - 1 and y1 > y0 else ""
        out.append(f"  {name:>{left - 3}} {bar}{''.join(drawn)}".rstrip())
    ends = [figures.shown(_kwh(10**x)) for x in (x0, x1)]
    gap = max(1, inner - cells(ends[0]) - cells(ends[1]))
    axis = (
        f"{' ' * left}{ends[0]}{' ' * gap}{ends[1]} (log)" if x1 > x0 else f"{' ' * left}{ends[0]}"
    )
    return [*out, screen.fit(axis)]


def _kwh(value: float) -> Quantity:
    from picojoule.green.quantities import quantity

    return quantity(value, "kWh")


def price_words(price: Price, score: str) -> str:
    """A price in one sentence."""
    p = price.next_point
    if p is None:
        return f"{price.law} law: no price: {clean(price.reason)}"
    parts = [f"{kind} {figures.shown(q)}" for kind, q in p.prices.items() if q.known]
    ends = f"{p.factor:.3g} ({p.factor_low:.3g} to {p.factor_high:.3g}, {p.level:.0%})"
    return (
        f"{price.law} law: +{p.delta:g} {clean(score)} costs {ends} times a run of the dearest "
        f"configuration: {'; '.join(parts) or 'no price is known'} on top"
    )


def _next(r: StudyReport, screen: Screen) -> list[str]:
    out = [screen("the next point", "bold")]
    reasons = {p.reason for p in r.prices}
    if len(reasons) == 1 and "" not in reasons:
        out += screen.prose(f"no price: {clean(reasons.pop())}", indent="  ", hang="  ")
    else:
        for price in r.prices:
            out += screen.prose(price_words(price, r.score_name), indent="  ", hang="    ")
    if r.best_of is None:
        return out + screen.prose(f"best of n: {clean(r.why_no_best)}", indent="  ", hang="  ")
    best = r.best_of
    last = int(best.n[-1])
    shown = {1, 2, 5, 10, 20, 50, 100, last}
    pairs = zip(best.n.tolist(), best.expected.tolist(), strict=True)
    each = ", ".join(f"{n}: {value:.4g}" for n, value in pairs if n in shown)
    return out + screen.prose(f"expected best of n trials: {each}", indent="  ", hang="  ")


def _accounts(r: StudyReport, screen: Screen) -> list[str]:
    out = []
    shown = [f for f in r.factors if f.quantity.known]
    if shown:
        out.append(screen("factors", "bold"))
        for f in shown:
            out += screen.prose(
                f"{clean(f.label)} {f.text} [{f.how}]; {clean(f.basis)}", indent="  ", hang="    "
            )
    missing = [f for f in r.figures if not f.quantity.known and f.key != "pf_days"]
    if missing:
        out.append(screen("unknown", "bold"))
        told: set[str] = set()
        for f in missing:
            between = f.text.removeprefix("unknown").lstrip(", ")
            why = [w for w in clean(f.basis).split("; ") if w not in told] or ["as above"]
            told |= set(why)
            words = "; ".join(filter(None, (between, *why)))
            lines = screen.prose(f"{f.label}: {words}", indent="  ", hang="    ")
            out += [screen(line, "warning") for line in lines]
    for note in r.notes:
        out += screen.prose(f"note: {clean(note)}", indent="  ", hang="    ")
    return out
