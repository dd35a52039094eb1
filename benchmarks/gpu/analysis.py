"""What the steps make of their measurements: pure functions, arrays in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ratio_of_pairs(
    on_s: Sequence[float], off_s: Sequence[float], *, seed: int = 0, resamples: int = 2000
) -> dict[str, float]:
    """How much longer blocks take with something on: median ratio of pairs, 95 % by bootstrap."""
    pairs = np.asarray(on_s, "f8") / np.asarray(off_s, "f8")
    pairs = pairs[np.isfinite(pairs)]
    if len(pairs) == 0:
        return {"ratio": math.nan, "low": math.nan, "high": math.nan, "pairs": 0}
    draws = np.random.default_rng(seed).choice(pairs, (resamples, len(pairs)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return {
        "ratio": float(np.median(pairs)), "low": float(low), "high": float(high),
        "pairs": len(pairs),
    }  # fmt: skip


def ticks(old_ns: Sequence[int], new_ns: Sequence[int]) -> dict[str, float]:
    """Period of a sensor from the brackets in which its value changed.

    The period is that of a straight line through the brackets' middles, each at its whole number of
    periods; ``jitter_ns`` is the median distance from it, ``missed`` the ticks without a change.
    """
    middle = (np.asarray(old_ns, "f8") + np.asarray(new_ns, "f8")) / 2
    if len(middle) < 4:
        return {"period_ns": math.nan, "jitter_ns": math.nan, "changes": len(middle), "missed": 0}
    gaps = np.diff(middle)
    guess = float(np.median(gaps[gaps <= 1.5 * np.median(gaps)]))
    number = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(gaps / guess)))])
    period, start = np.polyfit(number, middle - middle[0], 1)
    off = np.abs(middle - middle[0] - start - period * number)
    return {
        "period_ns": float(period),
        "jitter_ns": float(np.median(off)),
        "changes": len(middle),
        "missed": int(number[-1] - len(middle) + 1),
        "bracket_ns": float(np.median(np.asarray(new_ns, "f8") - np.asarray(old_ns, "f8"))),
    }


def duty_cycle(phase: Sequence[float], joules: Sequence[float]) -> dict[str, float]:
    """Whether a counter integrates or samples: pulses as long as its period, swept in phase.

    ``phase`` is where the pulse lay in the sensor's period (0 to 1), ``joules`` what the counter
    said of the stretch. A true integral does not care; the amplitude of its first harmonic,
    relative to the mean, is then within the noise (``z`` below 3).
    """
    x, y = np.asarray(phase, "f8"), np.asarray(joules, "f8")
    if len(x) < 8 or not np.mean(y) > 0:
        return {"amplitude": math.nan, "z": math.nan, "pulses": len(x)}
    terms = np.stack([np.ones_like(x), np.cos(2 * np.pi * x), np.sin(2 * np.pi * x)], axis=1)
    found, *_ = np.linalg.lstsq(terms, y, rcond=None)
    rest = y - terms @ found
    sigma = math.sqrt(float(rest @ rest) / max(1, len(x) - 3))
    amplitude = math.hypot(found[1], found[2])
    doubt = sigma * math.sqrt(2 / len(x))
    return {
        "amplitude": amplitude / float(found[0]),
        "z": amplitude / doubt if doubt > 0 else math.inf,
        "pulses": len(x),
    }


def delay(edge_ns: Sequence[int], change_ns: Sequence[int], limit_ns: float = 2e9) -> float:
    """Median time from an edge of the load to the next change of a reading, in ns."""
    changes = np.sort(np.asarray(change_ns, "f8"))
    out = []
    for edge in np.asarray(edge_ns, "f8"):
        at = np.searchsorted(changes, edge)
        if at < len(changes) and changes[at] - edge < limit_ns:
            out.append(changes[at] - edge)
    return float(np.median(out)) if out else math.nan


def compare_kernels(
    ours: Mapping[str, tuple[int, float]], theirs: Mapping[str, tuple[int, float]]
) -> dict[str, Any]:
    """Two lists of kernels, name -> (launches, seconds): what differs, and by how much."""
    both = [name for name in theirs if name in ours]
    same = [name for name in both if ours[name][0] == theirs[name][0]]
    off = [abs(ours[n][1] / theirs[n][1] - 1) for n in same if theirs[n][1] > 0 and ours[n][1] > 0]
    total = sum(s for _, s in theirs.values())
    return {
        "kernels_ours": len(ours),
        "kernels_theirs": len(theirs),
        "missing": sorted(set(theirs) - set(ours))[:20],
        "extra": sorted(set(ours) - set(theirs))[:20],
        "other_count": {n: [ours[n][0], theirs[n][0]] for n in both if n not in same},
        "share_of_time_matched": sum(theirs[n][1] for n in same) / total if total else math.nan,
        "median_time_difference": float(np.median(off)) if off else math.nan,
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and least of some durations."""
    v = np.asarray(values, "f8")
    if len(v) == 0:
        return {"median": math.nan, "p99": math.nan, "least": math.nan}
    return {
        "median": float(np.median(v)),
        "p99": float(np.quantile(v, 0.99)),
        "least": float(v.min()),
    }
