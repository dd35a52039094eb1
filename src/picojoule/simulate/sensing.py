"""What a sensor shows of a power curve: one row a tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.simulate.curve import Curve
    from picojoule.simulate.sensors import Sensor

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """What a sensor published, and when. The times are true ones: no reader knows them.

    Attributes:
        tick_ns: (n,) when.
        seen_ns: (n,) from when on a look at the device finds it.
        count: (n,) i8, what is shown in steps of ``quantum``; of a counter the register unwrapped
            and without resets, from 0 at the first tick.
        index: (n,) i8, number of the tick; one that was missed leaves a hole.
        reset: (n,) whether the counter began anew since the tick before.
        due_ns: (n,) when a tick without jitter would have been.
    """

    tick_ns: Floats
    seen_ns: Floats
    count: NDArray[np.int64]
    index: NDArray[np.int64]
    reset: NDArray[np.bool_]
    due_ns: Floats


def ticks(
    sensor: Sensor,
    board: Curve,
    first_ns: float,
    last_ns: float,
    rng: np.random.Generator,
    *,
    phase_s: float | None = None,
    resets_ns: tuple[float, ...] = (),
) -> Ticks:
    """All ticks of ``sensor`` in [first_ns, last_ns), and what they show of ``board``."""
    period = sensor.period_s * 1e9 * (1.0 + sensor.skew_ppm * 1e-6)
    phase = rng.uniform(0.0, period) if phase_s is None else phase_s * 1e9
    k = np.arange(np.ceil((first_ns - phase) / period), np.ceil((last_ns - phase) / period))
    due = np.asarray(phase + k * period, dtype=np.float64)
    at = due
    if sensor.jitter_s:
        at = np.maximum.accumulate(at + rng.normal(0.0, sensor.jitter_s * 1e9, len(at)))
    looked = at - sensor.delay_s * 1e9
    if sensor.shape == "integral":
        shown = (
            sensor.gain * board.energy_until(looked) + sensor.offset_w * (looked - first_ns) / 1e9
        )
    else:
        watts = sensor.gain * _watts(sensor, board, looked, period) + sensor.offset_w
        watts += rng.normal(0.0, 1.0, len(at)) * sensor.noise_w
        shown = watts
        if sensor.shape == "sampled":
            shown = np.cumsum(watts * sensor.period_s)
    if sensor.counter:
        shown = shown - (shown[0] if len(shown) else 0.0)
        count = np.floor(shown / sensor.quantum + 1e-9)
    else:
        count = np.rint(np.maximum(shown, 0.0) / sensor.quantum)
    seen = at + rng.uniform(0.0, 1.0, len(at)) * sensor.latency_s * 1e9
    kept = rng.uniform(0.0, 1.0, len(at)) >= sensor.missed
    reset = np.zeros(len(at), dtype=bool)
    if sensor.counter and resets_ns:
        after = np.searchsorted(at[kept], np.asarray(resets_ns))
        places = np.flatnonzero(kept)
        reset[places[after[after < len(places)]]] = True
    return Ticks(
        tick_ns=at[kept],
        seen_ns=seen[kept],
        count=count[kept].astype(np.int64),
        index=k[kept].astype(np.int64),
        reset=reset[kept],
        due_ns=due[kept],
    )


def _watts(sensor: Sensor, board: Curve, looked: Floats, period: float) -> Floats:
    if sensor.shape == "lag":
        return board.lagged(sensor.tau_s).power(looked)
    begin = window_begin(sensor, looked, period)
    return board.energy(begin, looked) / ((looked - begin) * 1e-9)


def window_begin(sensor: Sensor, end_ns: Floats, period_ns: float) -> Floats:
    """Where each window begins that ends at ``end_ns``."""
    if sensor.window_s != sensor.period_s or not len(end_ns):
        return end_ns - sensor.window_s * 1e9
    return np.concatenate([[end_ns[0] - period_ns], end_ns[:-1]])
