"""Two curves of score against cost, by least squares, with intervals that hold for few points.

The logarithmic law is linear in its parameters, so Student's t is exact. The saturating law is
linear in two of its three, so the region of parameters within F(1, n - 3) of the best fit is an
ellipse for each exponent; the range of a quantity over that region is its profile-likelihood
interval, in closed form. (A percentile bootstrap of six points holds far less often than it says.)
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from picojoule.green import student

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Exponents of the saturating law that are tried. Below the first it is a logarithm over any range
#: that a ledger has; above the last it is a step.
ALPHAS = np.geomspace(0.02, 8.0, 301)

#: Steps of the exponent away from the best one: a sharp fit's region is far narrower than a step of
#: ``ALPHAS``.
_NEAR = np.geomspace(1e-9, 0.05, 120)

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LogFit:
    """score = a + b log10(cost); gains are positive, so b > 0 is better for more."""

    a: float
    b: float
    n: int
    rss: float
    mean_x: float
    sxx: float
    r2: float

    def _t(self, level: float) -> float:
        return student.two_sided(level, self.n - 2)

    @property
    def sigma(self) -> float:
        """Standard deviation of a point around the law."""
        return math.sqrt(self.rss / (self.n - 2)) if self.n > 2 else math.nan

    def slope(self, level: float = 0.95) -> Interval:
        """Interval of b."""
        half = self._t(level) * self.sigma / math.sqrt(self.sxx)
        return self.b - half, self.b + half

    def score(self, cost: float) -> float:
        """Fitted score at ``cost``."""
        return self.a + self.b * math.log10(cost)

    def score_interval(self, cost: float, level: float = 0.95, new: bool = False) -> Interval:
        """Interval of the mean score at ``cost``, or of one new run there."""
        x = math.log10(cost) - self.mean_x
        spread = math.sqrt(float(new) + 1.0 / self.n + x * x / self.sxx)
        half = self._t(level) * self.sigma * spread
        return self.score(cost) - half, self.score(cost) + half

    def factor(self, cost: float, delta: float) -> float:
        """Times the cost that ``delta`` more takes; the same from any ``cost``."""
        return log_cost_factor(delta, self.b)

    def factor_interval(self, cost: float, delta: float, level: float = 0.95) -> Interval:
        """Interval of ``factor``; the upper end is inf if the slope may be 0."""
        low, high = self.slope(level)
        return log_cost_factor(delta, high), log_cost_factor(delta, low)


@dataclass(frozen=True, slots=True)
class SaturatingFit:
    """score = top - k (cost / scale)^-alpha, with k > 0: it nears ``top`` and never passes it."""

    top: float
    k: float
    alpha: float
    scale: float
    n: int
    rss: float
    r2: float
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def _alphas(self) -> NDArray[np.float64]:
        near = self.alpha * np.concatenate((1.0 / (1.0 + _NEAR), [1.0], 1.0 + _NEAR))
        return np.sort(np.concatenate((ALPHAS, near)))

    @property
    def sigma(self) -> float:
        """Standard deviation of a point around the law."""
        return math.sqrt(self.rss / (self.n - 3)) if self.n > 3 else math.nan

    def score(self, cost: float) -> float:
        """Fitted score at ``cost``."""
        return self.top - self.k * float((cost / self.scale) ** -self.alpha)

    def top_interval(self, level: float = 0.95) -> Interval:
        """Interval of the score that no cost passes; the upper end is inf if it may have none."""
        region = self._region(level)
        low, high = self._range(region, np.zeros_like(region.alpha))
        # The smallest exponent stands for the logarithm, which has no top.
        return low, math.inf if region.slack[0] >= 0 else high

    def alpha_interval(self, level: float = 0.95) -> Interval:
        """Interval of the exponent, within those that are tried."""
        region = self._region(level)
        inside = np.flatnonzero(region.slack >= 0)
        return self._edge(region, int(inside[0]), -1), self._edge(region, int(inside[-1]), 1)

    def score_interval(self, cost: float, level: float = 0.95, new: bool = False) -> Interval:
        """Interval of the mean score at ``cost``, or of one new run there."""
        region = self._region(level)
        low, high = self._range(region, (cost / self.scale) ** -region.alpha)
        if new:
            noise = student.two_sided(level, self.n - 3) * self.sigma
            mid = self.score(cost)
            low, high = mid - math.hypot(mid - low, noise), mid + math.hypot(high - mid, noise)
        return low, high

    def factor(self, cost: float, delta: float) -> float:
        """Times ``cost`` that ``delta`` more than its score takes; inf beyond the top."""
        gap = self.k * (cost / self.scale) ** -self.alpha
        return power_law_cost_factor(gap, delta, 0.0, self.alpha)

    def factor_interval(self, cost: float, delta: float, level: float = 0.95) -> Interval:
        """Interval of ``factor``; the upper end is inf if the score may lie beyond the top."""
        region = self._region(level)
        inside = region.slack >= 0
        half = np.sqrt(region.slack[inside] * region.var_k[inside])
        alpha = region.alpha[inside]
        shrink = (cost / self.scale) ** -alpha
        least = np.maximum(region.k[inside] - half, 0.0) * shrink
        most = (region.k[inside] + half) * shrink
        with np.errstate(divide="ignore", over="ignore"):
            lows = np.where(most > delta, 1.0 - delta / np.maximum(most, delta), 0.0)
            highs = np.where(least > delta, 1.0 - delta / np.maximum(least, delta), 0.0)
            cheap = np.min(lows ** (-1.0 / alpha))
            dear = np.max(highs ** (-1.0 / alpha))
        return float(cheap), math.inf if math.isinf(dear) else float(dear)

    def _region(self, level: float) -> _Region:
        alpha = self._alphas
        top, k, rss, mean_z, szz = _profile(self.x, self.y, alpha)
        bound = _bound(level, self.n - 3) * self.rss
        # Without noise the region is the fit alone; rounding must not empty it.
        slack = bound - rss + 1e-12 * float(((self.y - self.y.mean()) ** 2).sum())
        return _Region(alpha, top, k, slack, 1.0 / szz, mean_z, szz)

    @staticmethod
    def _edge(region: _Region, last: int, step: int) -> float:
        """Where the slack is 0, between the ``last`` exponent inside and the next one outside."""
        beyond = last + step
        if not 0 <= beyond < len(region.alpha):
            return float(region.alpha[last])
        inside, outside = float(region.slack[last]), float(region.slack[beyond])
        share = inside / (inside - outside)
        return float(region.alpha[last] + share * (region.alpha[beyond] - region.alpha[last]))

    def _range(self, region: _Region, z: NDArray[np.float64]) -> Interval:
        """Range of top - k z over the region, z a row of one value for each exponent."""
        inside = region.slack >= 0
        mid = region.top - region.k * z
        # Variance of top - k z: that of the line's value at z.
        var = 1.0 / self.n + (z - region.mean_z) ** 2 / region.szz
        half = np.sqrt(np.maximum(region.slack, 0.0) * var)
        return float(np.min((mid - half)[inside])), float(np.max((mid + half)[inside]))


@dataclass(frozen=True, slots=True)
class _Region:
    """For each exponent the best line, and how far the sum of squares is below the bound."""

    alpha: NDArray[np.float64]
    top: NDArray[np.float64]
    k: NDArray[np.float64]
    slack: NDArray[np.float64]
    var_k: NDArray[np.float64]
    mean_z: NDArray[np.float64]
    szz: NDArray[np.float64]


def _profile(
    x: NDArray[np.float64], y: NDArray[np.float64], alpha: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """(top, k, rss, mean_z, szz) of the best line for each exponent; x is cost over its scale."""
    z = x[None, :] ** -alpha[:, None]
    mean_z = z.mean(axis=1)
    dz = z - mean_z[:, None]
    szz = np.maximum((dz * dz).sum(axis=1), 1e-300)
    dy = y - y.mean()
    k = -(dz @ dy) / szz
    rss = ((dy[None, :] + k[:, None] * dz) ** 2).sum(axis=1)
    return y.mean() + k * mean_z, k, rss, mean_z, szz


@functools.lru_cache(maxsize=64)
def _bound(level: float, freedom: int) -> float:
    """How many times the least sum of squares the region's edge has."""
    return 1.0 + student.two_sided(level, freedom) ** 2 / freedom


def fit_log(cost: NDArray[np.float64], score: NDArray[np.float64]) -> LogFit:
    """Least squares of score on log10(cost); costs above 0, at least two of them distinct."""
    x = np.log10(cost)
    dx, dy = x - x.mean(), score - score.mean()
    sxx, syy = float(dx @ dx), float(dy @ dy)
    b = float(dx @ dy) / sxx
    rss = float(((dy - b * dx) ** 2).sum())
    a = float(score.mean()) - b * float(x.mean())
    return LogFit(a, b, len(x), rss, float(x.mean()), sxx, 1.0 - rss / syy if syy > 0 else math.nan)


def fit_saturating(cost: NDArray[np.float64], score: NDArray[np.float64]) -> SaturatingFit:
    """Least squares of top - k cost^-alpha; k comes out below 0 for scores that fall with cost."""
    scale = float(np.exp(np.log(cost).mean()))
    x = cost / scale
    best = int(np.argmin(_profile(x, score, ALPHAS)[2]))
    low, high = ALPHAS[max(0, best - 1)], ALPHAS[min(len(ALPHAS) - 1, best + 1)]
    alpha = _refined(x, score, float(low), float(high))
    z = x**-alpha
    dz, dy = z - z.mean(), score - score.mean()
    k = -float(dz @ dy) / max(float(dz @ dz), 1e-300)
    rss = float(((dy + k * dz) ** 2).sum())
    syy = float(dy @ dy)
    top = float(score.mean()) + k * float(z.mean())
    r2 = 1.0 - rss / syy if syy > 0 else math.nan
    return SaturatingFit(top, k, alpha, scale, len(x), rss, r2, x, score)


def _refined(x: NDArray[np.float64], y: NDArray[np.float64], low: float, high: float) -> float:
    """The exponent of least squares between two neighbours of the best one tried."""
    for _ in range(6):
        tried = np.linspace(low, high, 33)
        best = int(np.argmin(_profile(x, y, tried)[2]))
        low, high = float(tried[max(0, best - 1)]), float(tried[min(32, best + 1)])
    return 0.5 * (low + high)


def log_cost_factor(delta_points: float, slope_per_decade: float) -> float:
    """Times the cost that ``delta_points`` more take: 10^(delta/b); inf if b is not above 0."""
    if slope_per_decade <= 0:
        return math.inf
    exponent = delta_points / slope_per_decade
    return 10.0**exponent if exponent < 300 else math.inf


def power_law_cost_factor(err: float, delta: float, e0: float, alpha: float) -> float:
    """Times the cost that takes an error ``err`` down by ``delta``.

    ((err - e0) / (err - delta - e0))^(1/alpha); inf if the error left is at or below ``e0``.
    """
    if err - delta <= e0:
        return math.inf
    factor: float = ((err - e0) / (err - delta - e0)) ** (1.0 / alpha)
    return factor
