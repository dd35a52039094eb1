"""Workloads that look like neural networks: layers, steps, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.errors import UsageError
from picojoule.simulate.faults import Faults
from picojoule.simulate.load import Drift
from picojoule.simulate.patterns import Plan
from picojoule.simulate.spans import Launches, joined, laid_out, launches, spread_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.simulate.sensors import Sensor

    Range = tuple[float, float]
    Floats = NDArray[np.float64]


def layered(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    n_classes: int = 10,
    layers: int = 24,
    kinds: int = 4,
    step_s: float | None = None,
    power_w: Range = (205.0, 640.0),
    kernel_s: Range = (9e-6, 900e-6),
    idle_w: float = 75.0,
    gap_s: float = 2e-6,
    pause_s: float = 2e-3,
    spread: float = 0.01,
    power_cv: float | None = None,
    drift: Drift | None = None,
) -> Plan:
    """Training: forward through the layers, backward through them, then the optimizer.

    A step has ``layers`` of several ``kinds``, each with kernels, repeats and a size of its own;
    backward uses other classes; the last fifth of the classes is the optimizer's. ``gap_s`` is the
    mean pause between kernels, ``pause_s`` that between steps, ``spread`` how much one run's length
    differs from the next. With ``step_s`` all is scaled so that a step takes that long.

    What classes draw is spread evenly over ``power_w``; with ``power_cv`` it is drawn by chance:
    normal about the middle of that range, with this relative standard deviation, and above 0. With
    0.5 that is what ``pj.attribute`` takes for granted where it is told nothing: the truths on
    which intervals of what readings do not determine can be judged.
    """
    step, power = _step(rng, n_classes, layers, kinds, power_w, kernel_s, gap_s, pause_s)
    if power_cv is not None:
        power = _drawn(rng.spawn(1)[0], n_classes, power_w, power_cv)
    if step_s is not None:
        step = _made(step, step_s)
    many = _repeated(step, duration_s, rng, spread)
    return Plan(laid_out([many], duration_s, power, idle_w, drift=drift))


def identical(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    **parameters: Any,
) -> Plan:
    """As ``layered``, but all layers are alike: classes hardly differ in when they run."""
    return layered(rng, duration_s, sensor, kinds=1, **parameters)


def decode(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    n_classes: int = 8,
    layers: int = 32,
    power_w: Range = (150.0, 450.0),
    kernel_s: Range = (5e-6, 50e-6),
    idle_w: float = 75.0,
    gap_s: float = 0.3e-6,
    pause_s: float = 50e-6,
    tokens: Range = (50.0, 400.0),
    prefill: float = 20.0,
    growth: float = 2.0,
    wait_s: float = 5e-3,
    spread: float = 0.01,
) -> Plan:
    """A language model that answers requests: many short kernels, replayed as a graph.

    Each request is a prefill, with kernels ``prefill`` times as long, and then some ``tokens``,
    each of which runs all layers. Class 1 is attention: from the first to the last of a long
    request it grows ``growth`` times as long. Between requests it waits for ``wait_s`` on average.
    """
    _at_least("n_classes", n_classes, 2)
    _at_least("layers", layers, 1)
    watts = spread_out(rng, n_classes, power_w, "power_w")
    length = spread_out(rng, n_classes, kernel_s, "kernel_s", log=True)
    layer = np.tile(np.arange(n_classes), layers)
    token = launches(layer, length[layer], gap_s)
    token.gap_ns[0] = pause_s * 1e9
    per_token = token.total_ns
    attention = layer == 1
    parts: list[Launches] = []
    spent = 0.0
    while spent < duration_s * 1e9 * 1.02:
        n = max(1, round(rng.uniform(*tokens)))
        start = launches(layer, length[layer] * prefill, gap_s)
        start.gap_ns[0] = rng.exponential(wait_s) * 1e9
        grown = 1.0 + (growth - 1.0) * np.arange(n) / tokens[1]
        rest = token.times(n)
        rest.length_ns[:] *= np.where(np.tile(attention, n), np.repeat(grown, len(layer)), 1.0)
        parts += [start, rest]
        spent += start.total_ns + max(rest.total_ns, per_token)
    many = joined(parts).varied(rng, spread)
    return Plan(laid_out([many], duration_s, watts, idle_w))


def drift(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    warmup: float = 0.05,
    warmup_s: float = 20.0,
    thermal: tuple[tuple[float, float], ...] = ((0.02, 2.0), (0.04, 60.0)),
    cap_w: float = np.inf,
    clock_std: float = 0.0,
    clock_s: float = 5.0,
    **parameters: Any,
) -> Plan:
    """As ``layered``, on a board that warms up, leaks more when hot, and may meet its power cap.

    Its clock may change, on average every ``clock_s`` seconds, by chance to somewhere within
    ``clock_std`` (relative) of its mean. See ``Drift`` for the other parameters.
    """
    if not 0.0 <= clock_std < 0.25:
        raise UsageError(f"clock_std must be in [0, 0.25), got {clock_std!r}")
    if not clock_s > 0.0:
        raise UsageError(f"clock_s must be above 0, got {clock_s!r}")
    clocks: tuple[tuple[float, float], ...] = ()
    if clock_std > 0.0:
        own = rng.spawn(1)[0]  # the same layers with and without
        at = np.cumsum(own.exponential(clock_s, int(2.0 * duration_s / clock_s) + 20))
        to = 1.0 + clock_std * own.standard_normal(len(at)).clip(-3.0, 3.0)
        clocks = tuple(zip(at[at < duration_s].tolist(), to.tolist(), strict=False))
    how = Drift(warmup=warmup, warmup_s=warmup_s, thermal=thermal, cap_w=cap_w, clocks=clocks)
    return layered(rng, duration_s, sensor, drift=how, **parameters)


def streams(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    n_streams: int = 2,
    n_classes: int = 8,
    sharing: float = 0.3,
    power_w: Range = (205.0, 500.0),
    kernel_s: Range = (200e-6, 5e-3),
    idle_w: float = 75.0,
    busy: float = 0.6,
) -> Plan:
    """Concurrent streams, each with classes of its own, each ``busy`` for that share of its time.

    When n run at once they draw n^-sharing of what they draw alone, above idle.
    """
    _at_least("n_streams", n_streams, 1)
    _at_least("n_classes", n_classes, n_streams)
    if not 0.0 < busy <= 1.0:
        raise UsageError(f"busy must be in (0, 1], got {busy!r}")
    watts = spread_out(rng, n_classes, power_w, "power_w")
    length = spread_out(rng, n_classes, kernel_s, "kernel_s", log=True)
    made = []
    for number in range(n_streams):
        own = np.arange(number, n_classes, n_streams)
        mean = float(length[own].mean())
        n = int(duration_s / mean * 1.3) + 100
        # Each stretch of 50 prefers one class, so that shares differ from window to window.
        liked = own[rng.integers(0, len(own), n // 50 + 1)][np.arange(n) // 50]
        what = np.where(rng.random(n) < 0.5, liked, own[rng.integers(0, len(own), n)])
        gap = rng.exponential(mean * (1.0 / busy - 1.0), n)
        one = launches(what, length[what], gap)
        lacking = duration_s * 1e9 / one.total_ns
        made.append(one.times(int(np.ceil(lacking))) if lacking > 1.0 else one)
    return Plan(laid_out(made, duration_s, watts, idle_w, sharing=sharing))


def aliasing(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    ratio: float = 2 / 3,
    **parameters: Any,
) -> Plan:
    """As ``layered``, with a step of ``ratio`` times the sensor's period: always the same phases.

    ``spread`` is 0 unless it is given, or the steps would wander.
    """
    if not ratio > 0.0:
        raise UsageError(f"ratio must be above 0, got {ratio!r}")
    period = sensor.period_s * (1.0 + sensor.skew_ppm * 1e-6)
    return layered(rng, duration_s, sensor, **{"spread": 0.0, **parameters}, step_s=ratio * period)


def faults(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    missed: float = 0.01,
    stalled: float = 0.001,
    resets: int = 1,
    clock_steps: int = 1,
    clock_step_s: float = 100e-6,
    clock_ppm: float = 20.0,
    **parameters: Any,
) -> Plan:
    """As ``layered``, with ticks missed, looks stalled, counters reset and clocks that jump."""
    plan = layered(rng, duration_s, sensor, **parameters)
    at = np.sort(rng.uniform(0.1, 0.9, resets)) * duration_s
    jumps = np.sort(rng.uniform(0.1, 0.9, clock_steps)) * duration_s
    return Plan(
        plan.work,
        Faults(
            missed=missed,
            stalled=stalled,
            resets_s=tuple(at.tolist()),
            clock_steps=tuple((t, clock_step_s) for t in jumps.tolist()),
            clock_ppm=clock_ppm,
        ),
    )


def wrong_sensor(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    factor: float = 1.2,
    **parameters: Any,
) -> Plan:
    """As ``layered``, with a reader who takes the window (or the lag) for ``factor`` times it.

    Of an integrating counter he believes that it lags by a tenth of its period.
    """
    plan = layered(rng, duration_s, sensor, **parameters)
    if sensor.windowed:
        believed = sensor.but(window_s=sensor.window_s * factor)
    elif sensor.shape == "lag":
        believed = sensor.but(tau_s=sensor.tau_s * factor)
    else:
        believed = sensor.but(delay_s=sensor.delay_s + 0.1 * sensor.period_s)
    return Plan(plan.work, assumed=believed)


def wrong_prior(
    rng: np.random.Generator,
    duration_s: float,
    sensor: Sensor,
    *,
    factor: float = 2.0,
    **parameters: Any,
) -> Plan:
    """As ``layered``; the priors that the simulation offers are all ``factor`` times too high."""
    return Plan(layered(rng, duration_s, sensor, **parameters).work, prior_bias=factor)


def _step(
    rng: np.random.Generator,
    n_classes: int,
    layers: int,
    kinds: int,
    power_w: Range,
    kernel_s: Range,
    gap_s: float,
    pause_s: float,
) -> tuple[Launches, Floats]:
    """One training step, and the power of each class."""
    _at_least("n_classes", n_classes, 1)
    _at_least("layers", layers, 1)
    _at_least("kinds", kinds, 1)
    watts = spread_out(rng, n_classes, power_w, "power_w")
    length = spread_out(rng, n_classes, kernel_s, "kernel_s", log=True)
    last = n_classes // 5
    split = (n_classes - last + 1) // 2
    sides = (np.arange(split), np.arange(split, n_classes - last))
    parts: list[tuple[NDArray[np.int64], Floats]] = []
    kind = rng.integers(0, kinds, layers)
    kind[: min(kinds, layers)] = np.arange(min(kinds, layers))
    size = rng.uniform(0.6, 1.7, kinds) if kinds > 1 else np.ones(1)
    bodies = []
    for side in sides:
        often = (
            rng.integers(0, 4, (kinds, len(side))) if kinds > 1 else np.ones((1, len(side)), int)
        )
        if len(side):  # every class is in some kind, every kind has something
            often[rng.integers(0, kinds, len(side)), np.arange(len(side))] += 1
            often[np.arange(kinds), rng.integers(0, len(side), kinds)] += 1
        bodies.append([np.repeat(side, row) for row in often])
    for body, order in zip(bodies, (kind, kind[::-1]), strict=True):
        parts += [(body[k], length[body[k]] * size[k]) for k in order]
    tail = np.repeat(np.arange(n_classes - last, n_classes), 6)
    parts.append((tail, length[tail]))
    what = np.concatenate([part[0] for part in parts])
    long = np.concatenate([part[1] for part in parts])
    gap = rng.exponential(gap_s, len(what)) if gap_s else np.zeros(len(what))
    gap[0] += pause_s
    return launches(what, long, gap), watts


def _drawn(rng: np.random.Generator, n: int, between: Range, cv: float) -> Floats:
    """``n`` rates above 0 by chance, of a normal spread about the middle of the range."""
    if not 0.0 < cv < 10.0:
        raise UsageError(f"power_cv must be above 0 and below 10, got {cv!r}")
    middle = 0.5 * (between[0] + between[1])
    many = rng.normal(middle, cv * middle, 20 * n + 20)  # at least half are above 0
    return many[many > 0.0][:n]


def _made(step: Launches, step_s: float) -> Launches:
    """The step scaled, so that it lasts ``step_s``."""
    if not step_s > 0.0:
        raise UsageError(f"step_s must be above 0, got {step_s!r}")
    return step.scaled(step_s * 1e9 / step.total_ns)


def _repeated(
    step: Launches, duration_s: float, rng: np.random.Generator, spread: float
) -> Launches:
    return step.times(int(duration_s * 1e9 / step.total_ns * 1.01) + 2).varied(rng, spread)


def _at_least(name: str, value: int, least: int) -> None:
    if int(value) != value or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
