"""Rules on peaks, prices and figures for each token or parameter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median

from picojoule.green.lint._carbon import slip
from picojoule.green.lint._finding import Finding
from picojoule.green.lint._read import Card, Claim, Group

#: Dense peaks, TFLOP/s by type (vendors' data sheets); with 2:4 sparsity each is twice that.
_DENSE: dict[str, dict[str, tuple[float, ...]]] = {
    "B200": {"16": (2250.0,), "8": (4500.0,), "32": (80.0,)},
    "H200": {"16": (989.4,), "8": (1979.0,), "32": (66.9,)},
    "H100": {"16": (989.4, 756.0, 835.5), "8": (1979.0, 1513.0, 1671.0), "32": (66.9, 51.2, 60.0)},
    "A100": {"16": (312.0,), "8": (624.0,), "32": (19.5,)},
    "L40S": {"16": (362.0,), "8": (733.0,), "32": (91.6,)},
    "L40": {"16": (181.0,), "8": (362.0,), "32": (90.5,)},
    "L4": {"16": (121.0,), "8": (242.0,), "32": (30.3,)},
    "A10": {"16": (125.0,), "8": (250.0,), "32": (31.2,)},
    "4090": {"16": (165.2,), "8": (330.3,), "32": (82.6,)},
    "MI300X": {"16": (1307.4,), "8": (2614.9,), "32": (163.4,)},
}
_RATE = re.compile(
    r"(?P<n>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s*(?P<p>[TP])(?:FLOP|flop)[sS]?"
    r"(?:/s(?:ec)?|\s+per\s+second)?"
)


def check(card: Card) -> Iterator[Finding]:
    """All findings of these rules."""
    for group in card.groups:
        yield from _money(group)
        yield from _per(group)
    yield from _peaks(card)
    yield from _prices(card)


def _peaks(card: Card) -> Iterator[Finding]:
    for line, text in enumerate(card.lines, 1):
        part = next((p for p in _DENSE if re.search(rf"(?<![A-Za-z0-9]){p}\b", text)), None)
        if part is None or re.search(r"spars", text, re.I):
            continue
        for match in _RATE.finditer(text):
            value = float(match["n"].replace(",", "")) * (1000.0 if match["p"] == "P" else 1.0)
            near = text[max(0, match.start() - 40) : match.end() + 30]
            bits = "8" if re.search(r"fp8|int8|e4m3|8-bit", near, re.I) else "16"
            if re.search(r"(?:fp|float)[\s-]?32|single precision", near, re.I):
                bits = "32"
            dense = _DENSE[part][bits]
            if bits == "32" and any(abs(value / d - 1) < 0.01 for d in _DENSE[part]["16"]):
                yield Finding(
                    line,
                    "sparse-peak",
                    f"{value:g} TFLOP/s is the 16-bit tensor peak of {part}; fp32 is {dense[0]:g}",
                )
            elif any(abs(value / (2 * d) - 1) < 0.01 for d in dense):
                yield Finding(
                    line,
                    "sparse-peak",
                    f"{value:g} TFLOP/s of {part} counts 2:4 sparsity"
                    + (" (or is its 8-bit peak)" if bits == "16" else "")
                    + f"; dense is {value / 2:g}, and a utilisation against it doubles",
                )


def _money(group: Group) -> Iterator[Finding]:
    price, cost, hours = group.one("usd_per_hour"), group.one("usd"), group.one("hours")
    if price is None or cost is None or hours is None or not price.value * hours.value > 0:
        return
    devices = group.one("devices")
    options = [price.value * hours.value]
    if devices is not None:
        options.append(options[0] * devices.value)
    if any(abs(cost.value / o - 1) < 0.03 for o in options):
        return
    best = options[-1]
    yield Finding(
        cost.line,
        "price",
        f"${cost.value:,.6g}, but hours x price give ${best:,.6g} "
        f"({slip(cost.value / best) or f'{cost.value / best:.3g} times'})",
    )


def _prices(card: Card) -> Iterator[Finding]:
    """In one table, the price for an hour of the same device is one price, or one range."""
    for at in range(len(card.tables)):
        rows: dict[tuple[str, int], list[tuple[float, Claim]]] = {}
        for group in card.groups:
            hours, devices = group.one("hours"), group.one("devices")
            if group.table != at or hours is None or not hours.value > 0:
                continue
            named = re.search(r"TPU\s?v\d|[AHVPKT]\d{1,3}(?!\d)", group.words)
            count = devices.value if devices and not hours.device_hours else 1.0
            for place, claim in enumerate(group.of("usd")[:2]):
                key = (named[0] if named else "", place)
                rows.setdefault(key, []).append((claim.value / hours.value / count, claim))
        for (name, _), prices in rows.items():
            if len(prices) < 3 or not name:
                continue
            middle = median(p for p, _ in prices)
            for price, claim in prices:
                if not 2 / 3 < price / middle < 1.5:
                    yield Finding(
                        claim.line,
                        "price",
                        f"${claim.value:,.6g} is ${price:.3g} for an hour of {name}; at the other "
                        f"rows' ${middle:.3g} it is ${claim.value / price * middle:,.3g}",
                    )


def _per(group: Group) -> Iterator[Finding]:
    """Grams per token (image, parameter ...) against the total and the number of them."""
    for claim in group.of("co2e_per"):
        total, count = group.one("co2e"), group.one(claim.per)
        if total is None or count is None or not total.value * count.value > 0:
            continue
        expected = total.value / count.value
        ratio = claim.value / expected
        open_ = (claim.number.high - claim.number.low) / claim.value if claim.value > 0 else 0
        if abs(ratio - 1) <= 0.03 + open_:
            continue
        words = slip(ratio)
        yield Finding(
            claim.line,
            "grams" if words else "recompute",
            f"{claim.number.text} is {claim.value:.3g} g for each {claim.per}; total over count "
            f"is {expected:.3g} g ({words or f'{ratio:.3g} times'})",
        )
