"""Workloads of few classes in a plain pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from picojoule.errors import UsageError
from picojoule.simulate.spans import joined, laid_out, launches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from picojoule.simulate.faults import Faults
    from picojoule.simulate.load import Work
    from picojoule.simulate.sensors import Sensor


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Work, and what comes with it.

    Attributes:
        work: spans and powers.
        faults: what goes wrong, if nothing else is asked for.
        assumed: what the reader takes the sensor for; None: what it is.
        prior_bias: common factor on the priors.
    """

    work: Work
    faults: Faults | None = None
    assumed: Sensor | None = None
    prior_bias: float = 1.0


def alternate(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    period_s: float = 0.01,
    watts: tuple[float, float] = (500.0, 300.0),
    share: float = 0.5,
    idle_w: float = 75.0,
    spread: float = 0.0,
) -> Plan:
    """Two classes that take turns without a pause.

    ``period_s`` is the time of both together, ``share`` that of the first in it, ``spread`` by how
    much each run's length differs.
    """
    _positive("period_s", period_s)
    if not 0.0 < share < 1.0:
        raise UsageError(f"share must be between 0 and 1, got {share!r}")
    pair = launches([0, 1], [share * period_s, (1.0 - share) * period_s])
    n = int(duration_s / period_s * (1.0 + 0.5 * spread)) + 8
    many = pair.times(n).varied(rng, spread)
    return Plan(laid_out([many], duration_s, watts, idle_w, names=("a", "b")))


def constant(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    watts: float = 300.0,
    idle_w: float = 75.0,
) -> Plan:
    """One span from begin to end."""
    return Plan(laid_out([launches([0], [duration_s])], duration_s, [watts], idle_w))


def square(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    period_s: float = 0.13,
    watts: float = 600.0,
    duty: float = 0.5,
    idle_w: float = 75.0,
) -> Plan:
    """One class that comes and goes: idle for the rest of each period."""
    _positive("period_s", period_s)
    if not 0.0 < duty <= 1.0:
        raise UsageError(f"duty must be in (0, 1], got {duty!r}")
    one = launches([0], [duty * period_s], [(1.0 - duty) * period_s])
    many = one.times(int(duration_s / period_s) + 2)
    return Plan(laid_out([many], duration_s, [watts], idle_w))


def steps(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    watts: Sequence[float] = (100.0, 300.0, 200.0, 400.0),
    step_s: float = 1.0,
    idle_w: float = 75.0,
) -> Plan:
    """One class after the other, each for ``step_s``, over and over."""
    _positive("step_s", step_s)
    if not len(watts):
        raise UsageError("watts must name at least one power")
    once = launches(np.arange(len(watts)), step_s)
    many = once.times(int(duration_s / step_s / len(watts)) + 2)
    return Plan(laid_out([many], duration_s, watts, idle_w))


def calibrate(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    watts: float = 400.0,
    idle_w: float = 75.0,
    ratios: Sequence[float] = (2 / 3, 3 / 4, 6 / 5, 5 / 4),
    plateau_s: float = 2.0,
) -> Plan:
    """What a sensor is identified by.

    Plateaus (idle and busy) for its gain and offset, square waves with periods of ``ratios`` times
    the sensor's for its window and delay.
    """
    _positive("plateau_s", plateau_s)
    parts = [launches([0], [plateau_s], [plateau_s])]
    for ratio in ratios:
        half = 0.5 * ratio * sensor.period_s
        parts.append(launches([0], [half], [half]).times(max(1, round(plateau_s / half))))
    once = joined(parts)
    many = once.times(int(duration_s * 1e9 / once.total_ns) + 2)
    return Plan(laid_out([many], duration_s, [watts], idle_w))


def _positive(name: str, value: float) -> None:
    if not value > 0.0:
        raise UsageError(f"{name} must be above 0, got {value!r}")
