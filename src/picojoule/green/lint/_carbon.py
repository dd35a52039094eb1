"""Rules on energy and carbon: what hours, watts, PUE and intensity multiply to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from picojoule.green.lint._devices import nameplates
from picojoule.green.lint._finding import Finding
from picojoule.green.lint._read import DEVICE, Card, Claim, Group

#: No grid lies outside: hydro and nuclear mixes come near the one, lignite near the other.
LEAST_G_PER_KWH, MOST_G_PER_KWH = 5.0, 1100.0
#: Products of printed numbers agree to this, besides what their rounding leaves open.
_SLACK = 0.01
#: More significant digits than this no carbon figure has: factors alone differ by percents.
_MOST_DIGITS = 5


def check(card: Card) -> Iterator[Finding]:
    """All findings of these rules."""
    for group in card.groups:
        yield from _stated(group)
        yield from _energy(group, card)
        yield from _carbon(group, card)
        yield from _two_figures(group, card)
        yield from _digits(group)
    yield from _metadata(card)
    yield from _offsets(card)


def slip(ratio: float) -> str:
    """Words for a ratio that is a power of 1,000; "" if it is none."""
    if not ratio > 0:
        return ""
    power = round(math.log10(ratio) / 3)
    if power and abs(math.log10(ratio) - 3 * power) < 0.01:
        return f"off by {10 ** (3 * abs(power)):,}"
    return ""


def misspelled(intensity: float) -> str:
    """What an intensity outside of every grid's must come from."""
    for factor, words in (
        (1e3, "grams for kilograms, or Wh for kWh"),
        (1e-3, "kilograms for grams, or kWh for Wh"),
        (1e-6, "tonnes for grams"),
        (1e6, "grams for tonnes"),
    ):
        if 20 <= intensity * factor <= MOST_G_PER_KWH:
            return f"; {intensity * factor:.3g} g/kWh if {words} were written"
    return ""


def _stated(group: Group) -> Iterator[Finding]:
    for claim in group.of("intensity"):
        if not LEAST_G_PER_KWH <= claim.value <= MOST_G_PER_KWH and not claim.market:
            rule = "grams" if misspelled(claim.value) else "intensity"
            yield Finding(
                claim.line,
                rule,
                f"an intensity of {claim.value:,.4g} g/kWh is no grid's "
                f"(5 to 1,100){misspelled(claim.value)}",
            )


def energies(group: Group, card: Card) -> tuple[list[float], Claim | None]:
    """Energies in kWh that a group tells, IT first and with PUE last, and the claim it is from."""
    stated = group.one("energy")
    if stated is not None and stated.value > 0:
        return [stated.value], stated
    hours, watts = group.one("hours"), group.one("watts")
    if hours is None or watts is None or not hours.value * watts.value > 0:
        return [], None
    base = hours.value * watts.value / 1000.0
    devices = group.one("devices")
    out = [base]
    if devices is not None and not hours.device_hours and devices.value > 1:
        out.append(base * devices.value)
    pue = _pue(group, card)
    return [*out, *([e * pue.value for e in out] if pue else [])], hours


def _pue(group: Group, card: Card) -> Claim | None:
    own = group.one("pue")
    if own is not None:
        return own
    found = card.all("pue")
    return found[0] if found and all(c.value == found[0].value for c in found) else None


def _operational(group: Group) -> list[Claim]:
    return [c for c in group.of("co2e") if not c.market and "offset" not in c.words.lower()]


def _energy(group: Group, card: Card) -> Iterator[Finding]:
    """Printed kWh against hours x watts (x devices) (x PUE)."""
    stated, hours, watts = group.one("energy"), group.one("hours"), group.one("watts")
    if stated is None or hours is None or watts is None or not stated.value > 0:
        return
    base = hours.value * watts.value / 1000.0
    devices, pue = group.one("devices"), _pue(group, card)
    counts = [1.0, *([devices.value] if devices and devices.value > 1 else [])]
    factors = [1.0, pue.value] if pue else [1.0]
    # What rounding of all that is printed leaves open.
    low = hours.number.low * watts.number.low / hours.value / watts.value * (1 - 1e-9)
    high = hours.number.high * watts.number.high / hours.value / watts.value * (1 + 1e-9)
    nearest = min(
        (base * n * f for n in counts for f in factors),
        key=lambda e: abs(math.log(stated.value / e)) if e > 0 else math.inf,
    )
    if not nearest > 0:
        return
    ratio = stated.value / nearest
    printed = (stated.number.low / nearest, stated.number.high / nearest)
    exact = printed[0] <= 1.0 <= printed[1]
    if exact:
        return
    if printed[1] >= low and printed[0] <= high:
        needed = hours.value * ratio
        if abs(ratio - 1) > 1e-3:
            yield Finding(
                stated.line,
                "recompute",
                f"{hours.value:g} h x {watts.value:g} W give {nearest:.6g} kWh; the printed "
                f"{stated.value:g} kWh needs {needed:.4g} h, so the hours are rounded",
                "note",
            )
        return
    if abs(ratio - 1) <= _SLACK:
        return
    if pue and abs(ratio / pue.value - 1) <= _SLACK:
        yield Finding(
            stated.line,
            "pue",
            f"{stated.value:g} kWh has the PUE {pue.value:g} twice: hours x watts x PUE is "
            f"{nearest:.4g} kWh",
        )
    elif words := slip(ratio):
        yield Finding(
            stated.line,
            "grams",
            f"{stated.value:,.6g} kWh, but hours x watts give {nearest:,.4g} kWh: {words}, "
            "as between Wh, kWh and MWh",
        )
    elif ratio > 1 and pue is None and ratio <= 2.0 + _SLACK and len(counts) == 1:
        return  # a PUE that is not told
    elif ratio < 1 and _rated(watts, group):
        return  # the rated power is an upper bound
    else:
        yield Finding(
            stated.line,
            "recompute",
            f"{stated.value:,.6g} kWh, but hours x watts give {nearest:,.4g} kWh "
            f"({ratio:.3g} times)",
        )


def _rated(watts: Claim, group: Group) -> bool:
    """Whether the power is what the device is rated for, not what it drew."""
    if re.search(r"\btdp\b|peak|max|rated|nameplate|limit", watts.words, re.I):
        return True
    return any(watts.value in nameplates(n.group()) for n in DEVICE.finditer(group.words))


def _carbon(group: Group, card: Card) -> Iterator[Finding]:
    known, source = energies(group, card)
    intensity = group.one("intensity")
    if not known or source is None:
        return
    for claim in _operational(group):
        if intensity is not None and intensity.value > 0 and claim.value > 0:
            yield from _product(claim, known, intensity, _pue(group, card))
            continue
        if claim.value == 0:
            continue  # what is said of contracts decides: _market
        implied = [claim.value / e for e in known]
        if any(LEAST_G_PER_KWH <= i <= MOST_G_PER_KWH for i in implied):
            continue
        best = implied[0]
        yield Finding(
            claim.line,
            "grams" if misspelled(best) else "intensity",
            f"{mass(claim.value)} for {known[0]:,.4g} kWh is {best:.2g} g/kWh, which no grid "
            f"has (5 to 1,100){misspelled(best)}",
        )


def _product(
    claim: Claim, known: list[float], intensity: Claim, pue: Claim | None
) -> Iterator[Finding]:
    best = min(
        known,
        key=lambda e: abs(math.log(max(claim.value, 1e-12) / (e * intensity.value))),
    )
    expected = best * intensity.value
    ratio = claim.value / expected
    loose = (intensity.number.high - intensity.number.low) / 2 / intensity.value + _SLACK
    loose += (claim.number.high - claim.number.low) / 2 / max(claim.value, 1e-12)
    if abs(ratio - 1) <= loose:
        return
    said = (
        f"{mass(claim.value)}, but {best:,.4g} kWh x {intensity.value:.4g} g/kWh are "
        f"{mass(expected)}"
    )
    facility = re.search(r"facilit|includ\w* (?:the )?PUE|with PUE|PUE includ", claim.words, re.I)
    if pue and abs(ratio / pue.value - 1) <= loose:
        if len(known) > 1 or facility:
            yield Finding(claim.line, "pue", f"{said}: the PUE {pue.value:g} is in it twice")
        return
    if pue and abs(ratio * pue.value - 1) <= loose:
        yield Finding(
            claim.line,
            "pue",
            f"{said}: the energy has the PUE {pue.value:g} in it, the CO2e has not",
        )
    elif words := slip(ratio):
        yield Finding(claim.line, "grams", f"{said}: {words}")
    elif 1 < ratio <= 2 and pue is None:
        yield Finding(claim.line, "recompute", f"{said}; if {ratio:.3g} is a PUE, say so", "note")
    else:
        yield Finding(claim.line, "recompute", f"{said} ({ratio:.3g} times)")


def _two_figures(group: Group, card: Card) -> Iterator[Finding]:
    """Two totals that differ by exactly the PUE are one total, once with and once without it."""
    pue = _pue(group, card)
    if pue is None or not 1.005 < pue.value < 3:
        return
    found = sorted({c.value: c for c in _operational(group) if c.value > 0}.values(), key=_value)
    told = re.search(r"with(?:out)? (?:the )?PUE|before PUE|after PUE|facility", group.words, re.I)
    if told:
        return
    for i, a in enumerate(found):
        for b in found[i + 1 :]:
            open_ = (b.number.high - b.number.low) / b.value / 2
            open_ += (a.number.high - a.number.low) / a.value / 2
            if abs(b.value / a.value / pue.value - 1) <= open_ + 5e-4:
                yield Finding(
                    a.line,
                    "pue",
                    f"{mass(a.value)} and {mass(b.value)} differ by the PUE {pue.value:g}: one "
                    "is of the IT equipment, the other of the facility; say which",
                )


def _value(claim: Claim) -> float:
    return claim.value


def _digits(group: Group) -> Iterator[Finding]:
    for claim in group.of("co2e"):
        if claim.number.digits > _MOST_DIGITS:
            yield Finding(
                claim.line,
                "digits",
                f"{claim.number.text} has {claim.number.digits} digits; grid factors alone differ "
                "by percents, so two or three can be meant",
            )


def _metadata(card: Card) -> Iterator[Finding]:
    """Metadata are in grams; what the text says must be the same."""
    for group in card.groups:
        if group.kind != "metadata":
            continue
        claim = group.claims[0]
        others = [
            c
            for g in card.groups
            if g.kind != "metadata"
            for c in g.of("co2e")
            if c.value > 0 and not c.market
        ]
        if any(abs(c.value / claim.value - 1) < 0.02 for c in others if claim.value > 0):
            continue
        for other in others:
            words = slip(other.value / claim.value) if claim.value > 0 else ""
            if words:
                yield Finding(
                    claim.line,
                    "grams",
                    f"co2_eq_emissions are grams: {claim.value:g} g here, {mass(other.value)} in "
                    f"line {other.line}; write {other.value:.4g}",
                )
                break
        else:
            energy = [c for g in card.groups for c in g.of("energy") if c.value > 0]
            if len({c.value for c in energy}) == 1 and not others and claim.value > 0:
                implied = claim.value / energy[0].value
                if not LEAST_G_PER_KWH <= implied <= MOST_G_PER_KWH:
                    yield Finding(
                        claim.line,
                        "grams" if misspelled(implied) else "intensity",
                        f"co2_eq_emissions are grams: {claim.value:g} g for "
                        f"{energy[0].value:,.4g} kWh is {implied:.2g} g/kWh{misspelled(implied)}",
                    )


_SUBTRACTED = re.compile(
    r"\b(?:net of|after|less|minus|subtract\w*|deduct\w*|reduc\w+ by)\b[^.;]{0,50}\boffset"
    r"|\boffset\w*\b[^.;]{0,40}\b(?:subtracted|deducted|taken off)\b"
    r"|\bnet emissions?\b[^.;]{0,60}\boffset",
    re.I,
)
_NEGATED = re.compile(r"\b(?:no|not|never|without|before|excluding|none|isn't|aren't)\b", re.I)


def _offsets(card: Card) -> Iterator[Finding]:
    for line, text in card.prose:
        for sentence in re.split(r"(?<=[.;!?])\s+", text):
            found = _SUBTRACTED.search(sentence)
            if found and not _NEGATED.search(sentence) and re.search(r"\d", sentence):
                yield Finding(
                    line,
                    "offset",
                    "offsets are subtracted here; emissions are stated before offsets, which "
                    "stand beside them",
                )
                break
    for group in card.groups:
        offsets = [c for c in group.of("co2e") if re.search(r"offset", c.words, re.I)]
        rest = [c for c in group.of("co2e") if c not in offsets]
        for o in offsets:
            for a in rest:
                for b in rest:
                    if (
                        group.kind == "row"
                        and 0 < o.value < a.value
                        and math.isclose(a.value - o.value, b.value, rel_tol=1e-3)
                        and not re.search(r"\bnet\b", b.words, re.I)
                    ):
                        yield Finding(
                            b.line,
                            "offset",
                            f"{mass(b.value)} is {mass(a.value)} less the offset {mass(o.value)}",
                        )


def mass(grams: float) -> str:
    """A mass in the unit that suits it."""
    for size, name in ((1e6, "t"), (1e3, "kg")):
        if grams >= size:
            return f"{grams / size:,.6g} {name}"
    return f"{grams:.6g} g"
