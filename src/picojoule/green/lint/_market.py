"""Rules on contracts: a market-based figure is not the location-based one, and no grid has zero."""

from __future__ import annotations

import re
from collections.abc import Iterator

from picojoule.green.lint._carbon import energies, mass
from picojoule.green.lint._finding import Finding
from picojoule.green.lint._read import Card, Claim, Group

_CONTRACT = (
    r"(?:renewable|green (?:power|energy|electricity|tariff)|certificates?|\bPPAs?\b"
    r"|power purchase|\b(?:I-)?RECs?\b|\bREGOs?\b|\bGOs?\b|\bGoOs?\b|guarantees? of origin)"
)
_CLAIMED = re.compile(rf"{_CONTRACT}|net[\s-]?zero|carbon[\s-]?(?:neutral|free)", re.I)
_LOCATION = r"location[\s-]*based"
#: "location-based ... is zero" and "zero location-based ..."
_ZERO_WORD = re.compile(
    rf"{_LOCATION}[^.;,\d]{{0,60}}\b(?:is|are|was|were|of|:|=)\s*(?:therefore |thus |hence )?"
    rf"(?:zero|nil|none)\b|\b(?:zero|no)\s+{_LOCATION}\b(?![^.;]{{0,40}}\b(?:figure|number|data"
    r"|value|factor|estimate|report)\w*)",
    re.I,
)
_BOUGHT = (
    r"(?:certificates?|\bPPAs?\b|power purchase|\b(?:I-)?RECs?\b|\bREGOs?\b|\bGOs?\b|\bGoOs?\b"
    r"|guarantees? of origin|100\s?% renewable"
    r"|renewable (?:\w+ )?(?:purchas|contract|procure|credit|tariff|match)\w*)"
)
#: A location-based figure that contracts have lowered.
_LOWERED = re.compile(
    rf"{_LOCATION}(?:(?!market)[^.;])*?\b(?:after|net of|less|minus|thanks to|due to|owing to"
    r"|because of|reduced by|lowered by|taking into account|accounting for|counting|applying|using)"
    rf"\s+(?:\w+[\s-]+){{0,4}}?{_BOUGHT}",
    re.I,
)
_NEGATED = re.compile(r"\b(?:not|never|without|before|isn't|aren't|cannot|rather than)\b", re.I)


def check(card: Card) -> Iterator[Finding]:
    """All findings of these rules, one a line."""
    found: set[int] = set()
    for finding in (*_only_market(card), *_zeros(card), *_words(card)):
        if finding.line not in found:
            found.add(finding.line)
            yield finding


def _only_market(card: Card) -> Iterator[Finding]:
    claims = card.all("co2e")
    market = [c for c in claims if c.market]
    if market and len(market) == len(claims):
        yield Finding(
            market[0].line,
            "market-based",
            f"the only figure, {mass(market[0].value)}, is market-based; give the location-based "
            "one first",
        )


def _zeros(card: Card) -> Iterator[Finding]:
    claims = card.all("co2e")
    emitted = any(c.value > 0 for c in claims)
    for group in card.groups:
        if group.kind == "metadata":
            continue
        for claim in group.of("co2e"):
            if claim.value == 0 and not claim.market and not _offset(claim):
                why = _why_not_zero(claim, group, card, emitted)
                if why:
                    yield Finding(claim.line, "market-based", why)


def _why_not_zero(claim: Claim, group: Group, card: Card, emitted: bool) -> str:
    remedy = "what was bought as certificates, PPAs or offsets belongs beside it, as market-based"
    known, _ = energies(group, card)
    if claim.location:
        return f"a location-based figure of 0 g: no grid emits nothing; {remedy}"
    if known:
        return f"0 g of CO2e for {known[0]:,.4g} kWh: a location-based figure is never 0; {remedy}"
    if any(c.location and c.value > 0 for c in card.all("co2e")):
        return ""  # the location-based one is there
    near = claim.words if emitted else "\n".join(text for _, text in card.prose) + group.words
    if _CLAIMED.search(near):
        return (
            "0 g of CO2e by renewable contracts is a market-based figure; give the location-based "
            "one first"
        )
    return ""


def _offset(claim: Claim) -> bool:
    return bool(re.search(r"offset", claim.words, re.I))


def _words(card: Card) -> Iterator[Finding]:
    for line, text in card.prose:
        for sentence in re.split(r"(?<=[.;!?])\s+", text):
            zero, lowered = _ZERO_WORD.search(sentence), _LOWERED.search(sentence)
            if zero and not _NEGATED.search(zero[0]):
                yield Finding(
                    line,
                    "market-based",
                    "a location-based figure of zero: no grid emits nothing; what contracts cover "
                    "is market-based",
                )
            elif lowered and not _NEGATED.search(lowered[0]) and re.search(r"\d", sentence):
                yield Finding(
                    line,
                    "market-based",
                    "a location-based figure does not know certificates or contracts: with them it "
                    "is market-based",
                )
