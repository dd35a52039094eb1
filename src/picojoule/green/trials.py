"""What the best of n trials scores on average, and how much of it was worth its cost.

Dodge et al., "Show Your Work" (2019), for trials drawn independently of each other (random search).
The best of a grid, of hand tuning or of a search that learns from its trials is no such draw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from picojoule.errors import UsageError
from picojoule.green import costs as _costs
from picojoule.green.columns import Names
from picojoule.green.model import Run, Study, columns_of
from picojoule.green.quantities import Quantity, unknown
from picojoule.green.refusal import Refusal
from picojoule.green.scores import larger_is_better_of, score_name_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: A curve of more trials is computed at some n only: each takes time with their number.
_EVERY_N = 500

#: Roles whose runs are experiments of a search.
SEARCHED = ("tune", "final", "ablation")


@dataclass(frozen=True, slots=True)
class BestOf:
    """Expected best score of n trials, for n = 1 to N.

    Attributes:
        n: number of trials, int64, shape (N,).
        expected: expected best score, shape (N,).
        spread: standard deviation of the best score; nan without replacement, shape (N,).
        replacement: whether trials were drawn with replacement.
        larger_is_better: False for losses.
        per_trial: kind of cost ("energy", "co2e", "money", "hours", "flops") -> mean cost of one
            trial, pruned and failed ones included; unknown ones carry their reason.
        basis: what trials these are.
    """

    n: NDArray[np.int64]
    expected: NDArray[np.float64]
    spread: NDArray[np.float64]
    replacement: bool
    larger_is_better: bool = True
    per_trial: Mapping[str, Quantity] = field(default_factory=dict)
    basis: str = ""

    def x(self, axis: str = "trials", unit: str | None = None) -> NDArray[np.float64]:
        """The n as a cost: mean cost of a trial times n.

        Args:
            axis: "trials", or a kind of cost.
            unit: such as "kWh", "kg", "h", "EUR"; None is the kind's usual one.

        Raises:
            Refusal: that cost is unknown; with its reason.
            UsageError: there is no such axis.
        """
        if axis == "trials":
            return self.n.astype(float)
        if axis not in _costs.KINDS:
            known = ", ".join(["trials", *_costs.KINDS])
            raise UsageError(f"axis must be one of {known}, not {axis!r}")
        one = self.per_trial.get(axis)
        if one is None or not one.known:
            raise Refusal(f"the {axis} of a trial is unknown" + (f": {one.basis}" if one else ""))
        usual = _costs.KINDS[axis] or one.dimension[0][0]
        return np.asarray(self.n * one.to(unit or usual), np.float64)

    def gain_per(self, axis: str = "energy", unit: str | None = None) -> NDArray[np.float64]:
        """Points of score that the n-th trial adds, for each ``unit``; shape (N - 1,), from n = 2.

        Raises:
            Refusal: that cost is unknown.
        """
        sign = 1.0 if self.larger_is_better else -1.0
        gain = sign * np.diff(self.expected) / np.diff(self.x(axis, unit))
        return np.asarray(gain, np.float64)


def expected_best(
    scores: ArrayLike,
    n: int,
    replacement: bool = True,
    larger_is_better: bool = True,
    search: str = "random",
) -> float:
    """Expected best score of ``n`` trials.

    With replacement: sum of v_(i) ((i/N)^n - ((i-1)/N)^n) over the N sorted scores (Dodge et al.
    2019). Without: sum of v_(i) C(i-1, n-1) / C(N, n), which is unbiased.

    Args:
        scores: of the N trials, in any order; no nan.
        n: 1 to N.
        replacement: as above.
        larger_is_better: False for losses; the best is then the smallest.
        search: how the trials were drawn; only "random" has an expected best.

    Raises:
        Refusal: another search than "random", or n beyond the number of trials.
        UsageError: no scores, nan among them, or n below 1.
    """
    _refuse_search(search)
    ordered = _sorted(scores, larger_is_better)
    if int(n) != n or n < 1:
        raise UsageError(f"n must be a whole number of trials from 1 on, not {n}")
    if n > len(ordered):
        raise Refusal(f"{len(ordered)} trials say nothing of the best of {n}")
    weights = _with(len(ordered), int(n)) if replacement else _without(len(ordered), int(n))
    return float(ordered @ weights)


def spread_of_best(scores: ArrayLike, n: int, larger_is_better: bool = True) -> float:
    """Standard deviation of the best of ``n`` trials drawn with replacement; see the above."""
    mean = expected_best(scores, n, True, larger_is_better)
    ordered = _sorted(scores, larger_is_better)
    return math.sqrt(float((ordered - mean) ** 2 @ _with(len(ordered), int(n))))


def range_of_best(
    scores: ArrayLike, n: int, larger_is_better: bool = True, level: float = 0.95
) -> tuple[float, float]:
    """(low, high) between which the best of ``n`` trials lies with probability ``level``."""
    ordered = _sorted(scores, larger_is_better)
    below = np.cumsum(_with(len(ordered), int(n)))
    tail = (1.0 - level) / 2.0
    last = len(ordered) - 1
    worst = ordered[min(last, int(np.searchsorted(below, tail)))]
    best = ordered[min(last, int(np.searchsorted(below, 1.0 - tail)))]
    return float(min(worst, best)), float(max(worst, best))


def curve(
    scores: ArrayLike,
    replacement: bool = True,
    larger_is_better: bool = True,
    search: str = "random",
    per_trial: Mapping[str, Quantity] | None = None,
    basis: str = "",
) -> BestOf:
    """Expected best of n trials; arguments and errors as ``expected_best``.

    For every n up to 500 trials; of more, for 300 of them, evenly on a logarithmic scale.
    """
    _refuse_search(search)
    ordered = _sorted(scores, larger_is_better)
    size = len(ordered)
    ns = np.arange(1, size + 1)
    if size > _EVERY_N:
        ns = np.unique(np.round(np.geomspace(1, size, 300)).astype(np.int64))
    expected, spread = np.empty(len(ns)), np.full(len(ns), math.nan)
    for i, n in enumerate(ns.tolist()):
        weights = _with(size, n) if replacement else _without(size, n)
        expected[i] = ordered @ weights
        if replacement:
            spread[i] = math.sqrt(float((ordered - expected[i]) ** 2 @ weights))
    return BestOf(ns, expected, spread, replacement, larger_is_better, dict(per_trial or {}), basis)


def of_study(
    study: Study, score: str | None = None, search: str | None = None, replacement: bool = True
) -> BestOf:
    """The expected best of n of a study's configurations, and what a trial cost.

    A trial is a configuration; its score is the mean over folds and seeds, its cost that of all its
    runs. Configurations that failed or were pruned have a cost and no score: the cost of a trial is
    that of all of them over those that have a score.

    Args:
        study: the runs.
        score: which score; None if there is one.
        search: how configurations were drawn ("random", "grid", "bayesian", "manual"); None takes
            the study's setting ``search``.
        replacement: see ``expected_best``.

    Raises:
        Refusal: the search is not random or not told, or no configuration has a score.
    """
    how = search or study.settings.get("search")
    if not how:
        raise Refusal(
            "how the trials were drawn is unknown; say search='random' if each configuration was "
            "drawn independently of the others' results"
        )
    _refuse_search(str(how))
    name = score_name_of(study, score)
    larger = larger_is_better_of(study, name)
    part = study.part(study.columns.names("role").being(*SEARCHED))
    values = trial_scores(part, name)
    if not values:
        raise Refusal(f"no configuration of {study.name!r} has the score {name!r}")
    each: dict[str, Quantity] = {}
    for kind in _costs.KINDS:
        all_of_it = _costs.of(part, kind).sum()
        each[kind] = (
            all_of_it / len(values)
            if all_of_it.known
            else unknown(_costs.KINDS[kind] or "USD", all_of_it.basis)
        )
    words = f"{len(values)} configurations drawn by random search, score {name!r}"
    return curve(list(values.values()), replacement, larger, "random", each, words)


def trial_scores(runs: Sequence[Run], name: str) -> dict[str, float]:
    """Config hash -> mean score over the folds and seeds of a configuration; without nan."""
    columns = columns_of(runs)
    values, configs = columns.scores(name), columns.names("config_hash")
    chosen = np.isfinite(values) & columns.names("status").being("ok") & ~configs.being("")
    return means(configs, values, chosen)


def means(names: Names, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> dict[str, float]:
    """Name -> mean of the ``chosen`` values under it, in the order of their first appearance."""
    codes, size = names.codes[chosen], len(names.distinct)
    sums = np.bincount(codes, values[chosen], size)
    many = np.bincount(codes, minlength=size)
    place = {name: i for i, name in enumerate(names.distinct)}
    found = ((name, place[name]) for name in names.among(chosen))
    return {name: float(sums[i] / many[i]) for name, i in found}


def _refuse_search(search: str) -> None:
    if search != "random":
        raise Refusal(
            f"the expected best of n trials holds for random search only, not for {search!r}: "
            "its trials are no independent draws"
        )


def _sorted(scores: ArrayLike, larger_is_better: bool) -> NDArray[np.float64]:
    """Worst first."""
    values = np.asarray(scores, float).ravel()
    if not len(values):
        raise UsageError("no scores were given")
    if np.isnan(values).any():
        raise UsageError("scores must not be nan; leave out trials that have none")
    ordered = np.sort(values)
    return ordered if larger_is_better else ordered[::-1]


def _with(size: int, n: int) -> NDArray[np.float64]:
    steps = (np.arange(size + 1) / size) ** n
    return np.diff(steps)


def _without(size: int, n: int) -> NDArray[np.float64]:
    """C(i-1, n-1) / C(N, n), by the ratio of neighbours: the binomials themselves overflow."""
    weights = np.zeros(size)
    weight = n / size  # of the best: C(N-1, n-1) / C(N, n)
    for i in range(size, n - 1, -1):
        weights[i - 1] = weight
        if i > 1:
            weight *= (i - n) / (i - 1)
    return weights
