"""CO2e of making the hardware, and the share of it that some use of it bears.

Published reports differ three- to fourfold in what they count and how long they say that it
lasts, so that the share of a device by name is a range over their methods.
"""

from __future__ import annotations

import re
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.quantities import Quantity, quantity, unknown, with_unit
from picojoule.green.tables import Row, Tables, maybe, number, own_entry, rows

HOURS_PER_YEAR = 8760.0


def share_of(
    total: Any,
    used: Any,
    lifetime_years: float,
    *,
    utilisation: float = 1.0,
    share: float = 1.0,
) -> Quantity:
    """Embodied CO2e of a use: ``M = TE x t / (L x 8760 h x u) x R / R_tot`` (ISO/IEC 21031).

    Args:
        total: of making the thing: "3700 kg".
        used: time of use: "24 h"; device-hours, if ``total`` is of one device.
        lifetime_years: how long it serves.
        utilisation: share of that time in which it works; 1 in ISO/IEC 21031, 0.85 in BLOOM.
        share: of the thing that was used: ``R / R_tot``.

    Returns:
        Grams of CO2e.

    Raises:
        UnitError: ``total`` is no mass or ``used`` no time.
        UsageError: a lifetime or utilisation that is not above 0, a share outside of 0 to 1.

    >>> round(share_of("1000 kg", "1 h", 4).to("g"), 2)
    28.54
    """
    made, time = with_unit(total, "kg", "total"), with_unit(used, "h", "used")
    if (made.known and made.value < 0) or (time.known and time.value < 0):
        raise UsageError(f"embodied CO2e and time cannot be negative: {made}, {time}")
    if not number(lifetime_years, "lifetime_years") > 0:
        raise UsageError("lifetime_years must be above 0")
    if not 0 < number(utilisation, "utilisation") <= 1:
        raise UsageError(f"utilisation lies above 0 and is at most 1, not {utilisation}")
    if not 0 <= number(share, "share") <= 1:
        raise UsageError(f"share lies between 0 and 1, not {share}")
    lifetime = quantity(lifetime_years * HOURS_PER_YEAR * utilisation, "h")
    return made * (time / lifetime) * share


def of_device(device: str, device_hours: Any, *, tables: Tables | None = None) -> Quantity:
    """Embodied CO2e of so many device-hours of an accelerator, with its part of the server.

    Args:
        device: its name, such as "NVIDIA H100 80GB HBM3".
        device_hours: "46 h" or a ``Quantity``.
        tables: own tables; ``tables["embodied_devices"]`` maps a name to kg.

    Returns:
        Grams: the middle of the methods of ``embodied_methods``, and the range that they span.
        Unknown for a device of which no report tells.
    """
    time = with_unit(device_hours, "h", "device_hours")
    found = _device_kg(device, tables)
    if found is None:
        known = ", ".join(r["device"] for r in rows("embodied_devices", tables))
        return unknown(
            "g",
            f"making of {device or 'the device'} unknown (known: {known}); say embodied='150 kg'",
        )
    kg, source = found
    # Per device-hour: its own making, and its part of the server.
    rates = sorted((_rate(m, kg), m) for m in _methods(tables))
    middle = rates[len(rates) // 2][0]
    names = ", ".join(f"{m['method']} {m['year']}" for _, m in rates)
    low, high = rates[0][0], rates[-1][0]
    factor = quantity(
        middle, "kg/h", low=low, high=high, provenance="estimated",
        basis=f"embodied: range over the methods of {names}; device: {source}",
    )  # fmt: skip
    return factor * time


def _rate(method: Row, device_kg: float) -> float:
    """One device by a method, in kg an hour; some methods have a figure of their own for it."""
    gpu_kg = maybe(method, "gpu_kg")
    own = gpu_kg if gpu_kg == gpu_kg else device_kg
    total = float(method["server_kg"]) / float(method["gpus_per_server"]) + own
    served = float(method["lifetime_years"]) * HOURS_PER_YEAR * float(method["utilisation"])
    return total / served


def _methods(tables: Tables | None) -> list[Row]:
    return list(rows("embodied_methods", tables))


def _device_kg(device: str, tables: Tables | None) -> tuple[float, str] | None:
    own = own_entry("embodied_devices", device, tables)
    if own is not None:
        kg = own.value.to("kg") if isinstance(own.value, Quantity) else own.value
        return kg, own.source
    words = re.split(r"[^a-z0-9]+", device.casefold())
    for r in rows("embodied_devices", tables):
        if r["device"].casefold() in words:
            return float(r["kg_co2e"]), r["source"]
    return None
