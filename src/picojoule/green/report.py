"""What a study found and cost, as one value: what the terminal screen and the page are drawn from.

Pure: a ``Study`` goes in, a ``StudyReport`` comes out. Where the data cannot carry an answer, the
reason stands in its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.errors import PicojouleError, UsageError
from picojoule.green import curves, pareto, trials
from picojoule.green import figures as _figures
from picojoule.green import footprint as _footprint
from picojoule.green import laws as _laws
from picojoule.green.edh import EDH, decompose
from picojoule.green.figures import Counts, Figure, Score
from picojoule.green.model import Run, Study
from picojoule.green.quantities import Quantity, quantity, unknown
from picojoule.green.refusal import Refusal
from picojoule.green.scores import larger_is_better_of, score_name_of

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint

#: Points that a plot shows beside those on the front; more would be one blot.
MOST_POINTS = 1500


@dataclass(frozen=True, slots=True)
class Point:
    """A run in the plane of energy and score.

    Attributes:
        kwh: IT energy, its range beside it.
        low_kwh: lower end.
        high_kwh: upper end.
        score: of the score that is plotted.
        role: of the run.
        label: configuration, fold and seed, in short.
        front: whether no other run beats it in both.
    """

    kwh: float
    low_kwh: float
    high_kwh: float
    score: float
    role: str
    label: str
    front: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the study's energy, for the bar.

    Attributes:
        label: what it went into.
        runs: how many.
        energy: of those whose energy is known.
        share: of the study's known energy; nan if that is unknown.
    """

    label: str
    runs: int
    energy: Quantity
    share: float


@dataclass(frozen=True, slots=True)
class Price:
    """What one more point of score costs by one law, or why nothing can be said.

    Attributes:
        law: "log" or "saturating".
        next_point: the price; None if refused.
        curve: (kWh, score) pairs of the law over the fitted costs, for drawing.
        reason: why there is none; "".
    """

    law: str
    next_point: _laws.NextPoint | None
    curve: tuple[tuple[float, float], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StudyReport:
    """A study's result and its cost.

    Attributes:
        name: of the study.
        counts: runs by role and status, configurations, folds, seeds, devices.
        figures: the footprint of all runs.
        final: the footprint of the runs that give the result; empty if none do.
        factors: what went in, with source and year.
        scores: mean and spread over the reported runs.
        score_name: which score is plotted and priced; "".
        larger_is_better: which way it is good.
        points: runs with score and energy, thinned.
        points_hidden: how many are not among them.
        unscored: kWh of runs without a score, thinned: failed, pruned, not told.
        why_no_points: why there is no plot; "".
        parts: what the energy went into.
        edh: E x D x H.
        prices: next point by each law.
        best_of: expected best of n trials; None if refused.
        why_no_best: why; "".
        notes: sentences on what is missing or assumed.
        begin_wall_s: Unix time of the first run; nan.
    """

    name: str
    counts: Counts
    figures: tuple[Figure, ...]
    final: tuple[Figure, ...]
    factors: tuple[Figure, ...]
    scores: tuple[Score, ...]
    score_name: str
    larger_is_better: bool
    points: tuple[Point, ...]
    points_hidden: int
    unscored: tuple[float, ...]
    why_no_points: str
    parts: tuple[Part, ...]
    edh: EDH
    prices: tuple[Price, ...]
    best_of: trials.BestOf | None
    why_no_best: str
    notes: tuple[str, ...]
    begin_wall_s: float

    def figure(self, key: str) -> Figure:
        """One of ``figures``."""
        return next(f for f in self.figures if f.key == key)


def of(
    study: Study,
    settings: Mapping[str, Any] | None = None,
    *,
    score: str | None = None,
    footprint: Footprint | None = None,
) -> StudyReport:
    """Assemble the report of a study.

    Args:
        study: its runs.
        settings: region, pue, price and so on, see ``footprint.SETTINGS``; before those of the
            study.
        score: which score to plot and price; None takes the only one, or the first.
        footprint: of all runs, if it is there already.

    Raises:
        UsageError: settings that contradict each other, or no such score.
    """
    told = {**study.settings, **{k: v for k, v in (settings or {}).items() if v is not None}}
    runs = list(study)
    same = Study(study.name, runs, told)
    cost = footprint or _footprint.of(same)
    name = _score_name(same, score)
    larger = larger_is_better_of(same, name) if name else True
    reported = _figures.reported(same, name or None)
    final = _footprint.of(Study(study.name, reported, told)) if reported else None
    columns = _columns(runs, name)
    points, hidden, unscored, why = _points(runs, columns, name, larger)
    edh = decompose(same, "energy", name or None)
    best, no_best = _best_of(same, name)
    begun = [r.begin_wall_s for r in runs if math.isfinite(r.begin_wall_s)]
    counted = _figures.counts(runs)
    return StudyReport(
        name=study.name,
        counts=counted,
        figures=tuple(_figures.figures(runs, cost, counted)),
        final=tuple(_figures.figures(reported, final)) if final else (),
        factors=tuple(_figures.factors(cost)),
        scores=tuple(_figures.scores(reported)),
        score_name=name,
        larger_is_better=larger,
        points=points,
        points_hidden=hidden,
        unscored=unscored,
        why_no_points=why,
        parts=_parts(runs, reported),
        edh=edh,
        prices=_prices(same, name, larger),
        best_of=best,
        why_no_best=no_best,
        notes=tuple(dict.fromkeys(edh.notes)),
        begin_wall_s=min(begun, default=math.nan),
    )


def _score_name(study: Study, score: str | None) -> str:
    """The score to plot; of several that nobody chose from, the first. "" if there are none."""
    try:
        return score_name_of(study, score)
    except Refusal:
        return ""
    except UsageError:
        if score is not None:
            raise
        return next((name for r in study for name in r.scores), "")


# ---- score against energy ----


def _columns(runs: Sequence[Run], name: str) -> tuple[Any, Any]:
    energy = np.array([r.energy_j for r in runs], float)
    score = np.array(
        [r.scores.get(name, math.nan) if r.status == "ok" else math.nan for r in runs], float
    )
    return energy, np.where(np.isfinite(score), score, math.nan)


def _points(
    runs: Sequence[Run], columns: tuple[Any, Any], name: str, larger: bool
) -> tuple[tuple[Point, ...], int, tuple[float, ...], str]:
    if not runs:
        return (), 0, (), "the study has no runs"
    energy, score = columns
    known = ~np.isnan(energy) & (energy > 0)
    if not name:
        why = "no run has a score; say p.score(accuracy=...)"
    elif not known.any():
        why = f"the energy of no run is known{_because(runs)}"
    elif not (known & ~np.isnan(score)).any():
        why = "no run has both a score and an energy"
    else:
        why = ""
    without = np.flatnonzero(known & np.isnan(score))
    unscored = tuple((energy[_thin(without, MOST_POINTS)] / 3.6e6).tolist())
    if why:
        return (), 0, unscored, why
    both = np.flatnonzero(known & ~np.isnan(score))
    front = set(both[pareto.front(energy[both], score[both], larger)].tolist())
    chosen = sorted({*_thin(both, MOST_POINTS).tolist(), *front})
    differ = tuple(k for k in _KEYS if len({getattr(runs[i], _KEYS[k]) for i in chosen}) > 1)
    points = tuple(_point(runs[i], float(score[i]), i in front, differ) for i in chosen)
    return points, len(both) - len(chosen), unscored, ""


def _thin(indices: Any, most: int) -> Any:
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]


#: What a run is told by -> attribute that has it.
_KEYS = {"config": "config_hash", "fold": "fold", "seed": "seed"}


def _point(run: Run, score: float, front: bool, differ: Sequence[str]) -> Point:
    """A run as a point, labelled by the keys in which the runs ``differ``."""
    energy = run.energy
    said = [(k, getattr(run, _KEYS[k])) for k in differ]
    label = ", ".join(f"{k} {v[:8] if k == 'config' else v}" for k, v in said if v)
    label = label or run.name or run.uid[:8]
    low, high = energy.range_in("kWh")
    return Point(energy.to("kWh"), low, high, score, run.role, label, front)


def _because(runs: Sequence[Run]) -> str:
    said = next((r.energy_basis for r in runs if r.energy_basis), "")
    return f" ({said})" if said else ""


# ---- what the energy went into ----


def _parts(runs: Sequence[Run], reported: Sequence[Run]) -> tuple[Part, ...]:
    """The study's energy, cut so that every run is in one part; largest meaning first."""
    if not runs:
        return ()
    result = {r.uid for r in reported or runs if r.role == "final" or reported}
    names = ("the result", "other tuning", "ablations", "evaluation", "debugging", "pruned",
             "without a result", "still running")  # fmt: skip
    roles = {"tune": 1, "final": 1, "ablation": 2, "eval": 3, "debug": 4}
    statuses = {"pruned": 5, "failed": 6, "interrupted": 6, "lost": 6, "running": 7}
    where = np.array(
        [0 if r.uid in result else statuses.get(r.status, roles.get(r.role, 1)) for r in runs]
    )
    energy = np.array([(r.energy_j, r.energy_low_j, r.energy_high_j) for r in runs], float)
    energy[:, 1:] = np.where(np.isnan(energy[:, 1:]), energy[:, :1], energy[:, 1:])
    known = ~np.isnan(energy[:, 0])
    whole = energy[known, 0].sum()
    out = []
    for i, label in enumerate(names):
        mine = where == i
        if not mine.any():
            continue
        counted = mine & known
        if counted.any():
            value, low, high = energy[counted].sum(axis=0).tolist()
            kinds = {r.energy_provenance for r, c in zip(runs, counted.tolist(), strict=True) if c}
            missing = int(mine.sum() - counted.sum())
            basis = f"sum over {int(counted.sum())} runs" + (
                f"; the energy of {missing} more is unknown" if missing else ""
            )
            total = quantity(
                value / 3.6e6, "kWh", low=min(low, value) / 3.6e6, high=max(high, value) / 3.6e6,
                provenance=_worst(kinds), basis=basis,
            )  # fmt: skip
            out.append(Part(label, int(mine.sum()), total, value / whole if whole else math.nan))
        else:
            out.append(
                Part(label, int(mine.sum()), unknown("kWh", "energy of none is known"), math.nan)
            )
    return tuple(out)


def _worst(kinds: set[str]) -> str:
    from picojoule.green.quantities import PROVENANCES

    known = [k for k in kinds if k in PROVENANCES]
    return max(known, key=PROVENANCES.index) if known else "estimated"


# ---- price of the next point, best of n ----


def _prices(study: Study, name: str, larger: bool) -> tuple[Price, ...]:
    """The next point by each law, fitted as ``curves.law`` does, once for both."""
    if not name:
        return (Price("log", None, reason="no run has a score"),)
    spent, score, hashes = curves.points(study, "energy", name)
    varied = curves.varied_keys(study, hashes)
    on = "family" if len(varied) == 1 else "front"
    basis = f"IT energy of a run against {name!r}, {len(score)} configurations" + (
        f" that differ in {varied[0]!r} alone" if on == "family" else ""
    )
    kwh = np.where(spent > 0, spent / 3.6e6, math.nan)
    if len(score) and np.isnan(kwh).all():
        reason = f"there are scores, but the energy of no run is known{_because(study)}"
        return (Price("log", None, reason=reason),)
    if len(score) == 1 and len(study) > 1:
        reason = "one configuration is a point and no curve: folds and seeds only repeat it"
        return (Price("log", None, reason=reason),)
    out = []
    for law in _laws.LAWS:
        try:
            fitted = _laws.fit(
                kwh, score, law, larger_is_better=larger, on=on, unit="kWh", basis=basis
            )
        except PicojouleError as why:
            out.append(Price(law, None, reason=getattr(why, "reason", str(why))))
            continue
        start = float(fitted.cost[-1])
        costs = np.geomspace(float(fitted.cost[0]), start, 40).tolist()
        curve = tuple((c, fitted.predict(c)) for c in costs)
        try:
            point = fitted.next_point()
        except PicojouleError as why:
            out.append(Price(law, None, curve, getattr(why, "reason", str(why))))
            continue
        at = int(np.nanargmin(np.abs(np.where(np.isnan(score), math.nan, kwh) - start)))
        out.append(Price(law, point.priced(_present(study, hashes[at])), curve))
    return tuple(out)


def _present(study: Study, key: str) -> dict[str, Quantity]:
    """What one run of a configuration costs now; ``key`` as ``curves.points`` has it."""
    numbered = key.removeprefix("run ")
    same = (
        [study[int(numbered)]]
        if numbered != key
        else [r for r in study if r.config_hash == key and r.status == "ok"]
    )
    cost = _footprint.of(Study(study.name, same, study.settings))
    each = 1.0 / len(same)
    return {
        "energy": cost.it_energy * each,
        "co2e": cost.co2e * each,
        "money": cost.money * each,
        "hours": cost.device_hours * each,
    }


def _best_of(study: Study, name: str) -> tuple[trials.BestOf | None, str]:
    if not name:
        return None, "no run has a score"
    try:
        return trials.of_study(study, name), ""
    except PicojouleError as why:
        return None, getattr(why, "reason", str(why))
