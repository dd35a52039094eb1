"""Numbers as a card prints them: value, what rounding leaves open, digits and unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from picojoule.errors import UsageError
from picojoule.green.quantities import Dimension, unit_of

#: Factors in words and letters. A lone "k" or "G" is not one of them: it belongs to a unit.
_MULTIPLES = {
    "k": 1e3, "thousand": 1e3,
    "m": 1e6, "mio": 1e6, "million": 1e6, "millions": 1e6,
    "b": 1e9, "bn": 1e9, "billion": 1e9, "billions": 1e9,
    "t": 1e12, "trillion": 1e12, "trillions": 1e12,
}  # fmt: skip

#: Spellings -> units of ``quantities``. In lower case; what differs by case stands in _CASED.
_SPELLINGS = {
    "wh": "Wh", "kwh": "kWh", "mwh": "MWh", "gwh": "GWh",
    "kilowatt-hours": "kWh", "kilowatt-hour": "kWh", "megawatt-hours": "MWh",
    "j": "J", "joule": "J", "joules": "J", "kj": "kJ", "mj": "MJ", "gj": "GJ",
    "w": "W", "watt": "W", "watts": "W", "kw": "kW", "kilowatts": "kW", "mw": "MW",
    "g": "g", "gram": "g", "grams": "g", "kg": "kg", "kgs": "kg", "kilograms": "kg",
    "kilogram": "kg", "t": "t", "ton": "t", "tons": "t", "tonne": "t", "tonnes": "t",
    "mt": "t", "lb": "lb", "lbs": "lb", "pounds": "lb", "mg": "mg",
    "s": "s", "sec": "s", "second": "s", "seconds": "s", "min": "min", "minute": "min",
    "minutes": "min", "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d",
    "usd": "USD", "eur": "EUR", "gbp": "GBP",
    "flop": "FLOP", "flops": "FLOP", "pf-days": "pfd", "pf-day": "pfd", "pfs-days": "pfd",
    "pfs-day": "pfd", "petaflop/s-days": "pfd", "petaflop/s-day": "pfd", "pfd": "pfd",
    "petaflops-days": "pfd",
}  # fmt: skip
_CASED = {
    "GF": 1e9, "TF": 1e12, "PF": 1e15, "EF": 1e18, "MF": 1e6,
    "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15, "EFLOP": 1e18,
    "MFLOPs": 1e6, "GFLOPs": 1e9, "TFLOPs": 1e12, "PFLOPs": 1e15,
    "MFLOPS": 1e6, "GFLOPS": 1e9, "TFLOPS": 1e12, "PFLOPS": 1e15,
}  # fmt: skip
_MACS = {"mac": 1.0, "kmac": 1e3, "mmac": 1e6, "gmac": 1e9, "tmac": 1e12}

_GREENHOUSE = re.compile(r"^(.*?)[\s-]*(?:co2|co₂|carbon)(?:[-\s]?(?:e|eq|equiv\w*))?\.?$", re.I)

_DIGITS = r"\d{1,3}(?:[,\u2009\u202f ]\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+"
_POWER = (
    r"(?:\s*(?:[x×·*]|\\times)\s*10\s*(?:\^|\*\*|<sup>)?\s*\{?\s*(?P<power>[-−]?\d{1,2})\s*\}?"
    r"(?:</sup>)?|[eE](?P<exponent>[-+]?\d{1,3}))?"
)
NUMBER = re.compile(
    rf"(?P<digits>{_DIGITS}){_POWER}"
    r"(?:\s*(?P<multiple>thousand|millions?|billions?|trillions?|bn|mio)\b"
    r"|\s?(?P<letter>[kKMBT])(?![\w/]))?",
)


@dataclass(frozen=True, slots=True)
class Number:
    """A printed number.

    Attributes:
        value: of the number as printed, its multiple counted in.
        low: the least that rounds to it.
        high: the largest.
        digits: significant digits printed; trailing zeros of an integer do not count.
        text: as printed.
        start: where it begins in its line.
        end: where it ends.
    """

    value: float
    low: float
    high: float
    digits: int
    text: str
    start: int
    end: int

    def scaled(self, by: float) -> Number:
        """The same number in another unit."""
        return Number(
            self.value * by,
            self.low * by,
            self.high * by,
            self.digits,
            self.text,
            self.start,
            self.end,
        )


def read(match: re.Match[str]) -> Number:
    """What a match of ``NUMBER`` says."""
    printed = re.sub(r"[,\u2009\u202f ]", "", match["digits"])
    power = int((match["power"] or match["exponent"] or "0").replace("−", "-"))
    power = max(-60, min(power, 60))  # nothing that is used up has more
    multiple = (match["multiple"] or match["letter"] or "").lower()
    scale = 10.0**power * _MULTIPLES.get(multiple, 1.0)
    shown = Decimal(printed)
    exponent = shown.as_tuple().exponent
    places = -exponent if isinstance(exponent, int) else 0
    half = 0.5 * 10.0**-places
    value = float(shown)
    if places == 0 and not power:
        # 7,300 may stand for 7,250; but nobody rounds 1,000 from 500.
        zeros = len(printed) - len(printed.rstrip("0"))
        half = max(0.5, min(0.5 * 10.0**zeros, 0.05 * value))
    return Number(
        value * scale,
        max(0.0, value - half) * scale,
        (value + half) * scale,
        significant(printed),
        match[0].strip(),
        match.start(),
        match.end(),
    )


def significant(printed: str) -> int:
    """Significant digits of a plain decimal; ``0.0120`` has three, ``1200`` has two."""
    whole, point, part = printed.partition(".")
    if point:
        return len((whole + part).lstrip("0"))
    return len(whole.strip("0")) if whole.strip("0") else 1


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as printed: its dimension, its size in base units, and what it is per."""

    dimension: Dimension
    scale: float
    carbon: bool = False
    mac: bool = False
    per: str = ""  # "token", "parameter", ... of an intensity


_COUNTED = {
    "token": "token", "tokens": "token", "word": "token", "words": "token",
    "param": "parameter", "params": "parameter", "parameter": "parameter",
    "parameters": "parameter", "image": "image", "images": "image", "request": "request",
    "requests": "request", "inference": "inference", "inferences": "inference",
    "query": "query", "queries": "query", "prompt": "prompt", "prompts": "prompt",
}  # fmt: skip


def unit(text: str) -> Unit | None:
    """A unit from words such as ``kg CO2eq``, ``gCO2e/kWh``, ``GMACs``; None if it is none."""
    words = re.sub(r"</?su[bp]>|[\\$_{}*`]|\bmathrm\b", "", text).replace("₂", "2").strip()
    above, slash, below = re.split(r"(\s*/\s*|\s+per\s+|$)", words, maxsplit=1)
    top = _simple(above)
    if top is None:
        return None
    if not slash.strip():
        return top
    divisor = _divisor(below.strip())
    if divisor is None:
        return None
    bottom, per = divisor
    return Unit(
        _over(top.dimension, bottom.dimension),
        top.scale / bottom.scale,
        top.carbon,
        top.mac,
        per,
    )


def _divisor(text: str) -> tuple[Unit, str] | None:
    match = re.fullmatch(
        r"(?P<number>[\d.,]+(?:[eE]\d+)?)?\s*"
        r"(?P<multiple>thousand|million|billion|trillion|[kMB](?![A-Za-z]))?\s*"
        r"(?P<word>[A-Za-z-]*)",
        text,
    )
    if match is None:
        return None
    scale = float(match["number"].replace(",", "")) if match["number"] else 1.0
    scale *= _MULTIPLES.get((match["multiple"] or "").lower(), 1.0)
    word = match["word"]
    if not word:
        return (Unit((), scale), "") if match["number"] or match["multiple"] else None
    if word.lower() in _COUNTED:
        return Unit((), scale), _COUNTED[word.lower()]
    bottom = _simple(word)
    return None if bottom is None else (Unit(bottom.dimension, bottom.scale * scale), "")


def _simple(text: str) -> Unit | None:
    word = text.strip()
    if not word:
        return None
    carbon = False
    green = _GREENHOUSE.match(word)
    if green:
        carbon, word = True, green[1].strip()
        word = re.sub(r"^metric\s+", "", word, flags=re.I)
        word = re.sub(r"\s+of$", "", word, flags=re.I).strip()
    word = re.sub(r"^metric\s+", "", word, flags=re.I)
    low = word.lower()
    if low.rstrip("s") in _MACS:
        return Unit((("FLOP", 1),), _MACS[low.rstrip("s")], mac=True)
    if word in _CASED:
        return Unit((("FLOP", 1),), _CASED[word])
    device = re.fullmatch(
        r"(?:gpu|tpu|chip|node|device|accelerator|cpu|core)s?[\s-]*(h|hr|hrs|hours?|days?)", low
    )
    if device:
        low = device[1]
    if low in ("y", "yr", "year", "years"):
        return Unit((("s", 1),), 8760 * 3600.0)
    if low not in _SPELLINGS:
        return None
    try:
        dimension, scale = unit_of(_SPELLINGS[low])
    except UsageError:
        return None
    return Unit(dimension, scale, carbon)


def _over(top: Dimension, bottom: Dimension) -> Dimension:
    powers = dict(top)
    for base, power in bottom:
        powers[base] = powers.get(base, 0) - power
    return tuple(sorted((b, p) for b, p in powers.items() if p))
