"""Known systems: where an amount of compute lies among published ones.

The table is Epoch AI's data on notable systems (CC BY), with its tags of confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.compute import Growth, growth
from picojoule.green.places import near_names
from picojoule.green.quantities import Quantity, quantity, unit_of
from picojoule.green.tables import Tables, maybe, rows

#: Systems that many know, to compare by.
MILESTONES = ("AlexNet", "BERT-Large", "GPT-3 175B (davinci)", "Llama 3.1-405B")


@dataclass(frozen=True, slots=True)
class System:
    """A published system. Unknown is nan or "".

    Attributes:
        name: as the table has it.
        date: of publication.
        domain: what it does.
        flops: of training.
        parameters: how many.
        dataset_size: examples, words or tokens, as its domain counts.
        hardware: what trained it.
        chips: how many.
        hours: of training.
        chip_hours: chips x hours.
        confidence: "Confident", "Likely", "Speculative" or "Unknown": Epoch's tag of the FLOPs; "".
        cost_2023_usd: estimate, in dollars of 2023.
        link: where it was published.
    """

    name: str
    date: str
    domain: str
    flops: Quantity
    parameters: float
    dataset_size: float
    hardware: str
    chips: float
    hours: float
    chip_hours: float
    confidence: str
    cost_2023_usd: float
    link: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A system, and how many of its trainings the compared amount is."""

    system: System
    times: float

    def __str__(self) -> str:
        tag = f" [{self.system.confidence}]" if self.system.confidence else ""
        if self.times >= 0.1:
            return f"{_three(self.times)} x {self.system.name}{tag}"
        return f"1/{_three(1.0 / self.times)} of {self.system.name}{tag}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """An amount of compute among known systems.

    Attributes:
        flops: what was compared.
        below: the next smaller system; None below all.
        above: the next larger one; None above all.
        smaller: how many of the systems took less.
        among: of how many.
        milestones: times of well-known systems.
    """

    flops: Quantity
    below: Placed | None
    above: Placed | None
    smaller: int
    among: int
    milestones: tuple[Placed, ...]

    def __str__(self) -> str:
        if not self.flops.known:
            return f"unknown FLOPs: {self.flops.basis}"
        shown = list(
            dict.fromkeys(str(p) for p in (self.below, self.above, *self.milestones) if p)
        )  # fmt: skip
        return (
            f"{self.flops} = {'; '.join(shown)} "
            f"(more than {self.smaller} of {self.among} systems known to Epoch AI)"
        )


def systems(tables: Tables | None = None) -> Sequence[System]:
    """All known systems, in order of their dates."""
    out = []
    for r in rows("known_systems", tables):
        said = f"{r['system']}, Epoch AI ({r['confidence'] or 'no confidence told'})"
        out.append(
            System(
                r["system"], r["date"], r["domain"],
                Quantity(
                    maybe(r, "training_flop"), unit_of("FLOP")[0], provenance="published",
                    basis=said,
                ),
                maybe(r, "parameters"), maybe(r, "dataset_size"), r["hardware"],
                maybe(r, "chips"), maybe(r, "hours"), maybe(r, "chip_hours"),
                r["confidence"], maybe(r, "cost_2023usd"), r["link"],
            )
        )  # fmt: skip
    return tuple(out)


def system(name: str, tables: Tables | None = None) -> System:
    """The known system of that name.

    Raises:
        UsageError: there is none; the message has names that are near.
    """
    known = systems(tables)
    for s in known:
        if s.name.casefold() == name.strip().casefold():
            return s
    near = near_names(name, [s.name for s in known])
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise UsageError(f"no known system is called {name!r}{hint}")


def compare(amount: Any, *, tables: Tables | None = None) -> Comparison:
    """Place an amount of compute among known systems.

    Args:
        amount: a ``Profile`` (its model FLOPs), FLOPs as a ``Quantity`` or a number, "3.1e17 FLOP",
            or whatever else has ``flops``, such as a footprint or a run.
        tables: own tables; see ``picojoule.green.tables``.

    Returns:
        A comparison that prints as one line. A profile whose FLOPs are not known compares as
        unknown.

    Raises:
        UnitError: it is no amount of FLOPs.
        UsageError: it is not above 0.
    """
    flops = _flops_of(amount)
    known = sorted((s for s in systems(tables) if s.flops.known), key=lambda s: s.flops.value)
    if not flops.known:
        return Comparison(flops, None, None, 0, len(known), ())
    if not flops.value > 0:
        raise UsageError(f"only an amount above 0 can be compared, not {flops}")

    def placed(s: System) -> Placed:
        return Placed(s, flops.value / s.flops.value)

    lower = [s for s in known if s.flops.value <= flops.value]
    upper = [s for s in known if s.flops.value > flops.value]
    famous = {s.name: s for s in known}
    return Comparison(
        flops,
        placed(lower[-1]) if lower else None,
        placed(upper[0]) if upper else None,
        len(lower),
        len(known),
        tuple(placed(famous[name]) for name in MILESTONES if name in famous),
    )


def growth_between(first: str, last: str, tables: Tables | None = None) -> Growth:
    """Growth of training FLOPs from one known system to another, with its doubling time.

    Raises:
        UsageError: an unknown system, or the second is not the later one.
    """
    a, b = system(first, tables), system(last, tables)
    return growth(a.flops, b.flops, a.date, b.date)


def _flops_of(amount: Any) -> Quantity:
    if isinstance(amount, (Quantity, str)):
        return quantity(amount, "FLOP")
    if isinstance(amount, (int, float)):
        return quantity(amount, "FLOP")
    flops = getattr(amount, "flops", None)
    if isinstance(flops, Quantity):
        return quantity(flops, "FLOP")
    if isinstance(flops, float):  # a run of the ledger
        kind = str(getattr(amount, "flops_provenance", "estimated"))
        return quantity(flops, "FLOP", provenance=kind if not math.isnan(flops) else "estimated")
    model = getattr(flops, "model", None)
    if model is None:
        raise UsageError(f"{amount!r} has no FLOPs to compare; give a profile or '3.1e17 FLOP'")
    covered = getattr(flops, "coverage_time", math.nan)
    said = f"model FLOPs of the profile, known for {100 * covered:.0f} % of its time"
    if math.isnan(model):
        said = "no FLOPs of the profile are known; see pj.count_flops"
    elif math.isnan(covered):
        said = "model FLOPs of the profile"
    counted = "counter" in getattr(flops, "sources", ())
    return quantity(model, "FLOP", provenance="counted" if counted else "modelled", basis=said)


def _three(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}"
