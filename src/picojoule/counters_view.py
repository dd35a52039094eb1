"""What a device did while its joules were measured: clocks, throttling, how busy its units were.

``profile.counters`` maps ``"gpu:0/sm_clock"`` to a ``Counter``. None of these is an energy, and no
total depends on them; how a device's joules fall to what ran on it may move with its clocks and
temperatures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Counter:
    """One series that is not an energy.

    Attributes:
        name: ``"domain/field"``, e.g. ``"gpu:0/tensor_util"``.
        meter: which meter told it.
        domain: of what, as in ``Profile.energy``.
        field: which series of that domain.
        quantity: ``"ratio"``, ``"rate"``, ``"frequency"``, ``"temperature"``, ``"flags"`` or
            ``"count"``.
        unit: of ``value``: ``"1"``, ``"B/s"``, ``"Hz"``, ``"°C"``, ``"mask"``, and for counts what
            is counted (``"ns"``, ``"FLOP"``, ``"B"``, or ``"1"``).
        provenance: how it was got, as for an ``Estimate``.
        time_ns: shape (n,), i8, ns of CLOCK_MONOTONIC, the first at the profile's begin.
        value: shape (n,), f8; nan where it is not known. ``value[i]`` holds from ``time_ns[i]`` to
            ``time_ns[i + 1]``, the last one to ``end_ns``. A ratio or rate is the mean over that
            time. Of a count it is what was counted since the profile's begin until ``time_ns[i]``,
            and the last point is at ``end_ns``.
        end_ns: the profile's end.
        delta: what a count rose by from begin to end; nan if not known, and for all but counts.
        note: what a reader must know.
    """

    name: str
    meter: str
    domain: str
    field: str
    quantity: str
    unit: str
    provenance: str
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    end_ns: int
    delta: float = math.nan
    note: str = ""

    @property
    def known_s(self) -> float:
        """Seconds of the profile for which the value is known; all or nothing for a count."""
        if self.quantity == "count":
            whole = (self.end_ns - int(self.time_ns[0])) * 1e-9 if len(self.time_ns) else 0.0
            return 0.0 if math.isnan(self.delta) else whole
        return float(self._seconds()[~np.isnan(self.value)].sum())

    @property
    def mean(self) -> float:
        """Mean over the time for which it is known; nan for flags and counts, and if unknown."""
        if self.quantity in ("flags", "count"):
            return math.nan
        known = ~np.isnan(self.value)
        seconds = self._seconds()[known]
        whole = seconds.sum()
        return float((self.value[known] * seconds).sum() / whole) if whole > 0 else math.nan

    @property
    def least(self) -> float:
        """The smallest known value; nan for flags and counts, and if unknown."""
        known = self._plain()
        return float(known.min()) if len(known) else math.nan

    @property
    def most(self) -> float:
        """The largest known value; nan for flags and counts, and if unknown."""
        known = self._plain()
        return float(known.max()) if len(known) else math.nan

    def share(self, mask: int) -> float:
        """Of the known time, the share in which any bit of ``mask`` was set.

        Raises:
            ValueError: this is no bit mask.
        """
        if self.quantity != "flags":
            raise ValueError(f"{self.name} is a {self.quantity}, not a bit mask")
        known = ~np.isnan(self.value)
        seconds = self._seconds()[known]
        set_ = (self.value[known].astype("u8") & np.uint64(mask)) != 0
        whole = seconds.sum()
        return float(seconds[set_].sum() / whole) if whole > 0 else math.nan

    def _seconds(self) -> NDArray[np.float64]:
        edges = np.append(self.time_ns, self.end_ns)
        return np.diff(edges).astype("f8") * 1e-9

    def _plain(self) -> NDArray[np.float64]:
        """The known values of a gauge."""
        if self.quantity in ("flags", "count"):
            return np.empty(0)
        return self.value[~np.isnan(self.value)]
