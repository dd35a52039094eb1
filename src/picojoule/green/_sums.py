"""Sums over the runs of a study, in columns: a study may have 100,000 of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picojoule.green.model import Run
from picojoule.green.quantities import PROVENANCES, Dimension, Quantity, unit_of

_FIELDS = (
    "region", "device_name", "duration_s", "device_count", "energy_j", "energy_low_j",
    "energy_high_j", "energy_provenance", "energy_basis", "flops", "flops_provenance", "origin",
)  # fmt: skip
_J = unit_of("J")[0]
_FLOP = unit_of("FLOP")[0]
_S = unit_of("s")[0]

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]


class Names:
    """A column of names, each as the place of it among the few distinct ones."""

    def __init__(self, column: Sequence[str]) -> None:
        """Find the distinct names."""
        place = {name: i for i, name in enumerate(dict.fromkeys(column))}
        self.codes = np.fromiter(map(place.__getitem__, column), np.int64, len(column))
        self.distinct = tuple(place)

    def being(self, name: str) -> Mask:
        """Which rows have that name."""
        if name not in self.distinct:
            return np.zeros(self.codes.size, bool)
        return np.asarray(self.codes == self.distinct.index(name))

    def counts(self, among: Mask) -> dict[str, int]:
        """How many of the rows ``among`` have each name, most first."""
        many = np.bincount(self.codes[among], minlength=len(self.distinct)).tolist()
        found = [(name, n) for name, n in zip(self.distinct, many, strict=True) if n]
        return dict(sorted(found, key=lambda f: -f[1]))


class Columns:
    """The runs as columns. What is negative or infinite counts as unknown."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """Read the fields of every run once."""
        rows = tuple(runs)
        # Field by field: a tuple for each run would keep the garbage collector busy.
        told: dict[str, Any] = {f: list(map(attrgetter(f), rows)) for f in _FIELDS}
        self.count = len(rows)
        self.regions = Names(told["region"])
        self.devices = Names(told["device_name"])
        self.duration_s = _numbers(told["duration_s"])
        self.device_s = self.duration_s * _numbers(told["device_count"])
        self.energy_j = _numbers(told["energy_j"])
        self._low_j = np.fmin(_numbers(told["energy_low_j"]), self.energy_j)
        self._high_j = np.fmax(_numbers(told["energy_high_j"]), self.energy_j)
        self._energy_how = Names(told["energy_provenance"])
        self._energy_basis = Names(told["energy_basis"])
        self.flops = _numbers(told["flops"])
        self._flops_how = Names(told["flops_provenance"])
        self._time_how = Names(
            ["measured" if o == "recorded" else "imported" for o in told["origin"]]
        )

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


def _numbers(column: Sequence[float]) -> Numbers:
    out = np.asarray(column, dtype=np.float64)
    return np.where(np.isfinite(out) & (out >= 0), out, np.nan)
