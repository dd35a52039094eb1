"""Sums over the runs of a study, in columns: a study may have 100,000 of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from picojoule.green.columns import Columns, Mask, Names, Numbers
from picojoule.green.model import Run, columns_of
from picojoule.green.quantities import PROVENANCES, Dimension, Quantity, unit_of

_J = unit_of("J")[0]
_FLOP = unit_of("FLOP")[0]
_S = unit_of("s")[0]


class Sums:
    """Sums over runs. What is negative or infinite counts as unknown."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """Read the fields of every run once."""
        columns = columns_of(runs)
        self.count = columns.size
        self.regions = columns.names("region")
        self.devices = columns.names("device_name")
        self.duration_s = _numbers(columns, "duration_s")
        self.device_s = self.duration_s * _numbers(columns, "device_count")
        self.energy_j = _numbers(columns, "energy_j")
        self._low_j = np.fmin(_numbers(columns, "energy_low_j"), self.energy_j)
        self._high_j = np.fmax(_numbers(columns, "energy_high_j"), self.energy_j)
        self._energy_how = columns.names("energy_provenance")
        self._energy_basis = columns.names("energy_basis")
        self.flops = _numbers(columns, "flops")
        self._flops_how = columns.names("flops_provenance")
        origins = columns.names("origin")
        recorded = origins.being("recorded")
        self._time_how = Names(["measured" if r else "imported" for r in recorded.tolist()])

    def energy(self, among: Mask | None = None) -> Quantity:
        """Joules of the runs ``among``; at least those that are known, if some are not."""
        ends = (self._low_j, self._high_j)
        how = self._energy_how
        return self._sum(self.energy_j, _J, "energy", how, among, ends, self._energy_basis)

    def flop(self, among: Mask | None = None) -> Quantity:
        """Model FLOPs of the runs."""
        return self._sum(self.flops, _FLOP, "FLOPs", self._flops_how, among)

    def device_time(self, among: Mask | None = None) -> Quantity:
        """Wall time x devices of the runs."""
        what = "time or number of devices"
        return self._sum(self.device_s, _S, what, self._time_how, among)

    def wall(self) -> Quantity:
        """Wall time of the runs, one after another."""
        return self._sum(self.duration_s, _S, "time", self._time_how, None)

    def longest(self) -> Quantity:
        """Wall time of the longest run: that of the study, had all of them run at once."""
        summed = self.wall()
        known = self.duration_s[~np.isnan(self.duration_s)]
        if not known.size:
            return summed
        longest = float(known.max())
        if known.size < self.count:
            return Quantity(math.nan, _S, longest, math.nan, summed.provenance, summed.basis)
        return Quantity(longest, _S, provenance=summed.provenance, basis="longest run")

    def with_energy_and_flops(self) -> Mask:
        """Which runs have both."""
        return np.asarray(~np.isnan(self.energy_j) & (self.flops >= 1))

    def _sum(
        self,
        values: Numbers,
        dimension: Dimension,
        what: str,
        how: Names,
        among: Mask | None,
        ends: tuple[Numbers, Numbers] | None = None,
        bases: Names | None = None,
    ) -> Quantity:
        chosen = np.ones(self.count, bool) if among is None else among
        known = chosen & ~np.isnan(values)
        many, told = int(chosen.sum()), int(known.sum())
        if not told:
            why = [b for b in bases.counts(chosen) if b] if bases else []
            said = f"{what} of none of the {many} runs is known" if many else "there are no runs"
            said += f" ({why[0]})" if len(why) == 1 else ""
            return Quantity(math.nan, dimension, provenance="estimated", basis=said)
        kinds = how.counts(known)
        worst = max((k for k in kinds if k in PROVENANCES), key=PROVENANCES.index, default="")
        said = ", ".join(f"{n} {k}" for k, n in kinds.items()) + (" run" if told == 1 else " runs")
        why = [b for b in bases.counts(known) if b] if bases else []
        said += f" ({why[0]})" if len(why) == 1 else ""
        summed = float(values[known].sum())
        low, high = ends or (values, values)
        least, most = float(low[known].sum()), float(high[known].sum())
        if told < many:
            said = f"{what} of {many - told} of {many} runs unknown; the others: {said}"
            return Quantity(math.nan, dimension, least, math.nan, worst or "estimated", said)
        return Quantity(summed, dimension, least, most, worst or "estimated", f"{what}: {said}")


def _numbers(columns: Columns, name: str) -> Numbers:
    out = columns.numbers(name)
    return np.where(np.isfinite(out) & (out >= 0), out, np.nan)
