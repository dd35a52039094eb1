"""The curves as one picture: error and coverage against the time recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_COLORS = ("#2f80c2", "#16a07c", "#d9702a", "#b5619f", "#808690", "#b08d1a", "#97704d", "#c0392b")
_WIDTH, _HEIGHT = 420, 280
_LEFT, _TOP, _BOTTOM = 56, 40, 40


class Panel:
    """Axes at an offset, logarithmic in x and, if asked, in y."""

    def __init__(self, left: float, x: tuple[float, float], y: tuple[float, float], log_y: bool):
        self.left, self.x_range, self.y_range, self.log_y = left, x, y, log_y
        self.out: list[str] = []

    def x(self, value: float) -> float:
        low, high = map(math.log, self.x_range)
        return self.left + _LEFT + (_WIDTH - _LEFT) * (math.log(value) - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        if self.log_y:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        inner = _HEIGHT - _TOP - _BOTTOM
        return _TOP + inner * (1 - (min(max(value, low), high) - low) / (high - low))

    def text(self, x: float, y: float, words: str, anchor: str = "middle", color="#333") -> None:
        self.out.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">'
            f"{escape(words)}</text>"
        )

    def axes(self, title: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        self.text(self.left + _LEFT, 18, title, "start")
        for value in y_ticks:
            y = self.y(value)
            self.out.append(
                f'<line x1="{self.left + _LEFT}" x2="{self.left + _WIDTH}" y1="{y:.1f}" '
                f'y2="{y:.1f}" stroke="#ddd"/>'
            )
            self.text(self.left + _LEFT - 6, y + 4, f"{value:g} %", "end")
        for value in x_ticks:
            self.text(self.x(value), _HEIGHT - _BOTTOM + 18, f"{value:g} s")

    def line(self, points: Sequence[tuple[float, float]], color: str, dashed=False) -> None:
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.out.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>'
        )
        self.out += [
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="2.5" fill="{color}"/>'
            for x, y in points
        ]


def curves(grid: list[dict]) -> str:
    """Left: error of each method on S1. Right: coverage of our 95 % intervals on all cases."""
    times = sorted({row["seconds_recorded"] for row in grid})
    span = (times[0], times[-1])
    left = Panel(0, span, (0.1, 100), log_y=True)
    left.axes("energy-weighted error, layered training (S1)", times, (0.1, 1, 10, 100))
    methods = list(dict.fromkeys(row["method"] for row in grid if row["case"] == "S1"))
    right = Panel(_WIDTH + 40, span, (80, 100), log_y=False)
    right.axes("coverage of 95 % intervals, each workload", times, (80, 85, 90, 95, 100))
    right.out.append(
        f'<rect x="{right.left + _LEFT}" width="{_WIDTH - _LEFT}" y="{right.y(97):.1f}" '
        f'height="{right.y(93) - right.y(97):.1f}" fill="#16a07c" fill-opacity=".12"/>'
    )
    keys: list[tuple[Panel, str, str]] = []
    for color, method in zip(_COLORS, methods, strict=False):
        rows = [r for r in grid if r["case"] == "S1" and r["method"] == method]
        left.line(
            sorted((r["seconds_recorded"], r["error_percent"]) for r in rows),
            color,
            dashed=not method.startswith("picojoule"),
        )
        keys.append((left, method, color))
    cases = [c for c in dict.fromkeys(r["case"] for r in grid) if c not in ("S9", "S10")]
    for i, case in enumerate(cases):
        color = _COLORS[i % len(_COLORS)]
        rows = [r for r in grid if r["case"] == case and r["method"] == "picojoule"]
        right.line(
            sorted((r["seconds_recorded"], r["coverage_percent"]) for r in rows),
            color,
            dashed=i >= len(_COLORS),
        )
        keys.append((right, case, color))
    height = _HEIGHT + 16 * (1 + max(len(methods), (len(cases) + 2) // 3))
    places = {id(left): 0, id(right): 0}
    for panel, words, color in keys:
        n = places[id(panel)]
        places[id(panel)] += 1
        column, line = (n % 3, n // 3) if panel is right else (0, n)
        panel.text(
            panel.left + _LEFT + 120 * column,
            _HEIGHT + 12 + 16 * line,
            f"● {words}",
            "start",
            color,
        )
    width = 2 * _WIDTH + 60
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        + "".join(left.out + right.out)
        + "</svg>\n"
    )
