"""What something cost: device-hours at a price, or energy at a tariff; never both.

>>> str(cost(device_hours="1536 h", price="4.50 USD/h"))
'6912 USD'
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

from picojoule.errors import UsageError
from picojoule.green import places
from picojoule.green.quantities import (
    Dimension,
    Quantity,
    UnitError,
    quantity,
    unit_of,
    unknown,
    with_unit,
)
from picojoule.green.tables import Row, Tables, rows

#: Columns of the price table, by how long one commits oneself.
TERMS = {
    "on-demand": "usd_per_chip_hour_on_demand",
    "1y": "usd_per_chip_hour_1y",
    "3y": "usd_per_chip_hour_3y",
}
_NOISE = frozenset(("nvidia", "tesla", "geforce", "google", "amd", "gpu", "generation", "dgxs"))
#: Words of drivers' names, as the price table has them.
_SAME = {"hbm3": "sxm5"}


def cost(
    *,
    device_hours: Any = None,
    price: Any = None,
    energy: Any = None,
    tariff: Any = None,
) -> Quantity:
    """Money for device-hours (rented hardware) or for energy (own hardware).

    A price of rented hardware has its electricity in it, so that the two are never added.

    Args:
        device_hours: "1536 h": devices x wall time.
        price: of one device: "4.50 USD/h"; ``price_of`` finds published ones.
        energy: of the facility: "20 kWh".
        tariff: "0.25 EUR/kWh".

    Returns:
        A quantity of the currency of the price.

    Raises:
        UnitError: a price that is no money by time, or a tariff that is no money by energy.
        UsageError: both ways at once, half of one, or a negative amount.
    """
    rented = device_hours is not None or price is not None
    powered = energy is not None or tariff is not None
    if rented and powered:
        raise UsageError(
            "money is device-hours x price or energy x tariff, never both: the price of a rented "
            "device has its electricity in it"
        )
    if not rented and not powered:
        raise UsageError("money needs device_hours= and price=, or energy= and tariff=")
    if rented:
        return _product(device_hours, "h", price, "h", "device_hours= and price='2 USD/h'")
    return _product(energy, "kWh", tariff, "kWh", "energy= and tariff='0.25 EUR/kWh'")


def device_hours(devices: float, wall: Any) -> Quantity:
    """Devices x wall time.

    >>> str(device_hours(4, "11.5 h"))
    '46.0 h'
    """
    if not 0 <= float(devices) < math.inf:
        raise UsageError(f"a number of devices is at least 0, not {devices}")
    return with_unit(wall, "h", "wall time") * float(devices)


def price_of(
    hardware: str,
    *,
    vendor: str | None = None,
    location: str | None = None,
    term: str = "on-demand",
    tables: Tables | None = None,
) -> Quantity:
    """Published price of one device-hour in USD.

    Prices of one part differ up to fivefold, so that without a vendor there is only a range.

    Args:
        hardware: name of the part, such as "NVIDIA H100 80GB HBM3" or "TPU v4".
        vendor: who rents it, such as "Lambda Labs".
        location: part of the name of the location, to choose by.
        term: one of ``TERMS``.
        tables: own tables; see ``picojoule.green.tables``.

    Returns:
        The vendor's latest price, with the range over its locations of that date; unknown with both
        bounds over vendors if none is named. ``basis`` has dates and source.

    Raises:
        UsageError: an unknown term or vendor.
    """
    if term not in TERMS:
        raise UsageError(f"there is no term {term!r}; there are: {', '.join(TERMS)}")
    column = TERMS[term]
    table = rows("cloud_prices", tables)
    parts = _matching(hardware, table)
    fitting = [r for r in parts if r[column]]
    if location:
        fitting = [r for r in fitting if location.casefold() in r["location"].casefold()]
    if not fitting:
        near = _sharing_words(hardware, table)
        hint = f" (priced: {', '.join(near)})" if near and not parts else ""
        return unknown("USD/h", f"no {term} price of {hardware}{hint}; say price='2 USD/h'")
    if vendor is None:
        low, high = _ends(fitting, column)
        first, last = _dates(fitting)
        sellers = sorted({r["vendor"] for r in fitting})
        seen = f"{term} prices of {hardware}, {first} to {last},"
        why = (
            f"{seen} differ between vendors; say vendor= (one of {', '.join(sellers)})"
            if len(sellers) > 1
            else f"{seen} are known of one vendor alone; say vendor={sellers[0]!r}"
        )
        return Quantity(
            math.nan, *_in_usd_per_hour(low, high), "published", f"{why} or price='2 USD/h'"
        )
    sold = [r for r in fitting if r["vendor"].casefold() == vendor.casefold()]
    if not sold:
        vendors = ", ".join(sorted({r["vendor"] for r in fitting}))
        raise UsageError(f"no price of {hardware} at {vendor!r} is known; there are: {vendors}")
    latest = max(r["price_date"] for r in sold)
    sold = [r for r in sold if r["price_date"] == latest]
    low, high = _ends(sold, column)
    values = sorted(float(r[column]) for r in sold)
    middle = values[len(values) // 2]
    names = ", ".join(sorted({r["hardware"] for r in sold}))
    return quantity(
        middle, "USD/h", low=low, high=high, provenance="published",
        basis=f"{sold[0]['vendor']} {term} price of {names}, {latest} "
        f"(Epoch AI, {sold[0]['price_source'].strip()})",
    )  # fmt: skip


def wholesale(country: str, *, tables: Tables | None = None) -> Quantity:
    """EUR/kWh of electricity at the day-ahead market, mean of 2024: a floor for any tariff.

    Returns:
        Unknown for countries that the table lacks.
    """
    place = places.find(country, tables)
    for r in rows("electricity_wholesale_2024", tables):
        if r["country_iso3"] == place.country:
            return quantity(
                float(r["eur_per_kwh_day_ahead_mean"]), "EUR/kWh", provenance="published",
                basis=f"day-ahead mean {r['year']} ({r['months']} months), {r['country']}, Ember; "
                "without grid fees and taxes",
            )  # fmt: skip
    return unknown("EUR/kWh", f"no wholesale price of {place.name}; say tariff='0.25 EUR/kWh'")


def currency_of(rate: Quantity) -> str:
    """The currency of a price or tariff: "USD"."""
    for base, power in rate.dimension:
        if power == 1 and re.fullmatch(r"[A-Z]{3}", base):
            return base
    raise UnitError(f"{rate} is no price; write '2 USD/h' or '0.25 EUR/kWh'")


def _product(amount: Any, unit: str, rate: Any, per: str, ways: str) -> Quantity:
    if amount is None or rate is None:
        raise UsageError(f"money needs both of {ways}")
    much, price = with_unit(amount, unit, "the amount"), quantity(rate)
    currency = currency_of(price)
    quantity(price, f"{currency}/{per}")  # of the right kind
    if (much.known and much.value < 0) or (price.known and price.value < 0):
        raise UsageError(f"amounts and prices cannot be negative: {much}, {price}")
    return much * (price if price.basis else price.because("own price"))


def _matching(hardware: str, table: Sequence[Row]) -> list[Row]:
    wanted = _words(hardware)
    exact = [r for r in table if _words(r["hardware"]) == wanted]
    return exact or ([r for r in table if wanted <= _words(r["hardware"])] if wanted else [])


def _sharing_words(hardware: str, table: Sequence[Row]) -> list[str]:
    """Up to three priced parts whose names have a word of it."""
    wanted = _words(hardware)
    shared = {r["hardware"]: len(wanted & _words(r["hardware"])) for r in table}
    return sorted((n for n, many in shared.items() if many), key=lambda n: (-shared[n], n))[:3]


@functools.lru_cache(maxsize=4096)
def _words(name: str) -> frozenset[str]:
    plain = re.sub(r"(\d+)\s*gb\b", r"\1gb", name.casefold())
    found = re.split(r"[^a-z0-9]+", plain)
    return frozenset(_SAME.get(w, w) for w in found if w and w not in _NOISE)


def _ends(some: Sequence[Row], column: str) -> tuple[float, float]:
    values = [float(r[column]) for r in some]
    return min(values), max(values)


def _in_usd_per_hour(low: float, high: float) -> tuple[Dimension, float, float]:
    dimension, scale = unit_of("USD/h")
    return dimension, low * scale, high * scale


def _dates(some: Sequence[Row]) -> tuple[str, str]:
    dates = [r["price_date"] for r in some]
    return min(dates), max(dates)
