"""What a budget's limits are, and what an open profile has spent of each kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from picojoule.errors import UsageError
from picojoule.green import carbon, factors, money
from picojoule.green.quantities import PROVENANCES, Quantity, quantity, unit_of, with_unit

if TYPE_CHECKING:
    from picojoule.results import Profile

_UNITS = {"energy": "J", "co2e": "g", "hours": "s", "flops": "FLOP"}

#: A plain number is meant in the unit that the argument's name says.
_PLAIN = {"hours": "h", "flops": "FLOP"}


def limits(**told: Any) -> dict[str, Quantity]:
    """Kind of cost -> limit, for those that were told.

    Raises:
        UsageError: none was told, or one is not above 0.
        UnitError: one is of another kind.
    """
    out: dict[str, Quantity] = {}
    for kind, given in told.items():
        if given is None:
            continue
        if kind == "money":
            limit = quantity(given)
            unit = next((b for b, p in limit.dimension if p == 1 and len(b) == 3), "USD")
            quantity(limit, unit)  # refuses what is no amount of money
        elif kind in _PLAIN and isinstance(given, (int, float)):
            limit = quantity(given, _PLAIN[kind])
        else:
            limit = with_unit(given, _UNITS[kind], kind)
        if not limit.value > 0:
            raise UsageError(f"a budget must be above 0, not {given!r}")
        out[kind] = limit
    if not out:
        raise UsageError("a budget needs a limit: energy=, co2=, money=, hours= or flops=")
    return out


class Rates:
    """Turns what a profile measured into each kind of cost that has a limit."""

    def __init__(
        self, limited: Mapping[str, Quantity], settings: Mapping[str, Any], devices: float
    ) -> None:
        """Find the factors; see ``budget`` for what is raised."""
        self.notes: list[str] = []
        self._devices = float(devices)
        self._carbon: Quantity | None = None
        self._tariff: Quantity | None = None
        self._hourly: Quantity | None = None
        if "co2e" in limited:
            self._carbon = self._of_carbon(settings)
        if "money" in limited:
            self._prices(settings, limited["money"])

    def _of_carbon(self, settings: Mapping[str, Any]) -> Quantity:
        if not any(settings.get(k) for k in ("region", "carbon_factor", "mix")):
            raise UsageError(
                "a budget of CO2e needs a factor: say region='GBR' or factor='211 g/kWh'"
            )
        one = carbon.co2e(
            quantity(1.0, "kWh"),
            region=settings.get("region"),
            factor=settings.get("carbon_factor"),
            mix=settings.get("mix"),
            pue=settings.get("pue"),
            personal=bool(settings.get("personal")),
            tables=settings.get("tables"),
        )
        return self._upper(one, "CO2e") / quantity(1.0, "kWh")

    def _prices(self, settings: Mapping[str, Any], limit: Quantity) -> None:
        hourly, tariff = settings.get("price_per_device_hour"), settings.get("price_per_kwh")
        if hourly is not None and tariff is not None:
            raise UsageError("price_per_device_hour= and price_per_kwh= are two prices; say one")
        if hourly is None and tariff is None:
            raise UsageError(
                "a budget of money needs a price: say price_per_device_hour='2 USD/h' or "
                "price_per_kwh='0.25 EUR/kWh'"
            )
        price = quantity(hourly if tariff is None else tariff)
        currency = money.currency_of(price)
        quantity(price, f"{currency}/{'h' if tariff is None else 'kWh'}")
        quantity(limit, currency)  # a budget in another currency than the price is an error
        if tariff is None:
            self._hourly = price
            return
        pue = factors.pue(
            settings.get("region"),
            given=settings.get("pue"),
            personal=bool(settings.get("personal")),
            tables=settings.get("tables"),
        )
        self._tariff = price * self._upper(pue, "the facility's energy")

    def _upper(self, factor: Quantity, what: str) -> Quantity:
        """The factor, or if only its bounds are known the upper one: a limit must hold."""
        if factor.known:
            return factor
        if math.isnan(factor.high):
            raise UsageError(f"a budget of {what} needs its factor: {factor.basis}")
        self.notes.append(f"{what} is reckoned at its upper bound: {factor.basis}")
        return Quantity(
            factor.high, factor.dimension, factor.low, factor.high, "estimated", factor.basis
        )

    def of(self, kind: str, profile: Profile | None, told_flops: float = math.nan) -> Quantity:
        """What ``profile`` has spent of ``kind``; unknown with its reason."""
        if profile is None:
            return _unknown(kind, "no profile is open", self)
        if kind == "hours":
            return self._device_time(profile)
        if kind == "flops":
            known = told_flops if not math.isnan(told_flops) else profile.flops.model
            if math.isnan(known):
                return _unknown(kind, "FLOPs are not known; say flops= to step()", self)
            return quantity(known, "FLOP", provenance="counted")
        if kind == "money" and self._hourly is not None:
            return self._device_time(profile) * self._hourly
        energy = energy_of(profile)
        if kind == "co2e" and self._carbon is not None:
            return energy * self._carbon
        if kind == "money" and self._tariff is not None:
            return energy * self._tariff
        return energy

    def _device_time(self, profile: Profile) -> Quantity:
        return quantity(profile.duration_s * self._devices, "s", provenance="measured")

    @property
    def currency(self) -> str:
        """Of the price; "USD" without one."""
        price = self._hourly or self._tariff
        return money.currency_of(price) if price is not None else "USD"


def energy_of(profile: Profile) -> Quantity:
    """Energy of a profile as a quantity, with its interval and provenance."""
    found = profile.total
    if math.isnan(found.joules):
        return Quantity(
            math.nan, unit_of("J")[0], provenance="estimated",
            basis=found.basis or "no meter works here; see picojoule doctor",
        )  # fmt: skip
    low, high = found.interval()
    known = found.provenance if found.provenance in PROVENANCES else "estimated"
    return quantity(
        found.joules, "J", low=min(low, found.joules), high=max(high, found.joules),
        provenance=known, basis=found.basis,
    )  # fmt: skip


def _unknown(kind: str, why: str, rates: Rates) -> Quantity:
    unit = _UNITS.get(kind, rates.currency)
    return Quantity(math.nan, unit_of(unit)[0], provenance="estimated", basis=why)
