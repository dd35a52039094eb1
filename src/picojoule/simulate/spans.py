"""Building spans: lists of launches, laid one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from picojoule.errors import UsageError
from picojoule.simulate.load import Drift, Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Classes = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Launches:
    """What runs on one stream in order: class, length, and the idle time before it."""

    span_class: Classes
    length_ns: Floats
    gap_ns: Floats

    @property
    def total_ns(self) -> float:
        """From the first gap to the last end."""
        return float(self.length_ns.sum() + self.gap_ns.sum())

    def times(self, n: int) -> Launches:
        """``n`` in a row."""
        return Launches(
            np.tile(self.span_class, n), np.tile(self.length_ns, n), np.tile(self.gap_ns, n)
        )

    def varied(self, rng: np.random.Generator, spread: float) -> Launches:
        """With lengths that differ from launch to launch by the relative ``spread``."""
        if not spread:
            return self
        factor = 1.0 + spread * rng.standard_normal(len(self.length_ns))
        return Launches(self.span_class, self.length_ns * np.maximum(factor, 0.1), self.gap_ns)

    def scaled(self, factor: float) -> Launches:
        """All times multiplied."""
        return Launches(self.span_class, self.length_ns * factor, self.gap_ns * factor)


def launches(span_class: ArrayLike, length_s: ArrayLike, gap_s: ArrayLike = 0.0) -> Launches:
    """Launches from classes and their lengths and gaps in seconds."""
    what = np.asarray(span_class, dtype=np.int32)
    length = np.broadcast_to(np.asarray(length_s, dtype=np.float64) * 1e9, what.shape)
    gap = np.broadcast_to(np.asarray(gap_s, dtype=np.float64) * 1e9, what.shape)
    return Launches(what, length.copy(), gap.copy())


def joined(parts: list[Launches]) -> Launches:
    """One after the other."""
    return Launches(
        np.concatenate([p.span_class for p in parts]).astype(np.int32),
        np.concatenate([p.length_ns for p in parts]),
        np.concatenate([p.gap_ns for p in parts]),
    )


def laid_out(
    streams: list[Launches],
    duration_s: float,
    watts: ArrayLike,
    idle_w: float,
    *,
    names: tuple[str, ...] = (),
    sharing: float = 0.0,
    drift: Drift | None = None,
) -> Work:
    """The work of some streams, each cut where ``duration_s`` ends; spans in order of begin."""
    limit = round(duration_s * 1e9)
    begins, ends, classes, where = [], [], [], []
    for number, stream in enumerate(streams):
        step = stream.length_ns + stream.gap_ns
        end = np.rint(np.cumsum(step))
        begin = np.rint(end - stream.length_ns)
        begin[1:] = np.maximum(begin[1:], end[:-1])
        n = int(np.searchsorted(begin, limit, side="left"))
        begins.append(begin[:n].astype(np.int64))
        ends.append(np.minimum(end[:n], limit).astype(np.int64))
        classes.append(stream.span_class[:n])
        where.append(np.full(n, number, dtype=np.int32))
    begin_ns = np.concatenate(begins)
    order = np.argsort(begin_ns, kind="stable") if len(streams) > 1 else slice(None)
    power = np.asarray(watts, dtype=np.float64)
    return Work(
        begin_ns=begin_ns[order],
        end_ns=np.concatenate(ends)[order],
        span_class=np.concatenate(classes)[order],
        stream=np.concatenate(where)[order],
        watts=power,
        idle_w=float(idle_w),
        names=names or tuple(f"class {i}" for i in range(len(power))),
        sharing=sharing,
        drift=drift or Drift(),
    )


def spread_out(
    rng: np.random.Generator, n: int, between: tuple[float, float], name: str, log: bool = False
) -> Floats:
    """``n`` values over a range: one in each of n equal parts of it, in random order."""
    low, high = between
    if not 0.0 < low <= high:
        raise UsageError(f"{name} must be (low, high) with 0 < low <= high, got {between!r}")
    place = (rng.permutation(n) + rng.uniform(0.0, 1.0, n)) / n
    if log:
        return np.asarray(low * (high / low) ** place)
    return low + (high - low) * place
