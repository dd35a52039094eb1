"""Numbers that carry their unit, their range, and how they were got.

>>> energy = quantity("5 kWh")
>>> intensity = quantity(211, "g/kWh", low=204, high=218, basis="Ember, GBR, 2024")
>>> str(energy * intensity)
'1.05 kg (1.02 to 1.09)'
>>> energy + quantity("2 kg")
Traceback (most recent call last):
    ...
picojoule.green.quantities.UnitError: J and g do not add up: 5.00 kWh and 2.00 kg
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from picojoule.errors import UsageError

#: How a number was got, most trustworthy first. A result is as good as the worst of what went in.
PROVENANCES = (
    "given",  # told by the user, or exact by definition
    "measured",
    "counted",
    "published",  # a factor from a table, with its source and year
    "imported",  # told by another tool's file
    "modelled",
    "estimated",
)

#: Exponents of base units: J, s, g (CO2e), FLOP, L, and three-letter currencies.
Dimension = tuple[tuple[str, int], ...]

_BASES = {"J": 1.0, "s": 1.0, "g": 1.0, "FLOP": 1.0, "L": 1.0}
_SCALED: Mapping[str, tuple[str, float]] = {
    "mJ": ("J", 1e-3), "kJ": ("J", 1e3), "MJ": ("J", 1e6), "GJ": ("J", 1e9),
    "pJ": ("J", 1e-12), "nJ": ("J", 1e-9), "uJ": ("J", 1e-6),
    "Wh": ("J", 3.6e3), "kWh": ("J", 3.6e6), "MWh": ("J", 3.6e9), "GWh": ("J", 3.6e12),
    "ms": ("s", 1e-3), "min": ("s", 60.0), "h": ("s", 3600.0), "d": ("s", 86400.0),
    "mg": ("g", 1e-3), "kg": ("g", 1e3), "t": ("g", 1e6), "lb": ("g", 453.59237),
    "GFLOP": ("FLOP", 1e9), "TFLOP": ("FLOP", 1e12), "PFLOP": ("FLOP", 1e15),
    "EFLOP": ("FLOP", 1e18), "pfd": ("FLOP", 8.64e19), "pf-days": ("FLOP", 8.64e19),
    "mL": ("L", 1e-3), "kL": ("L", 1e3), "ML": ("L", 1e6),
}  # fmt: skip
_POWER = {"W": 1.0, "mW": 1e-3, "kW": 1e3, "MW": 1e6}

#: What to show a dimension in: (unit, from this many base units on), largest first.
_SHOWN: Mapping[Dimension, tuple[tuple[str, float], ...]] = {
    (("J", 1),): (("GWh", 3.6e12), ("MWh", 3.6e9), ("kWh", 3.6e6), ("Wh", 3.6e3), ("J", 0.0)),
    (("J", 1), ("s", -1)): (("kW", 1e3), ("W", 0.0)),
    (("g", 1),): (("t", 1e6), ("kg", 1e3), ("g", 0.0)),
    (("s", 1),): (("h", 3600.0), ("min", 60.0), ("s", 0.0)),
    (("FLOP", 1),): (
        ("pf-days", 8.64e19), ("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12),
        ("GFLOP", 1e9), ("FLOP", 0.0),
    ),
    (("L", 1),): (("kL", 1e3), ("L", 0.0)),
    (("J", -1), ("g", 1)): (("g/kWh", 0.0),),
    (("FLOP", -1), ("J", 1)): (("pJ/FLOP", 0.0),),
    (("FLOP", 1), ("s", -1)): (("TFLOP/s", 0.0),),
    (("J", -1), ("L", 1)): (("L/kWh", 0.0),),
}  # fmt: skip


class UnitError(UsageError, TypeError):
    """Quantities of different kinds were added, compared or asked for in each other's units."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in base units, the range it may lie in, and how it was got.

    Sums add the widths of their ranges (errors of one meter or factor are common to all parts),
    products combine relative widths as independent ones. Comparing and adding needs the same kind.

    Attributes:
        value: in base units (J, s, g, FLOP, L, currency); nan if unknown. What is unknown may still
            have bounds: ``low``, ``high`` or both, which sums and products carry along.
        dimension: exponents of the base units, sorted by name; () is a plain number.
        low: lower end of the range (95 % where it is statistical).
        high: its upper end.
        provenance: one of ``PROVENANCES``.
        basis: what it rests on: source, year, method; one sentence at most.
    """

    value: float
    dimension: Dimension = ()
    low: float = math.nan
    high: float = math.nan
    provenance: str = "given"
    basis: str = ""

    def __post_init__(self) -> None:
        """Fill in a range of no width, and refuse one that does not hold the value."""
        if self.provenance not in PROVENANCES:
            raise UsageError(
                f"provenance must be one of {', '.join(PROVENANCES)}, not {self.provenance!r}"
            )
        if math.isinf(self.value):
            raise UsageError("a quantity must be finite, or nan if unknown")
        if math.isnan(self.low):
            object.__setattr__(self, "low", self.value)
        if math.isnan(self.high):
            object.__setattr__(self, "high", self.value)
        if not math.isnan(self.value):
            slack = 1e-9 * abs(self.value)
            if not self.low - slack <= self.value <= self.high + slack:
                raise UsageError(f"{self.value} does not lie in [{self.low}, {self.high}]")

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return not math.isnan(self.value)

    def to(self, unit: str) -> float:
        """The value in ``unit``.

        Raises:
            UnitError: ``unit`` is of another kind.
            UsageError: ``unit`` is not known.
        """
        return self.value / self._scale(unit)

    def range_in(self, unit: str) -> tuple[float, float]:
        """(low, high) in ``unit``; raises as ``to``."""
        scale = self._scale(unit)
        return self.low / scale, self.high / scale

    def _scale(self, unit: str) -> float:
        dimension, scale = unit_of(unit)
        if dimension != self.dimension:
            raise UnitError(f"{self} is no quantity of {unit}")
        return scale

    def because(self, basis: str, provenance: str | None = None) -> Quantity:
        """The same number with another account of how it was got."""
        return Quantity(
            self.value, self.dimension, self.low, self.high, provenance or self.provenance, basis
        )

    def _same(self, other: Quantity, verb: str) -> None:
        if self.dimension != other.dimension:
            kinds = f"{_spell(self.dimension)} and {_spell(other.dimension)}"
            raise UnitError(f"{kinds} {verb}: {self._plain()} and {other._plain()}")

    def __add__(self, other: Quantity) -> Quantity:
        if not isinstance(other, Quantity):
            return NotImplemented
        self._same(other, "do not add up")
        return Quantity(
            self.value + other.value,
            self.dimension,
            self.low + other.low,
            self.high + other.high,
            _weaker(self, other),
            _joined(self.basis, other.basis),
        )

    def __sub__(self, other: Quantity) -> Quantity:
        if not isinstance(other, Quantity):
            return NotImplemented
        return self + -1.0 * other

    def __mul__(self, other: Quantity | float) -> Quantity:
        if isinstance(other, (int, float)):
            ends = (self.low, self.high) if other >= 0 else (self.high, self.low)
            low, high = ends[0] * other, ends[1] * other
            value = self.value * other
            return Quantity(value, self.dimension, low, high, self.provenance, self.basis)
        if not isinstance(other, Quantity):
            return NotImplemented
        return self._times(other, 1)

    __rmul__ = __mul__

    def __truediv__(self, other: Quantity | float) -> Quantity:
        if isinstance(other, (int, float)):
            return self * (1.0 / other)
        if not isinstance(other, Quantity):
            return NotImplemented
        return self._times(other, -1)

    def _times(self, other: Quantity, sign: int) -> Quantity:
        powers = dict(self.dimension)
        for base, power in other.dimension:
            powers[base] = powers.get(base, 0) + sign * power
        dimension = tuple(sorted((b, p) for b, p in powers.items() if p))
        value = self.value * other.value if sign > 0 else self.value / other.value
        if math.isnan(value):
            low, high = _bounds(self, other, sign)
            weaker, basis = _weaker(self, other), _joined(self.basis, other.basis)
            return Quantity(value, dimension, low, high, weaker, basis)
        down_a, up_a = _relative(self)
        down_b, up_b = _relative(other)
        if sign < 0:
            down_b, up_b = 1.0 - 1.0 / (1.0 + up_b), 1.0 / max(1.0 - down_b, 1e-12) - 1.0
        down, up = math.hypot(down_a, down_b), math.hypot(up_a, up_b)
        if value >= 0:
            low, high = value * max(0.0, 1.0 - down), value * (1.0 + up)
        else:
            low, high = value * (1.0 + up), value * max(0.0, 1.0 - down)
        return Quantity(
            value, dimension, low, high, _weaker(self, other), _joined(self.basis, other.basis)
        )

    def __lt__(self, other: Quantity) -> bool:
        self._same(other, "cannot be compared")
        return self.value < other.value

    def __le__(self, other: Quantity) -> bool:
        self._same(other, "cannot be compared")
        return self.value <= other.value

    def _plain(self) -> str:
        return self._show(ranged=False)

    def __str__(self) -> str:
        """As many digits as its range lets it have: ``1.06 kg (1.02 to 1.09)``."""
        return self._show(ranged=True)

    def _show(self, ranged: bool) -> str:
        if not self.known:
            return self._show_bounds()
        unit, scale = self._unit_shown()
        low, high = self.low / scale, self.high / scale
        value = self.value / scale
        decimals = _decimals(value, high - low)
        text = f"{value:.{decimals}f}" if decimals >= 0 else f"{round(value, decimals):.0f}"
        if abs(value) < 1e-3 and value != 0 and decimals > 6:
            text = f"{value:.3g}"
        text = f"{text} {unit}".strip()
        if ranged and high - low > 1e-9 * abs(value):
            places = max(0, decimals)
            text += f" ({round(low, decimals):.{places}f} to {round(high, decimals):.{places}f})"
        return text

    def _show_bounds(self) -> str:
        no_low, no_high = math.isnan(self.low), math.isnan(self.high)
        if no_low and no_high:
            return "unknown"
        unit, scale = self._unit_shown(self.low if no_high else self.high)
        low, high = self.low / scale, self.high / scale
        if no_high:
            return f"unknown, at least {_three(low)} {unit}".rstrip()
        if no_low:
            return f"unknown, at most {_three(high)} {unit}".rstrip()
        return f"unknown, between {_three(low)} and {_three(high)} {unit}".rstrip()

    def _unit_shown(self, value: float | None = None) -> tuple[str, float]:
        size = abs(self.value if value is None else value)
        for unit, least in _SHOWN.get(self.dimension, ()):
            if size >= least:
                return unit, unit_of(unit)[1]
        return _rate_unit(self.dimension) or (_spell(self.dimension), 1.0)


def quantity(
    given: Any,
    unit: str | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    provenance: str = "given",
    basis: str = "",
) -> Quantity:
    """A quantity from a number and a unit, or from words such as ``"5 kWh"``.

    Args:
        given: a number with ``unit``, or a string of both, or a ``Quantity`` (checked and passed).
        unit: such as "kWh", "g/kWh", "USD/h", "FLOP"; required for a number. With a string or a
            ``Quantity``: the kind it must be.
        low: lower end of its range, in ``unit``.
        high: its upper end.
        provenance: one of ``PROVENANCES``.
        basis: what it rests on.

    Raises:
        UnitError: it is of another kind than ``unit``.
        UsageError: not a number, or an unknown unit.
    """
    if isinstance(given, Quantity):
        if unit is not None:
            given._scale(unit)
        return given
    if isinstance(given, str):
        match = re.fullmatch(r"\s*([-+0-9.eE_,]+)\s*([A-Za-z][\w/.\-]*)\s*", given)
        number = _number(match.group(1)) if match else None
        if match is None or number is None:
            raise UsageError(f"{given!r} is not a number with a unit, such as '5 kWh' or '2 kg'")
        said = quantity(number, match.group(2), provenance=provenance, basis=basis)
        if unit is not None:
            said._scale(unit)
        return said
    if unit is None:
        raise UsageError(f"{given!r} has no unit; write '5 kWh' or quantity(5, 'kWh')")
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise UsageError(f"{given!r} is not a number") from None
    dimension, scale = unit_of(unit)
    return Quantity(
        value * scale,
        dimension,
        math.nan if low is None else low * scale,
        math.nan if high is None else high * scale,
        provenance,
        basis,
    )


def with_unit(given: Any, unit: str, what: str = "it") -> Quantity:
    """A quantity of the kind of ``unit`` that says its own unit: plain numbers are refused.

    Raises:
        UnitError: it is of another kind.
        UsageError: a number without a unit, an infinite one, or no number.
    """
    if isinstance(given, (Quantity, str)):
        return quantity(given, unit)
    raise UsageError(f"{what} has no unit: {given!r}; write '{given} {unit}' if that is meant")


def unknown(unit: str, basis: str = "") -> Quantity:
    """A quantity of the kind of ``unit`` of which no number is known, and why."""
    return Quantity(math.nan, unit_of(unit)[0], provenance="estimated", basis=basis)


def total(parts: Iterable[Quantity], unit: str) -> Quantity:
    """Sum of ``parts``, 0 of ``unit`` if there are none; one unknown part makes it unknown."""
    out: Quantity | None = None
    for part in parts:
        out = part if out is None else out + part
    if out is None:
        return Quantity(0.0, unit_of(unit)[0])
    out._scale(unit)
    return out


def unit_of(text: str) -> tuple[Dimension, float]:
    """Dimension and size in base units of a unit such as "kWh", "g/kWh" or "USD/h".

    Raises:
        UsageError: it is not known.
    """
    powers: dict[str, int] = {}
    scale = 1.0
    if text in ("", "1"):
        return (), 1.0
    for i, part in enumerate(text.split("/")):
        sign = 1 if i == 0 else -1
        if part in ("", "1"):
            continue
        for base, power, size in _atom(part, text):
            powers[base] = powers.get(base, 0) + sign * power
            scale *= size**sign
    return tuple(sorted((b, p) for b, p in powers.items() if p)), scale


def _atom(part: str, whole: str) -> list[tuple[str, int, float]]:
    if part in _BASES:
        return [(part, 1, 1.0)]
    if part in _SCALED:
        base, size = _SCALED[part]
        return [(base, 1, size)]
    if part in _POWER:
        return [("J", 1, _POWER[part]), ("s", -1, 1.0)]
    if re.fullmatch(r"[A-Z]{3}", part):
        return [(part, 1, 1.0)]
    known = ", ".join([*_BASES, *_SCALED, *_POWER])
    raise UsageError(
        f"unknown unit {part!r} in {whole!r}; there are: {known}, and currencies (USD, EUR)"
    )


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "").replace("_", ""))
    except ValueError:
        return None


def _spell(dimension: Dimension) -> str:
    above = [b if p == 1 else f"{b}^{p}" for b, p in dimension if p > 0]
    below = [b if p == -1 else f"{b}^{-p}" for b, p in dimension if p < 0]
    return "/".join([" ".join(above) or "1", *below]) if below else " ".join(above)


def _relative(q: Quantity) -> tuple[float, float]:
    if not q.known or q.value == 0:
        return 0.0, 0.0
    ends = sorted((q.low / q.value, q.high / q.value))
    return max(0.0, 1.0 - ends[0]), max(0.0, ends[1] - 1.0)


def _bounds(a: Quantity, b: Quantity, sign: int) -> tuple[float, float]:
    """Ends of a product (``sign`` 1) or quotient of which a factor is unknown; nan: no such end."""
    if not (a.low >= 0 and b.low >= 0):
        return math.nan, math.nan
    small, large = (b.low, b.high) if sign > 0 else (b.high, b.low)
    low = a.low * small if sign > 0 else a.low / small if small > 0 else math.nan
    high = a.high * large if sign > 0 else a.high / large if large > 0 else math.nan
    return low, high


def _rate_unit(dimension: Dimension) -> tuple[str, float] | None:
    """Prices are told by the hour and by the kWh."""
    powers = dict(dimension)
    currency = next((b for b, p in dimension if p == 1 and re.fullmatch("[A-Z]{3}", b)), None)
    if currency and len(powers) == 2:
        for base, per in (("s", "h"), ("J", "kWh")):
            if powers.get(base) == -1:
                return f"{currency}/{per}", unit_of(f"{currency}/{per}")[1]
    return None


def _three(value: float) -> str:
    return f"{value:.{_decimals(value, 0.0)}f}"


def _weaker(a: Quantity, b: Quantity) -> str:
    return max((a.provenance, b.provenance), key=PROVENANCES.index)


def _joined(a: str, b: str) -> str:
    if not a or not b or a == b:
        return a or b
    parts = a.split("; ")
    return "; ".join([*parts, *(p for p in b.split("; ") if p not in parts)])


def _decimals(value: float, width: float) -> int:
    """Decimals that show the first digit of the range's half width; three digits without one."""
    if width > 1e-9 * abs(value) and width > 0:
        return -math.floor(math.log10(width / 2.0))
    if value == 0:
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))))
