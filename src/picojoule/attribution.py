"""Which class of spans used how much: ``pj.attribute`` on arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from picojoule import _core

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

#: Relative standard deviation of a prior that was given without one.
DEFAULT_PRIOR_CV = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """How a measured quantity falls to classes of spans. Joules and watts, or what was given.

    The accounted interval is that of ``total``, or else reaches from the first to the last reading.

    Attributes:
        rate: (K,) mean rate of each class while it ran, baseline included (W).
        rate_std: (K,) its standard deviation, the meter's gain left out.
        energy: (K,) of each class in the accounted interval (J).
        energy_std: (K,) standard deviation, the meter's gain left out.
        cov: (K, K) covariance of ``energy``.
        baseline_rate: rate of time in which nothing ran; nan with ``baseline=False``.
        baseline_energy: energy of that time; 0 with ``baseline=False``.
        groups: index arrays of classes of which only the sum is known: their split is the priors'.
        identified: (K,) whether the readings themselves determine the class.
        residual: total less the sum of all parts, before they were reconciled with it. Where no
            total is known (gapped readings, no ``total``) the sum of what the readings had more
            than the model.
        total: what the parts add up to: the given ``total``; the sum of contiguous readings; or,
            with neither, the sum of the parts.
        unattributed: total less the parts, after.
        gain_std: relative uncertainty of the meter's scale, for ``interval(absolute=True)``.
        time_s: (K,) time of each class in the accounted interval; concurrent spans each count.
        idle_s: time in which nothing ran.
        noise: what the estimator chose by evidence: ``edge_std_ns``, ``process`` (J^2/s beyond
            ``value_std``), ``prior_scale``, ``contrast``, ``sharing``, ``drift`` and others.
            ``context`` above 0: windows that hold much the same differ from what the rates say by
            so much (relative standard deviation), alike each time: what classes draw depends on
            what ran before (a power cap, a governor), or the windows are not as told. All
            uncertainties are wider for that.
            ``clock_terms`` above 0: the clock of the readings is not that of the spans; it is
            behind by ``clock_offset_ns`` in the middle, and ``clock_rate_ppm`` slower on average.
    """

    rate: NDArray[np.float64]
    rate_std: NDArray[np.float64]
    energy: NDArray[np.float64]
    energy_std: NDArray[np.float64]
    cov: NDArray[np.float64]
    baseline_rate: float
    baseline_rate_std: float
    baseline_energy: float
    baseline_energy_std: float
    groups: list[NDArray[np.int64]]
    identified: NDArray[np.bool_]
    residual: float
    total: float
    unattributed: float
    time_s: NDArray[np.float64]
    idle_s: float
    gain_std: float = 0.05
    noise: Mapping[str, float] = field(default_factory=dict)

    def interval(self, level: float = 0.95, absolute: bool = False) -> NDArray[np.float64]:
        """Interval of each class's energy that holds the truth with probability ``level``.

        Args:
            level: between 0 and 1, exclusive.
            absolute: include the uncertainty of the meter's gain; without it intervals compare
                classes measured by one meter.

        Returns:
            (K, 2) low and high, low never below 0.

        Raises:
            ValueError: ``level`` is not between 0 and 1.
        """
        import numpy as np

        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be between 0 and 1, got {level!r}")
        z = NormalDist().inv_cdf((1.0 + level) / 2.0)
        std = self.energy_std
        if absolute:
            std = np.hypot(std, self.gain_std * self.energy)
        return np.stack([np.maximum(0.0, self.energy - z * std), self.energy + z * std], axis=1)


def attribute(
    begin_ns: ArrayLike,
    end_ns: ArrayLike,
    value: ArrayLike,
    span_begin_ns: ArrayLike,
    span_end_ns: ArrayLike,
    span_class: ArrayLike,
    *,
    n_classes: int | None = None,
    edge_std_ns: ArrayLike = 0.0,
    value_std: ArrayLike = 0.0,
    lag_s: float = 0.0,
    contiguous: bool | None = None,
    prior_rate: ArrayLike | None = None,
    prior_cv: ArrayLike | None = None,
    total: tuple[int, int, float] | None = None,
    gain_std: float = 0.05,
    baseline: bool = True,
    shifted: ArrayLike = False,
    series: ArrayLike | None = None,
    drift: Sequence[tuple[ArrayLike, ArrayLike]] = (),
) -> Attribution:
    """Split readings of an additive quantity among the spans that ran meanwhile.

    Solves ``value[k] = sum_j rate[j] * (time of class j in window k) + noise`` for rates >= 0 by
    generalised least squares with priors. The noise model knows that neighbouring windows of one
    counter share an edge; edges of a regular clock are placed together; what is not given (size of
    edge errors, process noise, slow drift, how far priors are off) is found from the residuals by
    evidence. So is a clock of the readings that is not that of the spans, where at least 48
    readings (of a sensor without lag) speak of it: an offset, a rate and steps, fitted together
    with the rates and told in ``noise``. The result adds up to the total.

    When n spans run at once, the rate is the baseline plus n^-a times what each draws above it
    alone, with 0 <= a <= 1 found from the readings; each is credited its part of that and 1/n of
    the baseline.

    Args:
        begin_ns: (n,) begin of each reading's window, in order.
        end_ns: (n,) its end.
        value: (n,) quantity integrated over [begin, end): J, FLOP, bytes.
        span_begin_ns: (m,) spans, in any order; they may overlap.
        span_end_ns: (m,) their ends; a span of no length counts as nothing.
        span_class: (m,) integers 0..K-1.
        n_classes: K; by default one more than the highest class.
        edge_std_ns: standard deviation of window edges; scalar or (n,), of the end (of both edges
            where windows do not touch). 0: not known, found from the residuals.
        value_std: noise of values; scalar or (n,).
        lag_s: time constant of a first-order lag of the sensor.
        contiguous: True: ``end_ns[k]`` is ``begin_ns[k + 1]``, and its error is common to both.
            None: found out for each edge. False: no window shares an edge.
        prior_rate: (K,) expected rates; nan for none.
        prior_cv: (K,) or scalar, their relative standard deviations; 0.3 if not given.
        total: (begin_ns, end_ns, value) of a measurement to which all parts must add up.
        gain_std: relative uncertainty of the meter's gain.
        baseline: whether time without any span has a rate of its own.
        shifted: True for a gauge (``pj.sensor_windows``): windows are of a length that the sensor
            keeps, so that both edges of one err alike by ``edge_std_ns``, and share no edge with
            their neighbours, whatever ``contiguous`` says; scalar or (n,).
        series: (n,) integers that say of which series each reading is, where there are several of
            one quantity and one gain (``pj.attribute_series`` finds their gains). The readings of
            a series are neighbours, in order; windows of different series may overlap, share no
            edge and err independently. The first series should be the one that covers the time.
        drift: (t_ns, value) series of what all rates may slowly move with: a temperature, a clock.
            Each has one coefficient, found from the readings: a rate is multiplied by 1 plus that
            times the series' departure from its mean (relative standard deviation of that product
            beforehand 10 %). Times in order; linear between them, constant beyond. Drift that no
            series explains is looked for in the residuals all the same.

    Raises:
        ValueError: an argument is not what it must be; the message names it and the index.
    """
    import numpy as np

    begins = _times("begin_ns", begin_ns)
    ends = _times("end_ns", end_ns, len(begins), "begin_ns")
    values = _floats("value", value, len(begins), "begin_ns")
    span_begins = _times("span_begin_ns", span_begin_ns)
    span_ends = _times("span_end_ns", span_end_ns, len(span_begins), "span_begin_ns")
    classes = _classes(span_class, len(span_begins))
    if n_classes is None:
        count = int(classes.max()) + 1 if len(classes) else 0
        if prior_rate is not None:
            count = max(count, np.size(prior_rate))
    else:
        count = int(n_classes)
        if count < 0:
            raise ValueError(f"n_classes must not be negative, got {n_classes!r}")
    rates = np.full(count, math.nan)
    if prior_rate is not None:
        rates = _spread("prior_rate", prior_rate, count, "one for each class")
    cvs = np.full(count, DEFAULT_PRIOR_CV)
    if prior_cv is not None:
        cvs = _spread("prior_cv", prior_cv, count, "one for each class")
        cvs = np.where(np.isnan(cvs), DEFAULT_PRIOR_CV, cvs)
    if not (lag_s >= 0.0 and math.isfinite(lag_s)):
        raise ValueError(f"lag_s must be a finite number >= 0, got {lag_s!r}")
    if not (gain_std >= 0.0 and math.isfinite(gain_std)):
        raise ValueError(f"gain_std must be a finite number >= 0, got {gain_std!r}")
    if total is not None:
        try:
            total = (int(total[0]), int(total[1]), float(total[2]))
        except (TypeError, ValueError, IndexError, OverflowError):
            raise ValueError(f"total must be (begin_ns, end_ns, value), got {total!r}") from None
    found: dict[str, Any] = _core.attribute(
        begins,
        ends,
        values,
        span_begins,
        span_ends,
        classes,
        count,
        _spread("edge_std_ns", edge_std_ns, len(begins), "scalar or one for each reading"),
        _spread("value_std", value_std, len(begins), "scalar or one for each reading"),
        float(lag_s),
        -1 if contiguous is None else int(bool(contiguous)),
        rates,
        cvs,
        total,
        float(gain_std),
        bool(baseline),
        _spread("shifted", shifted, len(begins), "scalar or one for each reading").astype(np.uint8),
        _series(series, len(begins)),
        _drift(drift),
        0,
    )
    return Attribution(gain_std=float(gain_std), **found)


def _array(name: str, given: ArrayLike, length: int | None, like: str) -> NDArray[Any]:
    import numpy as np

    array = np.asarray(given)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not {array.ndim}")
    if length is not None and len(array) != length:
        raise ValueError(f"{name} has {len(array)} elements, {like} has {length}")
    return array


def _times(
    name: str, given: ArrayLike, length: int | None = None, like: str = ""
) -> NDArray[np.int64]:
    import numpy as np

    array = _array(name, given, length, like)
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            i = int(np.flatnonzero(~finite)[0])
            raise ValueError(f"{name}[{i}] is {array[i]}, not a time in nanoseconds")
        array = np.rint(array)
    elif array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"{name} must be integers (nanoseconds), not {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _floats(name: str, given: ArrayLike, length: int, like: str) -> NDArray[np.float64]:
    import numpy as np

    return np.ascontiguousarray(_array(name, given, length, like), dtype=np.float64)


def _classes(given: ArrayLike, length: int) -> NDArray[np.int32]:
    import numpy as np

    array = _array("span_class", given, length, "span_begin_ns")
    if array.dtype.kind not in "iu":
        if array.size == 0:
            return np.empty(0, dtype=np.int32)
        wrong = np.flatnonzero(~(np.asarray(array, dtype=np.float64) % 1 == 0))
        if len(wrong):
            raise ValueError(f"span_class[{int(wrong[0])}] is {array[wrong[0]]}, not an integer")
    if array.size and (int(array.min()) < 0 or int(array.max()) > 2**31 - 2):
        i = int(np.flatnonzero((array < 0) | (array > 2**31 - 2))[0])
        raise ValueError(f"span_class[{i}] is {array[i]}, not one of 0..K-1")
    return np.ascontiguousarray(array, dtype=np.int32)


def _series(given: ArrayLike | None, length: int) -> NDArray[np.int32]:
    import numpy as np

    if given is None:
        return np.zeros(length, dtype=np.int32)
    array = _array("series", given, length, "begin_ns")
    if array.dtype.kind not in "iu":
        raise ValueError(f"series must be integers, not {array.dtype}")
    starts = np.flatnonzero(np.diff(array)) + 1
    seen = array[np.concatenate([[0], starts])] if length else array
    for i, at in enumerate(starts):
        if array[at] in seen[: i + 1]:
            raise ValueError(
                f"series[{int(at)}] is {array[at]} again: readings of one are neighbours"
            )
    return np.ascontiguousarray(array, dtype=np.int32)


def _drift(
    given: Sequence[tuple[ArrayLike, ArrayLike]],
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    import numpy as np

    out = []
    for i, pair in enumerate(given):
        try:
            t, value = pair
        except (TypeError, ValueError):
            raise ValueError(f"drift[{i}] must be a pair of times and values") from None
        times = _times(f"drift[{i}] times", t)
        values = _floats(f"drift[{i}] values", value, len(times), f"drift[{i}] times")
        if not len(times):
            raise ValueError(f"drift[{i}] is empty")
        late = np.flatnonzero(np.diff(times) <= 0)
        if len(late):
            k = int(late[0]) + 1
            raise ValueError(f"drift[{i}] times must ascend: [{k}] is not after [{k - 1}]")
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            k = int(wrong[0])
            raise ValueError(f"drift[{i}] values[{k}] is {values[k]}; leave unknown values out")
        out.append((times, values))
    return out


def _spread(name: str, given: ArrayLike, length: int, what: str) -> NDArray[np.float64]:
    import numpy as np

    array = np.asarray(given, dtype=np.float64)
    if array.ndim == 0:
        return np.full(length, float(array))
    if array.shape != (length,):
        raise ValueError(f"{name} must be {what}: {length}, not of shape {array.shape}")
    return np.ascontiguousarray(array)
