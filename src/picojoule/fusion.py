"""Several series of one board in one attribution: ``pj.attribute_series``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from picojoule import _core
from picojoule.attribution import Attribution, attribute
from picojoule.sensor import SensorWindows, _spans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

#: How far series of one board may differ in gain (relative) and offset (W), before readings say.
_GAIN_STD = 0.1
_OFFSET_STD_W = 20.0
_ROUNDS = 50


@dataclass(frozen=True, slots=True, eq=False)
class SeriesAttribution:
    """What ``pj.attribute_series`` found.

    Attributes:
        board: of the board, by all its series.
        memory: of its memory, by that series alone; None without one. A part of the board's
            energy, never to be added to it.
        reference: the series whose scale all is in.
        gain: of each series, (value, std) relative to the reference, its own being (1, 0).
        offset_w: of each series against the reference, (value, std).
    """

    board: Attribution
    memory: Attribution | None
    reference: str
    gain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    offset_w: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def attribute_series(
    series: Mapping[str, SensorWindows],
    span_begin_ns: ArrayLike,
    span_end_ns: ArrayLike,
    span_class: ArrayLike,
    *,
    n_classes: int | None = None,
    memory: SensorWindows | None = None,
    prior_rate: ArrayLike | None = None,
    prior_cv: ArrayLike | None = None,
    total: tuple[int, int, float] | None = None,
    gain_std: float = 0.05,
    baseline: bool = True,
) -> SeriesAttribution:
    """Attribute the energy of one board by all its series at once: counter, instant, average.

    All series see the same power through windows of their own. Each has a gain and an offset
    against the reference, the first that is a counter (``shifted`` is false), or else the first:
    they are fitted by least squares together with rates common to all, taken out, and
    all windows go into one ``pj.attribute``, where series err independently of each other. This
    assumes that gains and offsets are constant, that they are known well enough afterwards (what
    doubt they leave is common to a series and not in the intervals), and that the sensors' noises
    have nothing in common. Where a counter is the reference and gapless, the result adds up to it.

    Args:
        series: windows of each (``pj.sensor_windows``), all with the same ``lag_s``.
        span_begin_ns: (m,) as in ``pj.attribute``, like all below of which nothing else is said.
        span_end_ns: (m,).
        span_class: (m,) integers 0..K-1.
        n_classes: K.
        memory: windows of the memory's power: another quantity, attributed to the same spans by
            itself, with no priors.
        prior_rate: (K,) of the board.
        prior_cv: (K,) or scalar.
        total: (begin_ns, end_ns, joules); by default the sum of a reference that is a gapless
            counter.
        gain_std: relative uncertainty of the reference's gain.
        baseline: whether time without any span has a rate of its own.

    Raises:
        ValueError: an argument is not what it must be; the message names it and the index.
    """
    import numpy as np

    if not series:
        raise ValueError("series is empty")
    for name, windows in series.items():
        if not len(windows.begin_ns):
            raise ValueError(f"series[{name!r}] has no readings")
    lags = {name: w.lag_s for name, w in series.items()}
    if len(set(lags.values())) > 1:
        raise ValueError(f"series must have the same lag_s, got {lags}: attribute them one by one")
    begins, ends, classes = _spans(span_begin_ns, span_end_ns, span_class)
    count = n_classes
    if count is None:
        count = int(classes.max()) + 1 if len(classes) else 0
    reference = next((n for n, w in series.items() if not w.shifted), next(iter(series)))
    names = [reference, *(n for n in series if n != reference)]
    shares = [_seconds(series[n], begins, ends, classes, count, baseline) for n in names]
    gains, offsets = _scales([series[n] for n in names], shares)
    stacked = [
        _rescaled(series[n], g[0], o[0]) for n, g, o in zip(names, gains, offsets, strict=True)
    ]
    first = series[reference]
    gapless = not first.shifted and bool((first.begin_ns[1:] == first.end_ns[:-1]).all())
    if total is None and gapless:
        total = (int(first.begin_ns[0]), int(first.end_ns[-1]), float(first.value.sum()))
    board = attribute(
        np.concatenate([w.begin_ns for w in stacked]),
        np.concatenate([w.end_ns for w in stacked]),
        np.concatenate([w.value for w in stacked]),
        begins,
        ends,
        classes,
        n_classes=count,
        edge_std_ns=np.concatenate([w.edge_std_ns for w in stacked]),
        value_std=np.concatenate([w.value_std for w in stacked]),
        lag_s=first.lag_s,
        prior_rate=prior_rate,
        prior_cv=prior_cv,
        total=total,
        gain_std=gain_std,
        baseline=baseline,
        shifted=np.repeat([w.shifted for w in stacked], [len(w.value) for w in stacked]),
        series=np.repeat(np.arange(len(stacked)), [len(w.value) for w in stacked]),
    )
    of_memory = None
    if memory is not None:
        if not len(memory.begin_ns):
            raise ValueError("memory has no readings")
        of_memory = attribute(
            *memory[:3],
            begins,
            ends,
            classes,
            n_classes=count,
            gain_std=gain_std,
            baseline=baseline,
            **memory.options,
        )
    return SeriesAttribution(
        board=board,
        memory=of_memory,
        reference=reference,
        gain=dict(zip(names, gains, strict=True)),
        offset_w=dict(zip(names, offsets, strict=True)),
    )


def _seconds(
    windows: SensorWindows,
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    classes: NDArray[np.int32],
    count: int,
    baseline: bool,
) -> NDArray[np.float64]:
    """(n, K + 1) of each class in each window, the last being time in which nothing ran."""
    import numpy as np

    order = np.argsort(begins, kind="stable")
    latest = np.maximum.accumulate(ends[order]) if len(order) else ends
    starts = np.flatnonzero(np.r_[True, begins[order][1:] > latest[:-1]]) if len(order) else order
    stops = np.r_[starts[1:] - 1, len(order) - 1] if len(order) else order
    busy_at, busy_to = begins[order][starts], latest[stops]
    at = (windows.begin_ns, windows.end_ns)
    seconds = _core.class_seconds(*at, begins, ends, classes, count, windows.lag_s)
    one = np.zeros(len(busy_at), dtype=np.int32)
    busy = _core.class_seconds(*at, busy_at, busy_to, one, 1, windows.lag_s)
    idle = (windows.end_ns - windows.begin_ns)[:, None] * 1e-9 - busy
    return np.concatenate([seconds, idle * float(baseline)], axis=1)


def _scales(
    windows: list[SensorWindows], shares: list[NDArray[np.float64]]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Gain and offset of each series against the first, with rates that all have in common."""
    import numpy as np

    lengths = [(w.end_ns - w.begin_ns) * 1e-9 for w in windows]
    gains = [(1.0, 0.0)] * len(windows)
    offsets = [(0.0, 0.0)] * len(windows)
    if len(windows) == 1:
        return gains, offsets
    mean = float(windows[0].value.sum() / lengths[0].sum())
    width, count = shares[0].shape[1], len(windows)
    noises = [
        max(1e-9, 0.1 * float(np.std(w.value / s))) for w, s in zip(windows, lengths, strict=True)
    ]
    # Unknowns: rates, then gain and offset of each series but the first. Priors hold what no
    # window tells.
    x = np.concatenate([np.full(width, mean), np.tile([1.0, 0.0], count - 1)])
    before = x.copy()
    loose = np.concatenate(
        [np.full(width, 3.0 * abs(mean) + 1e-9), np.tile([_GAIN_STD, _OFFSET_STD_W], count - 1)]
    )
    h = np.diag(loose**-2)
    for _ in range(_ROUNDS):
        h = np.diag(loose**-2)
        b = (before - x) / loose**2
        for i, w in enumerate(windows):
            at = width + 2 * (i - 1)
            gain, offset = (1.0, 0.0) if i == 0 else (x[at], x[at + 1])
            told = shares[i] @ x[:width]
            off = (w.value - gain * told - offset * lengths[i]) / lengths[i]
            slope = np.zeros((len(off), len(x)))
            slope[:, :width] = gain * shares[i] / lengths[i][:, None]
            if i > 0:
                slope[:, at] = told / lengths[i]
                slope[:, at + 1] = 1.0
            h += slope.T @ slope / noises[i] ** 2
            b += slope.T @ off / noises[i] ** 2
            noises[i] = max(1e-6 * abs(mean), 1e-9, float(np.sqrt(np.mean(off**2))))
        step = np.linalg.solve(h, b)
        x = x + step
        if float(np.abs(step / loose).max()) < 1e-7:
            break
    std = np.sqrt(np.diag(np.linalg.inv(h)))
    for i in range(1, count):
        at = width + 2 * (i - 1)
        gains[i] = (float(x[at]), float(std[at]))
        offsets[i] = (float(x[at + 1]), float(std[at + 1]))
    return gains, offsets


def _rescaled(w: SensorWindows, gain: float, offset_w: float) -> SensorWindows:
    value = (w.value - offset_w * (w.end_ns - w.begin_ns) * 1e-9) / gain
    return w._replace(value=value, value_std=w.value_std / gain)
