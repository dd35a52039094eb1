"""The estimator for runs without an end: ``pj.LiveAttribution``, told a little at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from picojoule import _core
from picojoule.attribution import (
    DEFAULT_PRIOR_CV,
    Attribution,
    _classes,
    _floats,
    _spread,
    _times,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class LiveRates:
    """What ``LiveAttribution.rates()`` knows at the moment; estimates without their doubt.

    Attributes:
        rate: (K,) rate of each class while it runs alone, baseline included (W).
        baseline_rate: rate of time in which nothing runs; nan with ``baseline=False``.
        time_s: (K,) time of each class so far; concurrent spans each count. Exact.
        idle_s: time in which nothing ran. Exact.
        total: sum of all readings folded so far (J).
        readings: how many were folded.
        waiting: how many wait until all spans that touch them are known.
        spans_kept: how many spans are kept for readings to come.
    """

    rate: NDArray[np.float64]
    baseline_rate: float
    time_s: NDArray[np.float64]
    idle_s: float
    total: float
    readings: int
    waiting: int
    spans_kept: int


class LiveAttribution:
    """``pj.attribute`` for long runs: readings and spans are told as they come.

    They are folded into the normal equations of the same model and forgotten: memory is that of
    K x K numbers, the latest 512 readings and the spans that later readings may still touch,
    however long it runs. Totals (energy, time of classes, idle time) are exact sums over all of it,
    nothing fades.

    One rate a class over all time is assumed. What a reading has beyond it counts as process noise,
    and is credited to what ran in that reading in the share of the noise that is not error of its
    edges; so energies follow slow drift, rates are means. (Drift that goes along with a change of
    the mix, over the whole run, cannot be told from a difference of rates.) Other than in
    ``pj.attribute`` no lag of the sensor and no shape of drift is fitted, edges are not moved onto
    a regular clock, clocks that part are not found, and a reading has the weight of the noise as it
    was known when it was folded.

    The results depend on what was told and not on how it was cut into calls (up to rounding). An
    object may be used from several threads; calls wait for each other without the GIL.

    For a run with more kernels than a profile keeps one by one in memory (2^20), take one profile
    after the other, each begun before the last one ends, and tell of each what is new in it; see
    "Long runs" in the README.

    Args:
        n_classes: how many classes there are at least; more may come with any update.
        prior_rate: (n_classes,) expected rates; nan for none.
        prior_cv: (n_classes,) or scalar, their relative standard deviations; 0.3 if not given.
        gain_std: relative uncertainty of the meter's gain.
        baseline: whether time without any span has a rate of its own.

    Raises:
        ValueError: an argument is not what it must be; the message names it and the index.
    """

    __slots__ = ("_core", "_gain_std")

    def __init__(
        self,
        n_classes: int = 0,
        *,
        prior_rate: ArrayLike | None = None,
        prior_cv: ArrayLike | None = None,
        gain_std: float = 0.05,
        baseline: bool = True,
    ) -> None:
        import numpy as np

        count = int(n_classes)
        if count < 0:
            raise ValueError(f"n_classes must not be negative, got {n_classes!r}")
        rates = np.full(count, math.nan)
        if prior_rate is not None:
            count = max(count, np.size(prior_rate)) if n_classes == 0 else count
            rates = _spread("prior_rate", prior_rate, count, "one for each class")
        cvs = np.full(count, DEFAULT_PRIOR_CV)
        if prior_cv is not None:
            cvs = _spread("prior_cv", prior_cv, count, "one for each class")
            cvs = np.where(np.isnan(cvs), DEFAULT_PRIOR_CV, cvs)
        if not (gain_std >= 0.0 and math.isfinite(gain_std)):
            raise ValueError(f"gain_std must be a finite number >= 0, got {gain_std!r}")
        self._gain_std = float(gain_std)
        self._core = _core.LiveAttribution(count, rates, cvs, self._gain_std, bool(baseline))

    def update(
        self,
        begin_ns: ArrayLike = (),
        end_ns: ArrayLike = (),
        value: ArrayLike = (),
        span_begin_ns: ArrayLike = (),
        span_end_ns: ArrayLike = (),
        span_class: ArrayLike = (),
        *,
        edge_std_ns: ArrayLike = 0.0,
        value_std: ArrayLike = 0.0,
        contiguous: bool | None = None,
        complete_until_ns: int | None = None,
    ) -> None:
        """Tell new readings and new spans; each once.

        A reading is folded when all spans that touch it are known; until then it waits.

        Args:
            begin_ns: (n,) begin of each new reading's window, in order, also after earlier ones.
            end_ns: (n,) its end.
            value: (n,) quantity integrated over [begin, end).
            span_begin_ns: (m,) new spans, in any order; they may reach over windows to come. None
                may begin inside windows that are folded already.
            span_end_ns: (m,) their ends.
            span_class: (m,) integers from 0; a new one is a new class.
            edge_std_ns: standard deviation of window edges; scalar or (n,). 0: not known, found
                from the residuals.
            value_std: noise of values; scalar or (n,).
            contiguous: as in ``pj.attribute``; the first window may touch the last one of the call
                before.
            complete_until_ns: all spans that begin before this instant have been told. By default
                the end of the last window told. A last call with a later time and nothing else
                folds what still waits.

        Raises:
            ValueError: an argument is not what it must be; the message names it and the index, and
                nothing of the call was taken.
        """
        begins = _times("begin_ns", begin_ns)
        span_begins = _times("span_begin_ns", span_begin_ns)
        n = len(begins)
        self._core.update(
            begins,
            _times("end_ns", end_ns, n, "begin_ns"),
            _floats("value", value, n, "begin_ns"),
            span_begins,
            _times("span_end_ns", span_end_ns, len(span_begins), "span_begin_ns"),
            _classes(span_class, len(span_begins)),
            _spread("edge_std_ns", edge_std_ns, n, "scalar or one for each reading"),
            _spread("value_std", value_std, n, "scalar or one for each reading"),
            -1 if contiguous is None else int(bool(contiguous)),
            None if complete_until_ns is None else int(complete_until_ns),
        )

    @property
    def last_end_ns(self) -> int | None:
        """End of the last window told; None before the first."""
        return self._core.last_end_ns()

    def rates(self) -> LiveRates:
        """The rates as they are now, cheaply: for a display that is renewed each second.

        Each call improves on the last one's rates (non-negative coordinate descent), so that among
        many classes they lag a few calls behind ``result()``.
        """
        return LiveRates(**self._core.rates())

    def result(self, total: float | None = None) -> Attribution:
        """Everything ``pj.attribute`` tells, of the readings folded so far; ask it whenever needed.

        The accounted interval reaches from the first reading's begin to the end of the last one
        folded.

        Args:
            total: a measurement of that interval to which all parts must add up. By default the sum
                of the readings if they are contiguous.

        Raises:
            ValueError: no reading is folded yet, or ``total`` is not finite.
        """
        found = self._core.result(None if total is None else float(total))
        return Attribution(gain_std=self._gain_std, **found)
