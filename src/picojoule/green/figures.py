"""Figures as people read them: a number with scope, method, source and year, and no digit too many.

Every block and report takes its numbers from here, so none can stand without its account.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from picojoule.green import trials
from picojoule.green.columns import Columns, Mask
from picojoule.green.model import FAILED, Run, Study, columns_of
from picojoule.green.quantities import Quantity

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint

UNKNOWN = "unknown"

#: Attribute of a ``Footprint`` -> (what it is, unit it is always told in; "" lets its size choose).
LABELS: Mapping[str, tuple[str, str]] = {
    "it_energy": ("Energy of the IT equipment (no PUE)", ""),
    "facility_energy": ("Energy of the facility (with PUE)", ""),
    "co2e": ("CO2e, operational, location-based", ""),
    "embodied": ("CO2e, embodied share (not in the above)", ""),
    "water": ("Water, on and off site", ""),
    "money": ("Money", ""),
    "device_hours": ("Device-hours", ""),
    "wall_s": ("Wall time, one run after another", ""),
    "wall_parallel_s": ("Wall time, all runs at once", ""),
    "flops": ("Model FLOP (1 MAC = 2 FLOP)", "FLOP"),
    "pf_days": ("Model FLOP, in pf-days", "pf-days"),
    "pj_per_flop": ("Energy for each model FLOP", "pJ/FLOP"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that may be printed.

    Attributes:
        key: attribute of the footprint that it is, or name of the factor.
        label: what it is.
        quantity: the number, its range, provenance and basis.
        scope: of which runs it is.
        unit: to tell it in; "" lets its size choose.
        method: how its parts were got, where that says more than the worst of them.
    """

    key: str
    label: str
    quantity: Quantity
    scope: str
    unit: str = ""
    method: str = ""

    @property
    def text(self) -> str:
        """The number with its range; "unknown", or both bounds where only those are known."""
        return shown(self.quantity, self.unit)

    @property
    def how(self) -> str:
        """How it was got; "unknown" if it is."""
        return (self.method or self.quantity.provenance) if self.quantity.known else UNKNOWN

    @property
    def basis(self) -> str:
        """What it rests on, or why it is unknown."""
        return self.quantity.basis


@dataclass(frozen=True, slots=True)
class Score:
    """What the reported runs scored.

    Attributes:
        name: of the score.
        mean: over the reported runs.
        std: sample standard deviation; nan for a single run.
        count: runs with this score.
        over: what the runs differ by: "4 folds", "3 seeds", "4 folds x 3 seeds", "1 run".
        larger_is_better: which way is good.
        by_fold: fold -> mean; empty without folds.
    """

    name: str
    mean: float
    std: float
    count: int
    over: str
    larger_is_better: bool
    by_fold: Mapping[str, float]

    @property
    def text(self) -> str:
        """``0.71 ± 0.04 (mean ± sd over 4 folds)``, digits by the spread."""
        if not self.std > 0:
            return f"{self.mean:.4g} ({self.over})"
        places = max(0, 1 - math.floor(math.log10(self.std)))
        places = min(places, max(0, 5 - math.floor(math.log10(abs(self.mean) or 1.0))))
        return f"{self.mean:.{places}f} ± {self.std:.{places}f} (mean ± sd over {self.over})"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many runs of what kind a study has."""

    runs: int
    by_role: Mapping[str, int]
    by_status: Mapping[str, int]
    failed: int
    configs: int
    folds: int
    seeds: int
    devices: tuple[str, ...]
    regions: tuple[str, ...]
    hosts: tuple[str, ...]

    @property
    def scope(self) -> str:
        """``all 128 runs (120 tune, 8 final), 9 of them without a result``."""
        if self.runs == 1:
            return "the only run"
        roles = ", ".join(f"{n:,} {role}" for role, n in self.by_role.items())
        failed = f", {self.failed:,} of them without a result" if self.failed else ""
        return f"all {self.runs:,} runs ({roles}){failed}"


def figures(
    study: Sequence[Run], footprint: Footprint, counted: Counts | None = None
) -> list[Figure]:
    """The figures of a study's footprint, in the order of ``LABELS``.

    Args:
        study: the runs.
        footprint: theirs.
        counted: ``counts(study)``, if it is there already.
    """
    scope = (counted or counts(study)).scope
    out = []
    for key, (label, unit) in LABELS.items():
        found: Quantity = getattr(footprint, key)
        method = _method(footprint) if key == "co2e" else ""
        out.append(Figure(key, label, found, scope, unit, method))
    return out


def factors(footprint: Footprint) -> list[Figure]:
    """The factors that went into a footprint, each with its source and year."""
    return [
        # What an hour of a device embodies is told without its hour.
        Figure(what, f"{what}, an hour" if what.startswith("embodied ") else what, found, "factor")
        for what, found in footprint.factors
    ]


def _method(footprint: Footprint) -> str:
    """``measured energy, published factor``: a factor must not make the energy look like one."""
    kinds = {q.provenance for what, q in footprint.factors if what.startswith("intensity")}
    if len(kinds) != 1 or not footprint.it_energy.known:
        return ""
    return f"{footprint.it_energy.provenance} energy, {kinds.pop()} factor"


def shown(found: Quantity, unit: str = "") -> str:
    """A quantity in words: with its range; its bounds where only those are known; or unknown."""
    if found.known:
        return in_unit(found, unit or found._unit_shown()[0])
    if math.isfinite(found.low) and math.isfinite(found.high) and found.high > found.low:
        ends = [Quantity(end, found.dimension) for end in (found.low, found.high)]
        low, high = (in_unit(e, unit or e._unit_shown()[0]) for e in ends)
        return f"{UNKNOWN}, between {low} and {high}"
    if math.isfinite(found.low) and found.low > 0 and math.isnan(found.high):
        least = Quantity(found.low, found.dimension)
        return f"{UNKNOWN}, at least {in_unit(least, unit or least._unit_shown()[0])}"
    return UNKNOWN


def in_unit(found: Quantity, unit: str) -> str:
    """A known quantity in this unit, as many digits as its range allows."""
    value = found.to(unit)
    low, high = found.range_in(unit)
    places = decimals(value, high - low)
    ranged = high - low > 1e-9 * abs(value)
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-3:
        digits = max(1, 1 + places + math.floor(math.log10(abs(value))))
        text = f"{value:.{digits - 1}e}"
        ends = f" ({low:.{digits - 1}e} to {high:.{digits - 1}e})" if ranged else ""
        return f"{text} {unit}".strip() + ends
    show = max(0, places)
    text = f"{round(value, places):,.{show}f} {unit}".strip()
    if ranged:
        text += f" ({round(low, places):,.{show}f} to {round(high, places):,.{show}f})"
    return text


def rounded(found: Quantity, unit: str, guard: int = 0) -> float:
    """A known quantity as a number in ``unit``, rounded to the digits that its range allows.

    Args:
        found: the quantity.
        unit: to tell it in.
        guard: further digits, for tables that will be added up.
    """
    value = found.to(unit)
    low, high = found.range_in(unit)
    return round(value, decimals(value, high - low) + guard)


def decimals(value: float, width: float) -> int:
    """Decimals that the range's half width allows; three digits without one.

    One digit of the half width, two where it begins with less than 3.55, as the Particle Data Group
    rounds. One digit of the value is always shown: 3 (0 to 40) must not become 0.
    """
    first = -math.floor(math.log10(abs(value))) if value else 0
    if width > 1e-9 * abs(value) and width > 0:
        power = math.floor(math.log10(width / 2.0))
        wide = -power + (width / 2.0 / 10.0**power < 3.55)
        return max(wide, first) if value else wide
    return 2 + first if value else 0


def counts(study: Sequence[Run]) -> Counts:
    """How many runs of what kind."""
    columns = columns_of(study)
    everyone = np.ones(columns.size, bool)

    def distinct(name: str) -> tuple[str, ...]:
        return tuple(filter(None, columns.names(name).distinct))

    statuses = columns.names("status")
    return Counts(
        columns.size,
        columns.names("role").counts(everyone),
        statuses.counts(everyone),
        int(statuses.being(*FAILED).sum()),
        len(distinct("config_hash")),
        len(distinct("fold")),
        len(distinct("seed")),
        distinct("device_name"),
        distinct("region"),
        distinct("host"),
    )


def reported(study: Study, score: str | None = None) -> Study:
    """The runs whose scores are the result.

    Those with role "final"; without any, those of the only configuration, or of the one with the
    best mean of ``score`` (None: the first that was told).
    """
    return study.part(reported_mask(study, score))


def reported_mask(study: Study, score: str | None = None) -> Mask:
    """Which runs ``reported`` names, shape (n,)."""
    columns = study.columns
    roles, configs = columns.names("role"), columns.names("config_hash")
    scored = np.fromiter(map(bool, columns.column("scores")), bool, columns.size)
    ok = columns.names("status").being("ok") & scored
    final: Mask = ok & roles.being("final")
    if final.any() or not ok.any():
        return final
    tried: Mask = ok & roles.being("tune", "ablation")
    tried = tried if tried.any() else ok
    if len(configs.among(tried)) == 1:
        return tried
    at = np.flatnonzero(tried).tolist()
    name = score or next(iter(columns.at("scores", at[:1])[0]))
    values = columns.scores(name)
    means = trials.means(configs, values, tried & np.isfinite(values))
    if not means:
        return np.zeros(columns.size, bool)
    directions = columns.at("score_larger_is_better", at)
    larger = next((told[name] for told in directions if name in told), True)
    best = (max if larger else min)(means, key=means.__getitem__)
    chosen: Mask = tried & configs.being(best)
    return chosen


def scores(runs: Sequence[Run]) -> list[Score]:
    """Mean and spread of every score over runs: those that ``reported`` names."""
    columns = columns_of(runs)
    names = dict.fromkeys(chain.from_iterable(columns.column("scores")))
    return [one for name in names if (one := _score(columns, name)) is not None]


def _score(columns: Columns, name: str) -> Score | None:
    every = columns.scores(name)
    there = np.isfinite(every)
    if not there.any():
        return None
    values = every[there]
    many = len(values)
    std = float(values.std(ddof=1)) if many > 1 else math.nan
    folds, seeds = columns.names("fold"), columns.names("seed")
    repeats = [sum(map(bool, names.among(there))) for names in (folds, seeds)]
    told = zip(repeats, ("folds", "seeds"), strict=True)
    over = " x ".join(f"{n} {what}" for n, what in told if n > 1)
    if not over or math.prod(max(1, n) for n in repeats) != many:
        over = f"{many} run" + "s" * (many > 1)
    by_fold = trials.means(folds, every, there & ~folds.being(""))
    directions = columns.at("score_larger_is_better", np.flatnonzero(there).tolist())
    larger = all(told.get(name, True) for told in directions)
    return Score(name, float(values.mean()), std, many, over, larger, by_fold)
