"""Water that energy takes: on site for cooling, off site for generation."""

from __future__ import annotations

import math
from typing import Any

from picojoule.errors import UsageError
from picojoule.green import factors
from picojoule.green.carbon import it_energy
from picojoule.green.quantities import Quantity, quantity, unit_of, with_unit
from picojoule.green.tables import Tables, own_entry, rows

#: Ways to count: what PUE multiplies.
VARIANTS = {
    "li": "E_IT x (WUE_on + PUE x WUE_off), Li et al. 2023, EcoLogits",
    "morrison": "E_IT x PUE x (WUE_on + WUE_off), Morrison et al. 2025",
}


def water(
    energy: Any,
    *,
    region: str | None = None,
    pue: Any = None,
    personal: bool = False,
    wue_on: Any = None,
    wue_off: Any = None,
    variant: str = "li",
    tables: Tables | None = None,
) -> Quantity:
    """Litres of water that so much IT energy takes, on and off site.

    Args:
        energy: of the IT equipment: "5 kWh" or a ``Quantity``.
        region: brings what the tables have of PUE and water use.
        pue: own PUE, or "personal".
        personal: a machine of one's own: PUE 1.0 and no water for cooling.
        wue_on: on site, such as "0.18 L/kWh" of IT energy.
        wue_off: by generation, such as "3.1 L/kWh".
        variant: one of ``VARIANTS``.
        tables: own tables; see ``picojoule.green.tables``.

    Returns:
        Litres; unknown, with the bounds that are known, if a factor is not.

    Raises:
        UnitError: a factor is no volume by energy.
        UsageError: a negative factor or an unknown variant.
    """
    if variant not in VARIANTS:
        raise UsageError(f"there is no variant {variant!r}; there are: {', '.join(VARIANTS)}")
    it = it_energy(energy)
    effective = factors.pue(region, given=pue, personal=personal, tables=tables)
    on = _on(region, wue_on, personal or pue == "personal", tables)
    off = _off(region, wue_off, tables)
    per_it = on + effective * off if variant == "li" else effective * (on + off)
    made = it * per_it
    return made.because(f"{made.basis}; {VARIANTS[variant]}" if made.basis else VARIANTS[variant])


def _on(region: str | None, given: Any, personal: bool, tables: Tables | None) -> Quantity:
    if given is not None:
        return _told(given, "own WUE on site")
    if personal:
        return quantity(0.0, "L/kWh", basis="no water cools a personal machine")
    return _at_least_0(factors.wue_onsite(region, tables))


def _off(region: str | None, given: Any, tables: Tables | None) -> Quantity:
    if given is not None:
        return _told(given, "own WUE of generation")
    if region and (own := own_entry("wue_offsite", region, tables)) is not None:
        value = own.value if isinstance(own.value, Quantity) else quantity(own.value, "L/kWh")
        return _told(value, f"WUE of generation, {own.source} {own.year}".rstrip())
    place = factors.place_of(region, tables)
    for r in rows("wue_offsite", tables) if place else ():
        if place is not None and r["place"] == place.country:
            said = f"WUE of generation, {place.country}, {r['source'].split(',')[0]} {r['year']}"
            return quantity(
                float(r["l_per_kwh"]), "L/kWh", provenance="published", basis=said
            )  # fmt: skip
    return _at_least_0(
        quantity(
            math.nan, "L/kWh", provenance="estimated",
            basis="water of generation unknown here; say wue_off='3.1 L/kWh'",
        )
    )  # fmt: skip


def _told(given: Any, basis: str) -> Quantity:
    q = with_unit(given, "L/kWh", basis)
    if q.known and q.value < 0:
        raise UsageError(f"{basis} cannot be negative: {q}")
    return q if q.basis else q.because(basis)


def _at_least_0(q: Quantity) -> Quantity:
    if q.known:
        return q
    return Quantity(math.nan, unit_of("L/kWh")[0], 0.0, math.nan, q.provenance, q.basis)
