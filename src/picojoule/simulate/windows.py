"""From what a sensor showed to readings: so many joules between two instants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.simulate.sensing import Ticks
    from picojoule.simulate.sensors import Sensor

    Floats = NDArray[np.float64]

_INSTANT_NS = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Readings as ``pj.attribute`` takes them; the attributes are explained there."""

    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    value: Floats
    edge_std_ns: Floats
    value_std: Floats
    contiguous: bool | None


def windows(
    sensor: Sensor,
    quantum: float,
    counter: bool,
    ticks: Ticks,
    guess_ns: Floats,
    std_ns: Floats,
    first_ns: float,
    last_ns: float,
) -> Windows:
    """The readings that lie in [first_ns, last_ns).

    Args:
        sensor: what the reader takes the sensor for.
        quantum: the step of ``ticks.count``.
        counter: whether they are joules counted up.
        ticks: what was shown.
        guess_ns: (n,) where the reader believes the ticks.
        std_ns: (n,) how well.
        first_ns: begin of what is wanted.
        last_ns: its end.
    """
    at = guess_ns - (sensor.delay_s + 0.5 * sensor.latency_s) * 1e9
    period = sensor.period_s
    shown = ticks.count * quantum
    next_one = np.diff(ticks.index, prepend=ticks.index[:1] - 9) == 1
    since = np.concatenate([at[:1], at[:-1]])
    if counter:
        joules = np.diff(shown, prepend=shown[:1])
        std = np.full(len(at), quantum / math.sqrt(6.0))
        good = ~ticks.reset
        good[:1] = False
        begin = since
        if sensor.shape == "sampled":
            begin = at - sensor.window_s * 1e9
            scale = sensor.window_s / period
            joules, std = joules * scale, std * scale + sensor.noise_w * sensor.window_s
            good &= next_one  # of several samples in one sum nobody can tell which had what
    elif sensor.shape == "boxcar":
        whole = sensor.window_s == period
        begin = np.where(whole & next_one, since, at - sensor.window_s * 1e9)
        joules = shown * (at - begin) * 1e-9
        std = np.hypot(sensor.noise_w, quantum / math.sqrt(12.0)) * (at - begin) * 1e-9
        good = np.ones(len(at), dtype=bool)
    else:
        # What lags is told for one instant: a window of next to no length, whose answer lags too.
        # An edge in doubt matters by how fast the answer moves, not by what flows at the edge.
        begin = at - _INSTANT_NS
        joules = shown * (_INSTANT_NS * 1e-9)
        slope = np.diff(shown) / np.maximum(np.diff(at), 1.0)
        moved = math.sqrt(float(np.mean(slope * slope))) * std_ns if len(slope) else 0.0 * std_ns
        noise = np.hypot(math.hypot(sensor.noise_w, quantum / math.sqrt(12.0)), moved)
        std = noise * (_INSTANT_NS * 1e-9)
        std_ns = np.full(len(at), 1e-3)
        good = np.ones(len(at), dtype=bool)
    begin_ns, end_ns = np.rint(begin).astype(np.int64), np.rint(at).astype(np.int64)
    good &= (begin_ns >= first_ns) & (end_ns <= last_ns) & (end_ns > begin_ns)
    good &= np.maximum.accumulate(begin_ns) == begin_ns
    begin_ns, end_ns = begin_ns[good], end_ns[good]
    touch = begin_ns[1:] == end_ns[:-1]
    contiguous = True if touch.all() else (None if touch.any() else False)
    return Windows(begin_ns, end_ns, joules[good], std_ns[good], std[good], contiguous)
