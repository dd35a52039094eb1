"""Runs of kernels as a plot shows them: one lane a stream, thinned to what a screen can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.results import Profile

MOST_RECTANGLES = 4000
MOST_LANES = 24
#: Bins of a lane whose runs are too many to be drawn one by one: about a pixel each.
_BINS = 1000


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A run, or what ran in one bin of time."""

    lane: int
    begin_ns: int
    end_ns: int
    kernel: int  # position in the table; of several the one that took most of the time
    runs: int  # that began in it
    share: float  # of its time in which something ran


@dataclass(frozen=True, slots=True)
class Lanes:
    """What ran, one lane a device and stream."""

    lanes: list[tuple[str, int]]  # (domain, stream)
    rectangles: list[Rectangle]
    binned: int  # runs drawn as density
    bin_ns: int
    lanes_hidden: int


def lanes(profile: Profile, most: int = MOST_RECTANGLES) -> Lanes:
    """The runs of ``profile``; where a lane has too many, how busy it was in each bin of time."""
    table, runs = profile.kernels, profile.kernels.runs
    span_ns = profile.end_ns - profile.begin_ns
    if not len(runs) or span_ns <= 0:
        return Lanes([], [], 0, 0, 0)
    lane_of = [(k.domain, k.stream) for k in table]
    keys = sorted(set(lane_of))
    lane = np.array([keys.index(key) for key in lane_of])[runs["kernel"]]
    keys_used = [keys[i] for i in np.unique(lane).tolist()]
    shown = keys_used[:MOST_LANES]
    bins = max(1, min(_BINS, most // len(shown)))
    edges = profile.begin_ns + np.arange(bins + 1, dtype="i8") * span_ns // bins
    rectangles: list[Rectangle] = []
    binned = 0
    for at, key in enumerate(shown):
        mine = runs[lane == keys.index(key)]
        if len(mine) <= bins:
            rectangles += [
                Rectangle(at, begin, max(begin, end), kernel, 1, 1.0)
                for begin, end, kernel, _ in mine.tolist()
            ]
            continue
        binned += len(mine)
        rectangles += _density(at, mine, edges)
    return Lanes(shown, rectangles, binned, span_ns // bins, len(keys_used) - len(shown))


def seconds_inside(profile: Profile) -> NDArray[np.float64]:
    """Of each run, how long it ran inside the profile: only that has joules."""
    runs = profile.kernels.runs
    begin = np.maximum(runs["begin_ns"], profile.begin_ns)
    end = np.minimum(runs["end_ns"], profile.end_ns)
    return np.asarray(np.maximum(0, end - begin) * 1e-9, dtype=np.float64)


def watts_of(profile: Profile) -> NDArray[np.float64]:
    """Of each kernel, the power that shares out its joules over its runs by time; nan if unknown.

    Where not all runs were kept, it is the mean power of all of them.
    """
    table, which = profile.kernels, profile.kernels.runs["kernel"]
    kept = np.bincount(which, minlength=len(table))
    inside = np.bincount(which, weights=seconds_inside(profile), minlength=len(table))
    return np.array(
        [
            k.energy_j / inside[i] if kept[i] == k.calls and inside[i] > 0 else k.watts
            for i, k in enumerate(table)
        ],
        dtype=np.float64,
    )


def busy_steps(
    runs: NDArray[Any], begin_ns: int, end_ns: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """When something ran, as a step function with ``most`` steps at most, between two instants.

    1 where something ran and 0 where nothing did; where there would be more steps, the share of
    time in which something ran, in steps of equal length.
    """
    begin, end = _union(runs)
    edges = np.unique(np.clip(np.r_[begin_ns, begin, end, end_ns], begin_ns, end_ns))
    if len(edges) - 1 > most:
        steps = np.arange(most + 1, dtype="i8")
        edges = begin_ns + steps * ((end_ns - begin_ns) // most)
        edges[-1] = end_ns
    if len(edges) < 2:
        return edges, np.zeros(0)
    ran = np.diff(_busy_until(begin, end, edges)) / np.maximum(1, np.diff(edges))
    keep = np.r_[True, ran[1:] != ran[:-1]]  # neighbours alike are one step
    return np.r_[edges[:-1][keep], edges[-1]], ran[keep]


def shares(runs: NDArray[Any], begin_ns: int, end_ns: int, bins: int) -> NDArray[np.float64]:
    """Of each of ``bins`` equal stretches, the share of time in which something ran."""
    edges = begin_ns + np.arange(bins + 1, dtype="i8") * (end_ns - begin_ns) // bins
    return np.diff(_busy_until(*_union(runs), edges)) / np.maximum(1, np.diff(edges))


def _union(runs: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The stretches in which something ran; ``runs`` are in order of their beginnings."""
    if not len(runs):
        return runs["begin_ns"], runs["end_ns"]
    begin = runs["begin_ns"]
    ends = np.maximum.accumulate(np.maximum(runs["end_ns"], begin))
    starts = np.flatnonzero(np.r_[True, begin[1:] > ends[:-1]])
    return begin[starts], ends[np.r_[starts[1:] - 1, len(runs) - 1]]


def _busy_until(
    begin: NDArray[np.int64], end: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Nanoseconds of the stretches that lie before each instant; exact in integers."""
    before = np.r_[0, np.cumsum(end - begin)]
    started = np.searchsorted(begin, at, side="right")
    last = np.maximum(started - 1, 0)
    if not len(begin):
        return np.zeros(len(at), dtype="i8")
    inside = np.minimum(at, end[last]) - begin[last]
    return np.where(started > 0, before[last] + inside, 0)


def _density(lane: int, runs: NDArray[Any], edges: NDArray[np.int64]) -> list[Rectangle]:
    """One rectangle for each bin in which something ran."""
    busy = np.diff(_busy_until(*_union(runs), edges))
    place = np.searchsorted(edges, runs["begin_ns"], side="right") - 1
    inside = (place >= 0) & (place < len(edges) - 1)
    count = np.bincount(place[inside], minlength=len(edges) - 1)
    took = (runs["end_ns"] - runs["begin_ns"]).astype("f8")
    # Bin and kernel with the time of each pair; of each bin the largest comes last.
    pairs, which = np.unique(
        place[inside] * (1 << 32) + runs["kernel"][inside].astype("i8"), return_inverse=True
    )
    time = np.bincount(which.reshape(-1), weights=took[inside], minlength=len(pairs))
    named: dict[int, int] = {}
    for i in np.argsort(time, kind="stable").tolist():
        named[int(pairs[i]) >> 32] = int(pairs[i]) & 0xFFFFFFFF
    out = []
    for i in np.flatnonzero(busy > 0).tolist():
        begin, end = int(edges[i]), int(edges[i + 1])
        if i not in named:  # nothing began here: what began before still ran
            earlier = max(0, int(np.searchsorted(runs["begin_ns"], begin, side="right")) - 1)
            named[i] = int(runs["kernel"][earlier])
        out.append(
            Rectangle(lane, begin, end, named[i], int(count[i]), int(busy[i]) / (end - begin))
        )
    return out
