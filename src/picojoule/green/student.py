"""Student's t distribution for whole degrees of freedom, so that scipy need not be installed.

Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import functools
import math


def cdf(t: float, freedom: int) -> float:
    """P(T <= t) with ``freedom`` degrees of freedom."""
    if freedom < 1:
        return math.nan
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    theta = math.atan2(abs(t), math.sqrt(freedom))
    cos2 = math.cos(theta) ** 2
    odd = freedom % 2
    term, inside = 1.0, 0.0
    for j in range(odd + 2, freedom + 1, 2):
        inside += term
        term *= cos2 * (j - 1) / j
    if odd:
        between = 2.0 / math.pi * (theta + math.sin(theta) * math.cos(theta) * inside)
    else:
        between = math.sin(theta) * inside
    return 0.5 + math.copysign(between / 2.0, t)


@functools.lru_cache(maxsize=4096)
def quantile(p: float, freedom: int) -> float:
    """The t below which lies the share ``p`` of the distribution; nan without freedom.

    The error is below 1e-9 of the value.
    """
    if freedom < 1 or not 0.0 < p < 1.0:
        return math.nan
    if p < 0.5:
        return -quantile(1.0 - p, freedom)
    low, high = 0.0, 1.0
    while cdf(high, freedom) < p:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if high - low <= 1e-12 * high:
            break
        if cdf(middle, freedom) < p:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def two_sided(level: float, freedom: int) -> float:
    """Half width, in standard errors, of an interval that holds with probability ``level``."""
    return quantile(0.5 + level / 2.0, freedom)
