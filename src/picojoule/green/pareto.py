"""The front of cost against score: what no other run beats in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from picojoule.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def front(cost: ArrayLike, score: ArrayLike, larger_is_better: bool = True) -> NDArray[np.int64]:
    """Indices of the points that no other one dominates, cheapest first.

    A point dominates another if it costs no more and scores no worse, and is better in one of the
    two. Of equal points the first is kept. Points with an unknown (nan) cost or score take no part.

    Args:
        cost: shape (n,), any unit.
        score: shape (n,).
        larger_is_better: False for losses and errors.

    Raises:
        UsageError: the shapes differ.
    """
    costs, scores = np.asarray(cost, float), np.asarray(score, float)
    if costs.shape != scores.shape or costs.ndim != 1:
        raise UsageError(f"costs {costs.shape} and scores {scores.shape} must be two equal rows")
    gain = scores if larger_is_better else -scores
    known = np.flatnonzero(~(np.isnan(costs) | np.isnan(gain)))
    if not len(known):
        return known.astype(np.int64)
    order = known[np.lexsort((-gain[known], costs[known]))]
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(gain[order])[:-1]))
    return order[gain[order] > best_before].astype(np.int64)


def envelope(
    cost: ArrayLike, score: ArrayLike, larger_is_better: bool = True, bins_per_decade: float = 4.0
) -> NDArray[np.int64]:
    """Indices of the best point at each level of cost, cheapest first: what a law is fitted to.

    Unlike the front it keeps levels that did not improve. Dropping those leaves only the lucky
    ones of the others, and intervals of a slope then hold far less often than they say (81 % for 95
    in a simulation of 20 levels of 10 runs).

    Args:
        cost: shape (n,), above 0.
        score: shape (n,).
        larger_is_better: False for losses and errors.
        bins_per_decade: costs nearer than a bin are one level. Over less than two decades bins are
            an eighth of the span, but never below a ratio of 1.1.
    """
    costs, scores = np.asarray(cost, float), np.asarray(score, float)
    gain = scores if larger_is_better else -scores
    known = np.flatnonzero(~(np.isnan(costs) | np.isnan(gain)))
    if not len(known):
        return known.astype(np.int64)
    order = known[np.argsort(costs[known], kind="stable")]
    logs = np.log10(costs[order])
    width = max(min(1.0 / bins_per_decade, (logs[-1] - logs[0]) / 8.0), np.log10(1.1))
    best: list[int] = []
    begin = -np.inf
    for i, x in zip(order.tolist(), logs.tolist(), strict=True):
        if x > begin + width:
            begin = x
            best.append(i)
        elif gain[i] > gain[best[-1]]:
            best[-1] = i
    return np.array(best, np.int64)
