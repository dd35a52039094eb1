"""When a reader finds out that a sensor has published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.simulate.sensors import Sensor

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """Looks at the sensor again and again, each ``period_s`` after the last, give or take.

    Attributes:
        period_s: from look to look.
        dither: each interval is off by up to this share (uniform), so that looks are not in step
            with the sensor.
        locked: looks only where the next tick is due, from ``guard_s`` before it on.
        guard_s: see above.
    """

    period_s: float = 0.97e-3
    dither: float = 0.1
    locked: bool = False
    guard_s: float = 0.5e-3


#: A poller that is locked to the ticks, as picojoule's recorder is: looks 40 us apart.
LOCKED = Poll(period_s=40e-6, locked=True)

_LEAST_STD_NS = 1.0 / math.sqrt(12.0)  # edges are told in whole nanoseconds


def brackets(
    edges: float | Poll, sensor: Sensor, seen_ns: Floats, due_ns: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats, Floats]:
    """What a reader knows of the instants ``seen_ns``.

    Args:
        edges: standard deviation in seconds of a normal error, or a ``Poll``.
        sensor: whose looks may stall.
        seen_ns: (n,) the true instants.
        due_ns: (n,) when they were expected.
        rng: source of chance.

    Returns:
        Four times (n,): best guess; its standard deviation; when the old value was last seen; when
        the new one was first seen. The true instant lies between the last two.
    """
    n = len(seen_ns)
    if not isinstance(edges, Poll):
        std = float(edges) * 1e9
        guess = seen_ns + (rng.normal(0.0, std, n) if std else 0.0)
        reach = math.sqrt(3.0) * max(std, _LEAST_STD_NS)
        old = np.minimum(guess - reach, np.floor(seen_ns))
        new = np.maximum(guess + reach, np.ceil(seen_ns))
        return guess, np.full(n, max(std, _LEAST_STD_NS)), old, new
    old, new = (_locked if edges.locked else _steady)(edges, sensor, seen_ns, due_ns, rng)
    std_ns = np.maximum((new - old) / math.sqrt(12.0), _LEAST_STD_NS)
    return 0.5 * (old + new), std_ns, old, new


def _steady(
    poll: Poll, sensor: Sensor, seen_ns: Floats, due_ns: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    if not len(seen_ns):
        return seen_ns, seen_ns
    step = poll.period_s * 1e9
    n = int((seen_ns[-1] - seen_ns[0]) / (step * (1.0 - poll.dither))) + 8
    gap = step * (1.0 + poll.dither * rng.uniform(-1.0, 1.0, n))
    late = rng.uniform(0.0, 1.0, n) < sensor.stalled
    gap += late * rng.uniform(*sensor.stall_s, n) * 1e9
    looks = seen_ns[0] - gap[0] * rng.uniform() + np.concatenate([[0.0], np.cumsum(gap)])
    after = np.searchsorted(looks, seen_ns, side="left")
    return looks[after - 1], looks[after]


def _locked(
    poll: Poll, sensor: Sensor, seen_ns: Floats, due_ns: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    n = len(seen_ns)
    step = poll.period_s * 1e9 * (1.0 + poll.dither * rng.uniform(-1.0, 1.0, n))
    late = rng.uniform(0.0, 1.0, n) < sensor.stalled
    step = step + late * rng.uniform(*sensor.stall_s, n) * 1e9
    new = seen_ns + step * rng.uniform(0.0, 1.0, n)
    old = new - step
    # Before the first look: all that is known is that it came since the last one.
    opened = due_ns - poll.guard_s * 1e9
    early = seen_ns < opened
    new = np.where(early, opened, new)
    before = np.concatenate([new[:1] - sensor.period_s * 1e9, new[:-1]])
    return np.where(early, np.minimum(before, seen_ns), old), new
