"""What a plot shows of a profile: series and calls thinned to what a screen can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.results import Profile

MOST_POINTS = 4000
MOST_RECTANGLES = 4000
MOST_LANES = 24


def decimate(
    edges: NDArray[np.int64], watts: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A step function in at most ``most`` steps: of each stretch its least and its largest value.

    They stand in the order in which they came, half of the stretch each.
    """
    n = len(watts)
    if n <= most:
        return edges, watts
    bounds = np.unique(np.linspace(0, n, max(1, most // 2) + 1).astype(np.int64))
    starts = bounds[:-1]
    known = ~np.isnan(watts)
    low = np.minimum.reduceat(np.where(known, watts, np.inf), starts)
    high = np.maximum.reduceat(np.where(known, watts, -np.inf), starts)
    sizes = np.diff(bounds)
    owner = np.repeat(np.arange(len(starts)), sizes)

    def first(values: NDArray[np.float64]) -> NDArray[np.int64]:
        hits = np.flatnonzero(known & (watts == values[owner]))
        at = np.full(len(starts), n, dtype=np.int64)
        np.minimum.at(at, owner[hits], hits)
        return at

    falling = first(high) < first(low)
    out = np.empty(2 * len(starts))
    out[0::2] = np.where(falling, high, low)
    out[1::2] = np.where(falling, low, high)
    out[~np.isfinite(out)] = np.nan
    begin, end = edges[bounds[:-1]], edges[bounds[1:]]
    steps = np.empty(2 * len(starts) + 1, dtype=np.int64)
    steps[0:-1:2], steps[1::2], steps[-1] = begin, begin + (end - begin) // 2, end[-1]
    return steps, out


@dataclass(frozen=True, slots=True)
class Bands:
    """Region calls as rectangles on lanes, one lane a thread and depth."""

    lanes: list[tuple[int, int]]  # (thread, depth)
    rectangles: list[tuple[int, int, int, int, int]]  # lane, begin, end, path, calls
    merged: int  # calls that share a rectangle
    lanes_hidden: int


def bands(profile: Profile, most: int = MOST_RECTANGLES) -> Bands:
    """The calls of ``profile``; where there are too many, short neighbours share a rectangle."""
    spans = profile.spans
    if not len(spans):
        return Bands([], [], 0, 0)
    depths = np.array([max(0, len(p) - 1) for p in profile.paths], dtype=np.int64)
    depth = depths[spans["path"]]
    depth = depth - depth.min()
    lane_key = spans["thread"].astype(np.int64) * 4096 + np.minimum(depth, 4095)
    keys, lane = np.unique(lane_key, return_inverse=True)
    lanes = [(int(k) // 4096, int(k) % 4096) for k in keys]
    hidden = max(0, len(lanes) - MOST_LANES)
    order = np.lexsort((spans["begin_ns"], lane))
    order = order[lane[order] < MOST_LANES]
    lane, path = lane[order], spans["path"][order].astype(np.int64)
    begin = spans["begin_ns"][order].astype(np.int64)
    end = np.maximum(spans["end_ns"][order].astype(np.int64), begin)

    group = np.arange(len(order))
    width = max(1, (profile.end_ns - profile.begin_ns) // most)
    while len(group) and group[-1] >= most:
        # Calls shorter than a cell, in the same cell of the same lane, become one rectangle.
        cell = (begin - profile.begin_ns) // width
        long = end - begin >= width
        new = np.ones(len(order), dtype=bool)
        new[1:] = (lane[1:] != lane[:-1]) | (cell[1:] != cell[:-1]) | long[1:] | long[:-1]
        group = np.cumsum(new) - 1
        width *= 2
    if not len(group):
        return Bands([], [], 0, hidden)
    starts = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    calls = np.diff(np.r_[starts, len(group)])
    ends = np.maximum.reduceat(end, starts)
    named = _longest(path, end - begin, group)
    rectangles = list(
        zip(
            lane[starts].tolist(),
            begin[starts].tolist(),
            ends.tolist(),
            named.tolist(),
            calls.tolist(),
            strict=True,
        )
    )
    return Bands(lanes[:MOST_LANES], rectangles, int(calls[calls > 1].sum()), hidden)


def _longest(path: Any, duration: Any, group: Any) -> Any:
    """The path with most time in each group."""
    order = np.lexsort((path, group))
    fresh = np.r_[True, (np.diff(group[order]) > 0) | (np.diff(path[order]) != 0)]
    starts = np.flatnonzero(fresh)
    time = np.add.reduceat(duration[order], starts)
    by_time = np.lexsort((time, group[order][starts]))
    last = np.r_[np.diff(group[order][starts][by_time]) > 0, True]
    return path[order][starts][by_time][last]
