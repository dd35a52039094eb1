"""Rules on what devices can draw: no less than idle, no more than their nameplate lets through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from picojoule.green.lint._carbon import LEAST_G_PER_KWH, MOST_G_PER_KWH, mass, misspelled, slip
from picojoule.green.lint._devices import nameplates
from picojoule.green.lint._finding import Finding
from picojoule.green.lint._read import DEVICE, Card, Claim, Group

#: Idle data-center GPUs draw 50 to 90 W of 400 to 700 W, V100 32 W of 300 W; less than this share
#: of the nameplate none draws on average. Graphics boards idle lower.
_LEAST_SHARE, _LEAST_SHARE_GRAPHICS = 0.05, 0.03
#: Hosts, network and storage at most double what accelerators draw: a DGX H100 has 10.2 kW for
#: eight of 0.7 kW.
_MOST_SYSTEM = 2.0
#: Where no PUE is told; few facilities are worse.
_MOST_PUE = 1.6
#: Rounding, and what a board may exceed its limit by.
_SLACK = 1.05
#: An accelerator that is not named, in W: none idles below the one or is sold above the other.
_UNNAMED = (5.0, 1500.0)

#: A "TPU device" of papers is a board of four chips.
_TPU_CHIPS = 4.0

_PART = re.compile(r"(?:per|each|every|one|a single|a)\b[\s-]*(?:\w+[\s-])?(?:epochs?|steps?|runs?"
                   r"|folds?|trials?|seeds?|nodes?|gpus?|tpus?|devices?|tokens?|images?|quer(?:y|ies)"
                   r"|requests?|hours?|days?|experiments?|evaluations?"
                   r"|inferences?|iterations?|samples?"
                   r"|batch(?:es)?)\b", re.I)  # fmt: skip
_MANY = re.compile(
    r"\b(?:runs|trials|folds|seeds|experiments|jobs|times|each|per|in total|cumulative|overall)\b",
    re.I,
)
#: Other work than the training that hours in other sentences are of.
_OTHER_WORK = re.compile(r"\b(?:inferenc|evaluat|fine-?tun|test|queries|serv(?:ed|ing))\w*", re.I)
_SINGLE = re.compile(rf"\b(?:a|an|one|single)\s+(?={DEVICE.pattern})")
_OF_DEVICES = re.compile(
    r"\b(?:GPUs?|TPUs?|accelerators?)(?:'s?)?[\s-]+(?:energy|consum\w+|used|drew)"
    r"|\bNVML\b|\bIT energy\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class _Devices:
    """What ran: its device-hours, and the least and the most that one draws, in W."""

    words: str
    device_hours: float
    least_w: float
    most_w: float

    @property
    def limit(self) -> str:
        if (self.least_w, self.most_w) == _UNNAMED:
            return f"no accelerator has over {self.most_w:g} W"
        return f"nameplate {self.most_w:g} W"

    @property
    def least_kwh(self) -> float:
        return self.device_hours * self.least_w / 1000.0

    @property
    def most_kwh(self) -> float:
        return self.device_hours * self.most_w / 1000.0


def check(card: Card) -> Iterator[Finding]:
    """All findings of these rules."""
    told = [g for g in card.groups if g.kind != "metadata"]
    whole = _whole(told)
    alone = not any(_complete(g) for g in told)
    for group in [g for g in told if _complete(g)] or ([whole] if alone else []):
        ran = _ran(group)
        if ran is not None:
            yield from _energy(group, ran)
            yield from _co2e(group, ran)
    if not any(g.one("energy") and g.of("co2e") for g in told):
        yield from _apart(whole)


def _whole(groups: list[Group]) -> Group:
    """All that the text says, for a card that tells one thing in several places."""
    return Group(
        "card",
        "",
        "\n".join(g.words for g in groups),
        [c for g in groups if g.kind != "row" for c in g.claims],
    )


def _complete(group: Group) -> bool:
    return bool(group.of("hours") and (group.of("energy") or group.of("co2e")))


def _ran(group: Group) -> _Devices | None:
    hours, count = group.one("hours"), group.one("devices")
    names = {re.sub(r"s$", "", n.group()).strip() for n in DEVICE.finditer(group.words)}
    if hours is None or not hours.value > 0 or len(names) > 1:
        return None
    if group.of("devices") and _SINGLE.search(group.words):
        return None  # one of them did this, all of them that
    name = next(iter(names), "")
    if hours.device_hours:
        many = 1.0
    elif count is not None:
        many = count.value
    elif name and not group.of("devices") and _SINGLE.search(group.words):
        many = 1.0
    else:
        return None
    watts = _watts(name)
    if watts is None or not many > 0:
        return None
    if not name and not re.search(r"\b(?:GPU|TPU)s?\b", group.words, re.I):
        return None
    of = f"{hours.value:g} device-hours" if hours.device_hours else f"{many:g} x {hours.value:g} h"
    return _Devices(f"{of} of {name or 'accelerators'}", many * hours.value, *watts)


def _watts(name: str) -> tuple[float, float] | None:
    """Least and most of one device by what a card calls it; None if no table has it."""
    if not name:
        return _UNNAMED
    known = nameplates(name)
    if not known:
        return None
    share = _LEAST_SHARE_GRAPHICS if re.search("RTX|GTX|TITAN", name) else _LEAST_SHARE
    return share * min(known), max(known) * (_TPU_CHIPS if "TPU" in name else 1.0)


def _energy(group: Group, ran: _Devices) -> Iterator[Finding]:
    claim, hours = group.one("energy"), group.one("hours")
    if claim is None or claim.per or not claim.value > 0 or _PART.search(claim.words):
        return
    other = _OTHER_WORK.search(claim.words)
    if other and hours and group.kind != "row" and not _OTHER_WORK.search(hours.words):
        return
    if claim.number.high < ran.least_kwh:
        average = claim.value / ran.device_hours * 1000.0
        ratio = claim.value / (ran.least_kwh / ran.least_w * ran.most_w)
        yield Finding(
            claim.line,
            "energy",
            f"{claim.value:,.6g} kWh for {ran.words} is {average:.3g} W for each, below what one "
            f"draws when idle ({ran.limit})" + (f"; {slip(ratio)}" if slip(ratio) else ""),
        )
        return
    if _MANY.search(group.words) and not group.one("watts"):
        return  # the hours may be those of one of several runs
    pue = group.one("pue")
    only = bool(_OF_DEVICES.search(claim.words))
    around = 1.0 if only else _MOST_SYSTEM * (pue.value if pue else _MOST_PUE)
    if claim.number.low > ran.most_kwh * around * _SLACK:
        average = claim.value / ran.device_hours * 1000.0
        shown = f"{average:,.0f}" if average >= 10 else f"{average:.2g}"
        with_all = "" if only else f", {around:g} times that with hosts and PUE"
        yield Finding(
            claim.line,
            "energy",
            f"{claim.value:,.6g} kWh for {ran.words} is {shown} W for each, more than one can draw "
            f"({ran.limit}{with_all})",
        )


def _co2e(group: Group, ran: _Devices) -> Iterator[Finding]:
    """CO2e that these devices cannot have caused, on any grid; where no energy is told."""
    if group.of("energy") or group.of("watts"):
        return
    for claim in group.of("co2e"):
        if claim.market or not claim.value > 0 or _PART.search(claim.words):
            continue
        low = ran.least_kwh * LEAST_G_PER_KWH
        high = ran.most_kwh * _MOST_SYSTEM * _MOST_PUE * MOST_G_PER_KWH
        if claim.number.high < low or (claim.number.low > high and not _MANY.search(group.words)):
            yield Finding(
                claim.line,
                "intensity",
                f"{mass(claim.value)} for {ran.words}: between idle on the cleanest grid and "
                f"nameplate on the dirtiest it is {mass(low)} to {mass(high)}",
            )


def _apart(card: Group) -> Iterator[Finding]:
    """One energy and one CO2e that stand in different paragraphs."""
    energy = card.one("energy")
    emitted: list[Claim] = [c for c in card.of("co2e") if c.value > 0 and not c.market]
    if energy is None or energy.per or not energy.value > 0:
        return
    if len({c.value for c in emitted}) != 1 or _PART.search(energy.words):
        return
    claim = emitted[0]
    implied = claim.value / energy.value
    if _PART.search(claim.words) or re.search("offset|embodied", claim.words, re.I):
        return
    if not LEAST_G_PER_KWH <= implied <= MOST_G_PER_KWH:
        yield Finding(
            claim.line,
            "grams" if misspelled(implied) else "intensity",
            f"{mass(claim.value)} for {energy.value:,.4g} kWh is {implied:.2g} g/kWh, which no "
            f"grid has (5 to 1,100){misspelled(implied)}",
        )
