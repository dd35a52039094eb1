"""One cost of each run, as arrays: what all analyses of ``picojoule.green`` add up and compare.

All kinds of cost are proportional to joules, device-seconds or FLOPs of a run, so one factor is
asked for each region, not for each run: a study of 100,000 runs takes a fraction of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.errors import UsageError
from picojoule.green import carbon, factors, money
from picojoule.green.columns import Columns, Names
from picojoule.green.model import Run, Study, columns_of
from picojoule.green.places import UnknownPlaceError
from picojoule.green.quantities import PROVENANCES, Quantity, quantity, unit_of, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: kind -> unit that it is told in. Money has the currency of the study's price.
KINDS = {"energy": "kWh", "co2e": "kg", "money": "", "hours": "h", "flops": "FLOP"}


@dataclass(frozen=True, slots=True)
class Costs:
    """One kind of cost of each of n runs.

    Attributes:
        kind: one of ``KINDS``.
        unit: base unit of the arrays ("J", "g", "s", "FLOP" or a currency).
        value: float64, shape (n,), in ``unit``; nan where unknown.
        low: lower ends of their ranges.
        high: upper ends.
        provenance: how the least trustworthy of the known ones was got.
        basis: what they rest on.
        why_unknown: why some or all are not known; "" if all are.
    """

    kind: str
    unit: str
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    provenance: str
    basis: str
    why_unknown: str = ""

    def sum(self, mask: NDArray[np.bool_] | None = None) -> Quantity:
        """Sum over the runs in ``mask``, unknown with its reason if one of them is."""
        chosen = np.ones(len(self.value), bool) if mask is None else mask
        if np.isnan(self.value[chosen]).any():
            # What is known of it is still a lower bound.
            least = self.known_sum(chosen)
            bound = least.low if least.known and least.low > 0 else math.nan
            return replace(unknown(self.unit, self.why_unknown), low=bound)
        return self.known_sum(chosen)

    def known_sum(self, mask: NDArray[np.bool_] | None = None) -> Quantity:
        """Sum over those runs in ``mask`` that have a cost, a lower bound where others have not."""
        chosen = ~np.isnan(self.value)
        if mask is not None:
            if mask.any() and not (chosen & mask).any():
                return unknown(self.unit, self.why_unknown)
            chosen = chosen & mask
        elif len(self.value) and not chosen.any():
            return unknown(self.unit, self.why_unknown)
        return Quantity(
            float(self.value[chosen].sum()),
            unit_of(self.unit)[0],
            float(self.low[chosen].sum()),
            float(self.high[chosen].sum()),
            self.provenance,
            self.basis,
        )


def of(
    runs: Study | Sequence[Run], kind: str = "energy", settings: Mapping[str, Any] | None = None
) -> Costs:
    """The cost of each run of ``runs``.

    Args:
        runs: a study, or runs in order.
        kind: "energy" (IT equipment), "co2e", "money", "hours" (of devices) or "flops".
        settings: of the study, see ``footprint.SETTINGS``; None takes those of ``runs`` if it is
            a ``Study``.

    Raises:
        UsageError: an unknown ``kind``, or two prices at once.
    """
    if kind not in KINDS:
        raise UsageError(f"cost must be one of {', '.join(KINDS)}, not {kind!r}")
    told = settings if settings is not None else getattr(runs, "settings", {})
    columns = columns_of(runs)
    if kind == "energy":
        return _energy(columns)
    if kind == "hours":
        return _hours(columns)
    if kind == "flops":
        flops = columns.numbers("flops")
        how = _worst_of(columns.names("flops_provenance"), ~np.isnan(flops))
        return _plain("flops", "FLOP", flops, how, "model FLOPs")
    if kind == "co2e":
        return _co2e(columns, told)
    return _money(columns, told)


def scaled_sum(costs: Costs, factor: NDArray[np.float64], how: str) -> Quantity:
    """Sum of ``costs``, each times its ``factor``; "modelled", as no such run was made."""
    table = Costs(
        costs.kind,
        costs.unit,
        costs.value * factor,
        costs.low * factor,
        costs.high * factor,
        costs.provenance,
        costs.basis,
        costs.why_unknown,
    )
    out = table.sum()
    if not out.known or bool((factor == 1.0).all()):
        return out
    return out.because(f"{out.basis}; scaled: {how}", "modelled")


def timed_by(runs: Sequence[Run]) -> str:
    """Provenance of durations: picojoule's own clock, or what another tool's file says."""
    return _timed_by(columns_of(runs))


def _timed_by(columns: Columns) -> str:
    recorded = columns.names("origin").distinct in ((), ("recorded",))
    return "measured" if recorded else "imported"


def _energy(columns: Columns) -> Costs:
    value = columns.numbers("energy_j")
    low, high = columns.numbers("energy_low_j"), columns.numbers("energy_high_j")
    low, high = np.where(np.isnan(low), value, low), np.where(np.isnan(high), value, high)
    basis = "energy of the IT equipment"
    wrong = (low > value * (1 + 1e-9)) | (high < value * (1 - 1e-9))
    if wrong.any():
        one = columns.at("uid", [int(np.argmax(wrong))])[0][:8]
        basis += (
            f"; ranges of {int(wrong.sum())} runs ({one}, ...) did not hold their value: widened"
        )
        low, high = np.minimum(low, value), np.maximum(high, value)
    how = _worst_of(columns.names("energy_provenance"), ~np.isnan(value))
    return Costs(
        "energy", "J", value, low, high, how, basis,
        _why(value, "energy", columns.column("energy_basis")),
    )  # fmt: skip


def _hours(columns: Columns) -> Costs:
    seconds = columns.numbers("duration_s") * columns.numbers("device_count")
    return _plain("hours", "s", seconds, _timed_by(columns), "wall time x devices")


def _plain(kind: str, unit: str, value: NDArray[np.float64], provenance: str, basis: str) -> Costs:
    names = {"hours": "device-hours", "flops": "FLOPs"}
    return Costs(kind, unit, value, value, value, provenance, basis, _why(value, names[kind]))


def _co2e(columns: Columns, told: Mapping[str, Any]) -> Costs:
    def factor(region: str) -> Quantity:
        try:
            energy = carbon.facility(
                quantity(1.0, "kWh"),
                region=region or None,
                pue=told.get("pue"),
                personal=bool(told.get("personal")),
                tables=told.get("tables"),
            )
            return energy * factors.chosen(
                region or None,
                told.get("carbon_factor"),
                told.get("mix"),
                tables=told.get("tables"),
                setting=True,
            )
        except UnknownPlaceError as why:
            return unknown("g", str(why))

    return _scaled(_energy(columns), "co2e", "g", _regions(columns, told), factor, 3.6e6)


def _facility(columns: Columns, told: Mapping[str, Any]) -> Costs:
    """Energy times PUE: a tariff is paid for the whole facility."""

    def factor(region: str) -> Quantity:
        try:
            return factors.pue(
                region or None,
                given=told.get("pue"),
                personal=bool(told.get("personal")),
                tables=told.get("tables"),
            )
        except UnknownPlaceError as why:
            return unknown("", str(why))

    return _scaled(_energy(columns), "energy", "J", _regions(columns, told), factor, 1.0)


def _regions(columns: Columns, told: Mapping[str, Any]) -> Names:
    """Where each run ran, "" if nobody said."""
    shared = str(told.get("region") or "")
    if told.get("everywhere"):
        return Names([shared] * columns.size)
    return columns.names("region").renamed(lambda own: own or shared)


def _money(columns: Columns, told: Mapping[str, Any]) -> Costs:
    ways = [k for k in ("price_per_device_hour", "vendor", "price_per_kwh") if told.get(k)]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(f'{w}=' for w in ways)} are two prices; say one of them")
    if not ways:
        nothing = np.full(columns.size, math.nan)
        why = (
            "no price: say price_per_device_hour='2 USD/h', vendor='...' or "
            "price_per_kwh='0.25 EUR/kWh'"
        )
        return Costs("money", "USD", nothing, nothing, nothing, "estimated", "", why)
    if ways[0] == "vendor":

        def price_of(device: str) -> Quantity:
            if not device:
                return unknown("USD/h", "device of some runs not named")
            return money.price_of(
                device,
                vendor=told["vendor"],
                location=told.get("price_location"),
                term=told.get("price_term", "on-demand"),
                tables=told.get("tables"),
            )

        return _scaled(_hours(columns), "money", "USD", columns.names("device_name"), price_of, 1.0)
    price = quantity(told[ways[0]])
    per = "kWh" if ways[0] == "price_per_kwh" else "h"
    currency = money.currency_of(price)
    quantity(price, f"{currency}/{per}")  # refuses a price of another kind
    base = _facility(columns, told) if per == "kWh" else _hours(columns)
    everywhere = Names([""] * columns.size)
    return _scaled(base, "money", currency, everywhere, lambda _: price, 1.0)


def _scaled(
    base: Costs,
    kind: str,
    unit: str,
    keys: Names,
    factor_of: Callable[[str], Quantity],
    per: float,
) -> Costs:
    """``base`` times the factor of each run's key, which is told for ``per`` units of ``base``."""
    factors_used = [factor_of(key) for key in keys.distinct]
    rows = np.array([(f.value, f.low, f.high) for f in factors_used], float).reshape(-1, 3) / per
    table = rows[keys.codes]
    value = base.value * table[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        down = np.hypot(1.0 - base.low / base.value, 1.0 - table[:, 1] / table[:, 0])
        up = np.hypot(base.high / base.value - 1.0, table[:, 2] / table[:, 0] - 1.0)
    low = np.where(value > 0, value * np.maximum(0.0, 1.0 - down), value)
    high = np.where(value > 0, value * (1.0 + up), value)
    nameless = [f for f in factors_used if not f.known]
    why = base.why_unknown or (nameless[0].basis if nameless else "")
    known = [f for f in factors_used if f.known]
    basis = "; ".join(dict.fromkeys([base.basis, *(f.basis for f in known if f.basis)]))
    worst = _worst({base.provenance, *(f.provenance for f in known)})
    return Costs(kind, unit, value, low, high, worst, basis, why if np.isnan(value).any() else "")


def _worst(provenances: set[str]) -> str:
    known = [p for p in provenances if p in PROVENANCES]
    return max(known, key=PROVENANCES.index) if known else "estimated"


def _worst_of(names: Names, known: NDArray[np.bool_]) -> str:
    return _worst(set(names.among(known)))


def _why(value: NDArray[np.float64], what: str, bases: Sequence[str] = ()) -> str:
    missing = np.isnan(value)
    if not missing.any():
        return ""
    said = next((bases[i] for i in np.flatnonzero(missing).tolist() if bases and bases[i]), "")
    because = f": {said}" if said else ""
    verb = "is" if what == "energy" else "are"
    if len(value) == 1:
        return f"the {what} {verb} unknown{because}"
    if missing.all():
        return f"the {what} of no run {verb} known{because}"
    many = f"{int(missing.sum())} of {len(value)} runs"
    return f"the {what} of {many} {verb} unknown{because}"
