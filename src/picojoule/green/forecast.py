"""What the whole run will cost, from its first steps.

The warm-up (compilation, caches, a cold device) is spent but says nothing of the steps to come: it
is cut off where the standard error of the rest is least (MSER, White 1997). What follows is taken
in batches, whose scatter carries the noise that neighbouring steps share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from picojoule.errors import UsageError
from picojoule.green import student

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Samples kept; beyond them every second one goes.
MOST_SAMPLES = 4096

#: Cells of equal progress in which the warm-up is looked for.
_CELLS = 60

#: The least standard error may be that of a lucky stretch: the earliest begin within this ratio of
#: it is taken.
_SLACK = 1.15

#: Batches whose scatter gives the interval. Few and long ones hold the noise that steps share.
_BATCHES = 12

#: Fewer steps after the warm-up carry no interval.
LEAST_STEPS = 5


@dataclass(frozen=True, slots=True)
class Projection:
    """Cost of a whole run, projected.

    Attributes:
        done: progress so far, in steps.
        total: steps of the whole run.
        spent: cost so far.
        value: cost of the whole run; nan if not known yet.
        low: lower end of its interval.
        high: upper end.
        per_step: cost of one step after the warm-up.
        warm_up: steps that were cut off as warm-up.
        level: of the interval.
        reason: why ``value`` is nan; "".
    """

    done: float
    total: float
    spent: float
    value: float
    low: float
    high: float
    per_step: float
    warm_up: float
    level: float
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a projection yet."""
        return not math.isnan(self.value)


class Forecast:
    """Projects a cost from progress: ``step(done, cost)`` for each step, then ``project(total)``.

    It holds if the steps to come are like those after the warm-up. Memory is bounded.
    """

    def __init__(self, total: float | None = None) -> None:
        """Forecast a run of ``total`` steps; None leaves it to ``project``."""
        self.total = None if total is None else _steps(total)
        self._done: list[float] = []
        self._cost: list[float] = []
        self._every = 1
        self._skipped = 0

    def step(self, done: float, cost: float) -> None:
        """After ``done`` steps in all, the run has cost ``cost`` in all. nan is passed over.

        Raises:
            UsageError: ``done`` went backwards.
        """
        if math.isnan(done) or math.isnan(cost):
            return
        if self._done and done < self._done[-1]:
            raise UsageError(f"steps cannot go backwards: {done} after {self._done[-1]}")
        if self._done and done == self._done[-1]:
            self._cost[-1] = cost
            return
        self._skipped += 1
        if len(self._done) >= 2 and self._skipped < self._every:
            # The latest sample is always there; it is overwritten until one is due.
            self._done[-1], self._cost[-1] = done, cost
            return
        self._skipped = 0
        self._done.append(float(done))
        self._cost.append(float(cost))
        if len(self._done) > MOST_SAMPLES:
            last = (self._done[-1], self._cost[-1])
            self._done, self._cost = self._done[::2], self._cost[::2]
            if self._done[-1] != last[0]:
                self._done.append(last[0])
                self._cost.append(last[1])
            self._every *= 2

    def project(self, total: float | None = None, level: float = 0.95) -> Projection:
        """The cost of the whole run of ``total`` steps.

        Raises:
            UsageError: no ``total`` here nor at the beginning.
        """
        goal = self.total if total is None else _steps(total)
        if goal is None:
            raise UsageError("of how many steps? Say total=")
        return project(np.array(self._done), np.array(self._cost), goal, level)


def project(
    done: NDArray[np.float64], cost: NDArray[np.float64], total: float, level: float = 0.95
) -> Projection:
    """Projection from samples of progress and cumulative cost.

    Args:
        done: steps so far, ascending, shape (n,).
        cost: cost so far, shape (n,), any unit.
        total: steps of the whole run.
        level: of the interval.
    """
    so_far = float(done[-1]) if len(done) else 0.0
    spent = float(cost[-1]) if len(cost) else 0.0

    def not_yet(reason: str) -> Projection:
        return Projection(
            so_far, total, spent, math.nan, math.nan, math.nan, math.nan, 0.0, level, reason
        )

    if so_far >= total and len(done):
        rate = spent / so_far if so_far else math.nan
        return Projection(so_far, total, spent, spent, spent, spent, rate, 0.0, level)
    if len(done) < LEAST_STEPS + 1:
        return not_yet(f"{max(0, len(done) - 1)} steps say too little; {LEAST_STEPS} are needed")
    begin = _warm_up(done, cost)
    begin = min(begin, float(done[-1 - LEAST_STEPS]))
    kept = int((done > begin).sum())
    batches = min(_BATCHES, kept)
    edges = np.linspace(begin, so_far, batches + 1)
    size = (so_far - begin) / batches
    rates = np.diff(np.interp(edges, done, cost)) / size
    rate, spread = float(rates.mean()), float(rates.std(ddof=1))
    rest = total - so_far
    # Noise longer than a batch: neighbours resemble each other, and count for less than two.
    worth = 1.0 / _inflation(rates)
    # The mean rate is as uncertain as that of all batches, the rest scatters by its own length.
    std = spread * math.sqrt((rest * rest / batches + rest * size) / worth)
    freedom = max(2, min(batches - 1, round(batches * worth) - 1))
    half = student.two_sided(level, freedom) * std
    value = spent + rate * rest
    # Costs do not fall: what is spent stays spent.
    return Projection(
        so_far, total, spent, value, max(spent, value - half), value + half, rate,
        begin - float(done[0]), level,
    )  # fmt: skip


def _warm_up(done: NDArray[np.float64], cost: NDArray[np.float64]) -> float:
    """Progress at which the steady state begins: where the rest's standard error is least."""
    cells = min(_CELLS, len(done) - 1)
    edges = np.linspace(done[0], done[-1], cells + 1)
    rates = np.diff(np.interp(edges, done, cost))
    # Sums of the last k cells, for every k: variances of all truncations at once.
    count = np.arange(1, cells + 1)
    tail = rates[::-1]
    mean = np.cumsum(tail) / count
    var = np.maximum(np.cumsum(tail * tail) / count - mean * mean, 0.0)
    error = (var / count)[::-1]
    last = max(1, cells // 2)  # the second half is steady or nothing is
    near = error[:last] <= _SLACK * error[:last].min()
    return float(edges[int(np.argmax(near))])


def _inflation(rates: NDArray[np.float64]) -> float:
    """How many times the variance of a mean is that of independent batches: (1 + r) / (1 - r).

    r is the correlation of neighbours, with the bias of short series taken off (Kendall 1954).
    """
    off = rates - rates.mean()
    power = float(off @ off)
    if power <= 0:
        return 1.0
    r = float(off[1:] @ off[:-1]) / power
    r += (1.0 + 3.0 * r) / len(rates)
    r = min(max(r, 0.0), 0.9)
    return (1.0 + r) / (1.0 - r)


def _steps(total: float) -> float:
    if not (total > 0 and math.isfinite(total)):
        raise UsageError(f"total must be a number of steps above 0, not {total}")
    return float(total)
