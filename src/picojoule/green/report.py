"""What a study found and cost, as one value: what the terminal screen and the page are drawn from.

Pure: a ``Study`` goes in, a ``StudyReport`` comes out. Where the data cannot carry an answer, the
reason stands in its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.errors import PicojouleError, UsageError
from picojoule.green import curves, pareto, trials
from picojoule.green import figures as _figures
from picojoule.green import footprint as _footprint
from picojoule.green import laws as _laws
from picojoule.green.columns import Columns, Mask
from picojoule.green.edh import EDH, decompose
from picojoule.green.figures import Counts, Figure, Score
from picojoule.green.model import Study
from picojoule.green.quantities import Quantity, quantity, unknown
from picojoule.green.refusal import Refusal
from picojoule.green.scores import larger_is_better_of, score_name_of

if TYPE_CHECKING:
    from picojoule.green.footprint import Footprint

#: Fields of runs that a report is made of, see ``Ledger.study``.
FIELDS = (
    "uid", "role", "status", "config", "config_hash", "fold", "seed", "name", "begin_wall_s",
    "duration_s", "device_count", "device_name", "energy_j", "energy_low_j", "energy_high_j",
    "energy_provenance", "energy_basis", "flops", "flops_provenance", "examples", "dataset_size",
    "scores", "score_larger_is_better", "host", "origin", "region",
)  # fmt: skip

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
            study, of which None leaves one out.
        score: which score to plot and price; None takes the only one, or the first.
        footprint: of all runs, if it is there already.

    Raises:
        UsageError: settings that contradict each other, or no such score.
    """
    told = {k: v for k, v in {**study.settings, **(settings or {})}.items() if v is not None}
    columns = study.columns
    same = Study(study.name, columns, told)
    cost = footprint or _footprint.of(same)
    name = _score_name(same, score)
    larger = larger_is_better_of(same, name) if name else True
    chosen = _figures.reported_mask(same, name or None)
    reported = same.part(chosen)
    final = _footprint.of(reported) if len(reported) else None
    points, hidden, unscored, why = _points(same, name, larger)
    edh = decompose(same, "energy", name or None)
    best, no_best = _best_of(same, name)
    begun = columns.numbers("begin_wall_s")
    counted = _figures.counts(same)
    return StudyReport(
        name=study.name,
        counts=counted,
        figures=tuple(_figures.figures(same, cost, counted)),
        final=tuple(_figures.figures(reported, final)) if final else (),
        factors=tuple(_figures.factors(cost)),
        scores=tuple(_figures.scores(reported)),
        score_name=name,
        larger_is_better=larger,
        points=points,
        points_hidden=hidden,
        unscored=unscored,
        why_no_points=why,
        parts=_parts(columns, chosen),
        edh=edh,
        prices=_prices(same, name, larger),
        best_of=best,
        why_no_best=no_best,
        notes=tuple(dict.fromkeys(edh.notes)),
        begin_wall_s=float(begun[np.isfinite(begun)].min(initial=math.inf)),
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
        return next(chain.from_iterable(study.columns.column("scores")), "")


# ---- score against energy ----


def _points(
    study: Study, name: str, larger: bool
) -> tuple[tuple[Point, ...], int, tuple[float, ...], str]:
    if not len(study):
        return (), 0, (), "the study has no runs"
    columns = study.columns
    energy, score = columns.numbers("energy_j"), columns.scores(name)
    score = np.where(np.isfinite(score) & columns.names("status").being("ok"), score, math.nan)
    known = ~np.isnan(energy) & (energy > 0)
    if not name:
        why = "no run has a score; say p.score(accuracy=...)"
    elif not known.any():
        why = f"the energy of no run is known{_because(columns)}"
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
    differ = tuple(k for k, field in _KEYS.items() if len({*columns.at(field, chosen)}) > 1)
    places = columns.where(chosen)
    bounds = [places.numbers(f"energy_{end}j").tolist() for end in ("", "low_", "high_")]
    points = tuple(
        Point(*_kwh(*ends), float(score[i]), role, label, i in front)
        for i, ends, role, label in zip(
            chosen, zip(*bounds, strict=True), places.column("role"), _labels(places, differ),
            strict=True,
        )
    )  # fmt: skip
    return points, len(both) - len(chosen), unscored, ""


def _thin(indices: Any, most: int) -> Any:
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]


#: What a run is told by -> attribute that has it.
_KEYS = {"config": "config_hash", "fold": "fold", "seed": "seed"}


def _kwh(value: float, low: float, high: float) -> tuple[float, float, float]:
    """A run's energy and its range, which is the value itself where there is none."""
    low, high = (value if math.isnan(end) else end for end in (low, high))
    return value / 3.6e6, min(low, value) / 3.6e6, max(high, value) / 3.6e6


def _labels(columns: Columns, differ: Sequence[str]) -> list[str]:
    """Each run by the keys in which the runs ``differ``, else by its name or id."""
    words = [
        [
            f"{key} {w[:8] if key == 'config' else w}" if w else ""
            for w in columns.column(_KEYS[key])
        ]
        for key in differ
    ]
    out = [", ".join(filter(None, w)) for w in zip(*words, strict=True)] or [""] * columns.size
    others = zip(out, columns.column("name"), columns.column("uid"), strict=True)
    return [label or name or uid[:8] for label, name, uid in others]


def _because(columns: Columns) -> str:
    said = next(filter(None, columns.names("energy_basis").distinct), "")
    return f" ({said})" if said else ""


# ---- what the energy went into ----


def _parts(columns: Columns, reported: Mask) -> tuple[Part, ...]:
    """The study's energy, cut so that every run is in one part; largest meaning first."""
    if not columns.size:
        return ()
    names = ("the result", "other tuning", "ablations", "evaluation", "debugging", "pruned",
             "without a result", "still running")  # fmt: skip
    roles = {"tune": 1, "final": 1, "ablation": 2, "eval": 3, "debug": 4}
    statuses = {"pruned": 5, "failed": 6, "interrupted": 6, "lost": 6, "running": 7}
    by_role, by_status = columns.names("role"), columns.names("status")
    role = np.array([roles.get(r, 1) for r in by_role.distinct])[by_role.codes]
    status = np.array([statuses.get(s, 0) for s in by_status.distinct])[by_status.codes]
    result = reported if reported.any() else by_role.being("final")
    where = np.where(result, 0, np.where(status > 0, status, role))
    bounds = ("energy_j", "energy_low_j", "energy_high_j")
    energy = np.stack([columns.numbers(name) for name in bounds], axis=1)
    how = columns.names("energy_provenance")
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
            missing = int(mine.sum() - counted.sum())
            basis = f"sum over {int(counted.sum())} runs" + (
                f"; the energy of {missing} more is unknown" if missing else ""
            )
            total = quantity(
                value / 3.6e6, "kWh", low=min(low, value) / 3.6e6, high=max(high, value) / 3.6e6,
                provenance=_worst(set(how.among(counted))), basis=basis,
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
        reason = f"there are scores, but the energy of no run is known{_because(study.columns)}"
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
    columns = study.columns
    numbered = key.removeprefix("run ")
    ok = columns.names("status").being("ok")
    same = study.part(
        [int(numbered)] if numbered != key else columns.names("config_hash").being(key) & ok
    )
    cost = _footprint.of(same)
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
