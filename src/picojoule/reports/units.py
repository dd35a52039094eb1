"""Numbers for people: SI prefixes, no more digits than are known, and unknown said aloud."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picojoule.results import Estimate

UNKNOWN = "unknown"

#: From here on the headline gives kilowatt-hours too: one watt-hour.
KWH_FROM_J = 3600.0

_PREFIXES = ("p", "n", "µ", "m", "", "k", "M", "G", "T", "P")
_UNIT_PREFIX = _PREFIXES.index("")
#: Of a value, digits beyond these are noise in any reading we know.
_MOST_DIGITS = 6
#: Arms of an interval that differ by more than this factor are not written as a "±".
_LOPSIDED = 1.25


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """``value`` to ``digits`` significant digits with an SI prefix: ``1.23 kJ``."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}∞ {unit}"
    rounded = _round_to(value, digits)
    scale, prefix = _prefix(rounded)
    scaled = rounded / scale
    return f"{_fixed(scaled, digits - 1 - _magnitude(scaled))} {prefix}{unit}"


def watts(value: float) -> str:
    """A power, three digits."""
    return quantity(value, "W")


def seconds(value: float) -> str:
    """A duration: ``12 µs``, ``3.21 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0 s"
    if abs(value) < 119.5:
        return quantity(value, "s")
    whole = round(value)
    if whole < 2 * 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def count(value: float) -> str:
    """A number of things: exact below a million, then ``1.23 M``."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) < 1e6 else quantity(value, "").rstrip()


def percent(share: float) -> str:
    """A share of 1: ``12.3 %``; what would round to nothing is ``<0.1 %``."""
    if not math.isfinite(share):
        return UNKNOWN
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.1f} %" if share < 0.9995 else f"{100 * share:.0f} %"


def kwh(joules: float) -> str:
    """Kilowatt-hours, three digits."""
    if math.isnan(joules):
        return UNKNOWN
    value = _round_to(joules / 3.6e6, 3)
    return f"{_fixed(value, max(0, 2 - _magnitude(value)))} kWh"


def interval(low: float, high: float, unit: str = "J") -> str:
    """An interval of its own: ``[2.1, 25] J``."""
    if math.isnan(low) or math.isnan(high):
        return UNKNOWN
    scale, prefix = _prefix(high)
    return f"{_bracket(low / scale, high / scale)} {prefix}{unit}"


def bounds(
    estimate: Estimate, level: float = 0.95, *, absolute: bool | None = None
) -> tuple[float, float]:
    """The interval of an energy; (nan, nan) also where only its uncertainty is unknown."""
    if math.isnan(estimate.std_j + estimate.below_j + estimate.above_j):
        return (math.nan, math.nan)
    return estimate.interval(level, absolute=absolute)


def energy(estimate: Estimate, *, level: float = 0.95, doubt: bool = True) -> str:
    """An energy as honest as it is short.

    ``12.30 J ± 0.42`` where the interval is even, ``12 J [2.1, 25]`` where it is not, ``≤ 25 J``
    where it reaches down to nothing or the meter cannot see it, ``unknown`` where no meter looked.
    What is estimated, or only shared out by time, carries ``~``.

    Args:
        estimate: the energy.
        level: of the interval.
        doubt: False leaves the interval out, for where there is no room.
    """
    joules = estimate.joules
    if math.isnan(joules):
        return UNKNOWN
    mark = "~" if estimate.provenance == "estimated" else ""
    low, high = bounds(estimate, level)
    if math.isnan(high) or math.isinf(high):
        value = quantity(joules, "J")
        return f"{mark}{value} ± {UNKNOWN}" if doubt else f"{mark}{value}"
    if not estimate.resolved:
        mark = "~"
        if joules <= 0 and high <= 0:
            return UNKNOWN
    if high > 0 and low <= (0.02 * high if not estimate.resolved else 0.0):
        sure = "~" if estimate.provenance == "estimated" else ""
        return f"≤ {sure}{quantity(high, 'J', 2)}"
    below, above = joules - low, high - joules
    half = (high - low) / 2
    if half <= 0:
        return f"{mark}{quantity(joules, 'J', 3 if estimate.resolved else 2)}"
    scale, prefix = _prefix(joules)
    scaled = joules / scale
    if max(below, above) <= _LOPSIDED * min(below, above):
        places = min(1 - _magnitude(half / scale), _MOST_DIGITS - 1 - _magnitude(scaled))
        value = f"{mark}{_fixed(scaled, places)} {prefix}J"
        # Rounded upwards: an uncertainty must not vanish in its own rounding.
        least = 10.0**-places
        return f"{value} ± {_fixed(max(half / scale, least), places)}" if doubt else value
    places = min(1 - _magnitude(2 * half / scale), _MOST_DIGITS - 1 - _magnitude(scaled))
    places = max(places, 1 - _magnitude(scaled))
    value = f"{mark}{_fixed(scaled, places)} {prefix}J"
    return f"{value} {_bracket(low / scale, high / scale)}" if doubt else value


def power_of(estimate: Estimate, duration_s: float, *, concurrent: bool = False) -> str:
    """Mean power of an energy over a duration, marked like the energy.

    Silent if the meter does not resolve the energy, or if ``duration_s`` counts seconds several
    times over because calls were open at once.
    """
    if duration_s <= 0 or math.isnan(estimate.joules):
        return UNKNOWN
    if concurrent or not estimate.resolved:
        return "-"
    mark = "~" if estimate.provenance == "estimated" else ""
    return mark + watts(estimate.joules / duration_s)


def ascii_only(text: str) -> str:
    """``text`` for an encoding that knows ASCII only; what has no counterpart becomes an escape."""
    for fancy, plain in _ASCII.items():
        text = text.replace(fancy, plain)
    return text.encode("ascii", "backslashreplace").decode("ascii")


_ASCII = {
    "±": "+-",
    "≤": "<=",
    "µ": "u",
    "∞": "inf",
    "…": "~",
    "†": "+",
    "·": ",",
    "─": "-",
    "–": "-",
}


def _bracket(low: float, high: float) -> str:
    width = 1 - _magnitude(high - low) if high > low else 0
    ends = (
        "0" if end <= 0 else _fixed(end, max(width, min(1 - _magnitude(end), 4)))
        for end in (low, high)
    )
    return f"[{', '.join(ends)}]"


def _prefix(value: float) -> tuple[float, str]:
    if value == 0 or not math.isfinite(value):
        return 1.0, ""
    step = math.floor(_magnitude(value) / 3)
    step = min(max(step, -_UNIT_PREFIX), len(_PREFIXES) - 1 - _UNIT_PREFIX)
    return 1000.0**step, _PREFIXES[_UNIT_PREFIX + step]


def _magnitude(value: float) -> int:
    """Power of ten of the first digit."""
    if value == 0:
        return 0
    # Through text: exact where the logarithm of 1000 or 1e-3 might fall on either side.
    return int(f"{abs(value):.15e}".partition("e")[2])


def _round_to(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def _fixed(value: float, places: int) -> str:
    """``value`` with ``places`` decimals; negative places round before the point."""
    if places < 0:
        value = round(value, places)
    return f"{value:.{max(0, places)}f}"
