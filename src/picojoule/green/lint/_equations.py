"""Equations in a card: ``a x b / c = d`` with units, computed again."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from picojoule.green.lint._carbon import slip
from picojoule.green.lint._finding import Finding
from picojoule.green.lint._numbers import NUMBER, Unit, read, unit
from picojoule.green.lint._read import Card
from picojoule.green.quantities import Dimension

_EQUALS = re.compile(r"\s*(?:=\s*[~≈]|[~≈]\s*=|=|≈)\s*")


@dataclass(frozen=True, slots=True)
class _Term:
    """A value as printed and in base units, with what rounding leaves open."""

    printed: tuple[float, float, float]
    base: tuple[float, float, float]
    dimension: Dimension | None  # None: terms of different kinds were added
    units: bool = False  # some number in it had a unit
    mac: bool = False
    numbers: int = 1

    def joined(self, other: _Term, sign: int) -> _Term:
        powers = dict(self.dimension or ())
        for base, power in other.dimension or ():
            powers[base] = powers.get(base, 0) + sign * power
        left = self.dimension is not None and other.dimension is not None
        return _Term(
            _times(self.printed, other.printed, sign),
            _times(self.base, other.base, sign),
            tuple(sorted((b, p) for b, p in powers.items() if p)) if left else None,
            self.units or other.units,
            self.mac or other.mac,
            self.numbers + other.numbers,
        )

    def plus(self, other: _Term, sign: int) -> _Term:
        return _Term(
            _add(self.printed, other.printed, sign),
            _add(self.base, other.base, sign),
            self.dimension if self.dimension == other.dimension else None,
            self.units or other.units,
            self.mac or other.mac,
            self.numbers + other.numbers,
        )


def check(card: Card) -> Iterator[Finding]:
    """Findings of all equations outside tables."""
    for line, text in _joined_lines(card):
        plain = re.sub(r"\*\*|`|</?su[bp]>|_(?=\W|$)", "", text).replace("−", "-")
        sides = _EQUALS.split(plain)
        for left, right in itertools.pairwise(sides):
            a, b = _last(left), _first(right)
            if a is not None and b is not None:
                yield from _compare(a, b, line)


def _joined_lines(card: Card) -> Iterator[tuple[int, str]]:
    held: tuple[int, str] | None = None
    for line, text in card.prose:
        if held and text.strip().startswith(("=", "≈")) and line == held[0] + 1:
            held = (line, f"{held[1]} {text.strip()}")
            continue
        if held:
            yield held
        held = (line, text)
    if held:
        yield held


def _compare(a: _Term, b: _Term, line: int) -> Iterator[Finding]:
    if a.numbers + b.numbers < 3 and not (a.units and b.units):
        return
    same = a.dimension == b.dimension and a.dimension is not None
    if a.units and b.units and not same and not (a.mac or b.mac):
        return  # labels that we do not understand
    if a.mac != b.mac:
        yield from _macs(a, b, line)
        return
    left, right = (a.base, b.base) if a.units and b.units and same else (a.printed, b.printed)
    if not left[1] > 0 or not right[1] > 0:
        return
    slack = 1e-6
    if right[2] * (1 + slack) >= left[0] and right[0] * (1 - slack) <= left[2]:
        return
    ratio = right[1] / left[1]
    shown = f"the left side is {left[1]:.6g}, the right side says {right[1]:.6g}"
    if a.units and b.units and same:
        shown += f" {_spelled(a.dimension)}"
    words = slip(ratio)
    yield Finding(
        line,
        "grams" if words else "recompute",
        f"{shown} ({words or f'{ratio:.4g} times'})",
    )


def _macs(a: _Term, b: _Term, line: int) -> Iterator[Finding]:
    """MACs on one side: the other has twice as many FLOP, unless the 2 stands in the product."""
    macs, flop = (a, b) if a.mac else (b, a)
    if not (macs.units and flop.units and macs.base[1] > 0):
        return
    ratio = flop.base[1] / macs.base[1]
    if macs.numbers + flop.numbers == 2 and abs(ratio - 1) < 0.02:
        yield Finding(line, "mac-flop", "as many FLOP as MACs; 1 MAC = 2 FLOP")
    elif not any(abs(ratio / right - 1) < 0.02 for right in (1.0, 2.0, 6.0)):
        yield Finding(
            line,
            "recompute",
            f"{macs.base[1]:.4g} MACs on one side, {flop.base[1]:.4g} FLOP on the other",
        )


def _spelled(dimension: Dimension | None) -> str:
    above = [n if p == 1 else f"{n}^{p}" for n, p in dimension or () if p > 0]
    below = [n if p == -1 else f"{n}^{-p}" for n, p in dimension or () if p < 0]
    return "/".join([" ".join(above) or "1", *below]) if below or above else ""


# ---- reading ----


def _first(text: str) -> _Term | None:
    reader = _Reader(text)
    return reader.sum()


def _last(text: str) -> _Term | None:
    """The longest end of ``text`` that is an expression."""
    for start in _starts(text):
        reader = _Reader(text[start:])
        term = reader.sum()
        if term is not None and reader.done():
            return term
    return None


def _starts(text: str) -> Iterator[int]:
    for match in re.finditer(r"[($€]*\s*(?=[\d.])|\(", text):
        at = match.start()
        if at == 0 or not re.search(r"[\w.]$", text[:at]):
            yield at


class _Reader:
    """Sums of products of numbers with units, by recursive descent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def done(self) -> bool:
        return not self.text[self.at :].strip(" .,;:)")

    def sum(self) -> _Term | None:
        term = self.product()
        while term is not None:
            match = re.compile(r"\s*([+]|-(?=\s))\s*").match(self.text, self.at)
            if not match:
                break
            held = self.at
            self.at = match.end()
            other = self.product()
            if other is None:
                self.at = held
                break
            term = term.plus(other, 1 if match[1] == "+" else -1)
        return term

    def product(self) -> _Term | None:
        term = self.atom()
        while term is not None:
            match = re.compile(r"\s*([*x×·/÷]|\\times)\s*(?=[\d.($(])").match(self.text, self.at)
            if not match:
                break
            held = self.at
            self.at = match.end()
            other = self.atom()
            if other is None:
                self.at = held
                break
            term = term.joined(other, -1 if match[1] in "/÷" else 1)
        return term

    def atom(self) -> _Term | None:
        opened = re.compile(r"\s*\(\s*").match(self.text, self.at)
        if opened:
            held = self.at
            self.at = opened.end()
            term = self.sum()
            closed = re.compile(r"\s*\)").match(self.text, self.at)
            if term is None or not closed:
                self.at = held
                return None
            self.at = closed.end()
            return self._with_unit(term)
        lead = re.compile(r"\s*[$€]?\s*").match(self.text, self.at)
        match = NUMBER.match(self.text, lead.end() if lead else self.at)
        if not match:
            return None
        number = read(match)
        self.at = match.end()
        whole = "." not in match["digits"] and not match["power"] and not match["exponent"]
        exact = whole and (number.digits < 2 or number.value < 1000)
        values = (number.value,) * 3 if exact else (number.low, number.value, number.high)
        return self._with_unit(_Term(values, values, ()))

    def _with_unit(self, term: _Term) -> _Term:
        """``term`` with the unit behind it; words that are none are a label, and are skipped."""
        rest = self.text[self.at :]
        words = re.match(r"[\s-]?((?:[^\s()*=+×·,;]+(?:\s(?![x/*+=×÷-]\s|[x×]\d))?){1,6})", rest)
        if words is not None:
            parts = words[1].split()
            for count in range(min(5, len(parts)), 0, -1):
                shown = " ".join(parts[:count])
                said = None if re.search(r"/\s*[\d(]", shown) else unit(shown.rstrip(".,:"))
                if said is not None:
                    self.at += rest.index(parts[count - 1], _offset(rest, parts, count - 1)) + len(
                        parts[count - 1].rstrip(".,:")
                    )
                    return _scaled(term, said)
        label = re.match(
            r"\s+(?![x×]\s)[A-Za-z][\w-]*(?:/[A-Za-z][\w-]*)?(?:\s(?![x×]\s)[A-Za-z][\w/-]*){0,2}",
            rest,
        )
        if label is not None:
            self.at += label.end()
        return term


def _offset(rest: str, parts: list[str], upto: int) -> int:
    at = 0
    for part in parts[:upto]:
        at = rest.index(part, at) + len(part)
    return at


def _scaled(term: _Term, said: Unit) -> _Term:
    base = tuple(v * said.scale for v in term.base)
    powers = dict(term.dimension or ())
    for name, power in said.dimension:
        powers[name] = powers.get(name, 0) + power
    return _Term(
        term.printed,
        (base[0], base[1], base[2]),
        tuple(sorted((b, p) for b, p in powers.items() if p)),
        True,
        term.mac or said.mac,
        term.numbers,
    )


_Triple = tuple[float, float, float]


def _times(a: _Triple, b: _Triple, sign: int) -> _Triple:
    if sign > 0:
        return a[0] * b[0], a[1] * b[1], a[2] * b[2]
    if b[1] == 0:
        return math.nan, math.nan, math.nan
    return a[0] / b[2], a[1] / b[1], a[2] / b[0] if b[0] > 0 else math.inf


def _add(a: _Triple, b: _Triple, sign: int) -> _Triple:
    if sign > 0:
        return a[0] + b[0], a[1] + b[1], a[2] + b[2]
    return a[0] - b[2], a[1] - b[1], a[2] - b[0]
