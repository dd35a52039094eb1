"""CO2e of energy: IT energy x PUE x intensity, by place, own factor or own mix.

>>> str(co2e("13.8 kWh", region="GBR", pue=1.56))
'4.5 kg (4.3 to 4.8)'
>>> str(co2e("13.8 kWh", pue=1.56))
'unknown'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picojoule.errors import UsageError
from picojoule.green import factors
from picojoule.green.quantities import Quantity, with_unit
from picojoule.green.tables import Tables


def co2e(
    energy: Any,
    *,
    region: str | None = None,
    factor: Any = None,
    mix: Mapping[str, float] | None = None,
    pue: Any = None,
    personal: bool = False,
    tables: Tables | None = None,
) -> Quantity:
    """Operational CO2e of IT energy: ``E_IT x PUE x I`` (location-based, offsets left out).

    Args:
        energy: of the IT equipment: "5 kWh" or a ``Quantity``. For energy that was metered at the
            building say ``pue=1``.
        region: a country, US state or cloud region; see ``factors.intensity``.
        factor: own factor, as "211 g/kWh", in place of a region's.
        mix: own mix, as ``{"wind": 0.6, "gas": 0.4}``, in place of both.
        pue: own PUE, or "personal"; a cloud region brings its own.
        personal: a machine of one's own: PUE 1.0.
        tables: own tables; see ``picojoule.green.tables``.

    Returns:
        Grams. Unknown if no factor was told; unknown with both bounds if PUE is not known. Its
        ``basis`` names each factor with its source and year.

    Raises:
        UnitError: ``energy`` is no energy, ``factor`` no mass by energy.
        UsageError: two factors at once; a negative energy; an unknown place.
    """
    used = facility(energy, region=region, pue=pue, personal=personal, tables=tables)
    return used * factors.chosen(region, factor, mix, tables=tables)


def facility(
    energy: Any,
    *,
    region: str | None = None,
    pue: Any = None,
    personal: bool = False,
    tables: Tables | None = None,
) -> Quantity:
    """Energy of the facility for so much of the IT equipment: ``E_IT x PUE``; see ``co2e``."""
    it = it_energy(energy)
    return it * factors.pue(region, given=pue, personal=personal, tables=tables)


def it_energy(energy: Any) -> Quantity:
    """``energy`` as a quantity, checked.

    Raises:
        UnitError: it is no energy.
        UsageError: it is negative.
    """
    told = with_unit(energy, "kWh", "energy")
    if told.known and told.value < 0:
        raise UsageError(f"energy cannot be negative: {told}")
    return told


def sci(energy: Any, intensity: Any, embodied: Any = "0 g", per: float = 1.0) -> Quantity:
    """Software carbon intensity: ``(E x I + M) / R`` (ISO/IEC 21031:2024).

    Args:
        energy: E, of all that was reserved for it.
        intensity: I, location-based, "211 g/kWh"; offsets are no part of it.
        embodied: M, share of making the hardware; see ``picojoule.green.embodied``.
        per: R, how many units it is told for: tokens, images, FLOPs, parameters.

    Returns:
        Grams a unit.

    Raises:
        UnitError: one of them is of another kind.
        UsageError: ``per`` is not above 0.
    """
    if not per > 0:
        raise UsageError(f"per= must be above 0, not {per}")
    operational = it_energy(energy) * with_unit(intensity, "g/kWh", "intensity")
    return (operational + with_unit(embodied, "kg", "embodied")) / float(per)
