"""Energy of runs of which only hours and hardware are known: a model, with a range that says so.

Boards seldom draw what they are rated at. Of ten published trainings the mean power was 0.43 to
1.10 times the rated power of the chips, 0.70 at the median (V100: BERT fine-tuning 0.43, ViT-L
0.86, ViT-H 0.92, A100: a 6B model 0.70, Dodge et al. 2022; TPU v2 0.74, TPU v3 0.69, 0.64, 0.64 and
0.54, V100 with its server 1.10, Patterson et al. 2021).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from picojoule.flops.peaks import peaks_of
from picojoule.green.model import Run
from picojoule.green.quantities import Quantity, quantity, unknown

#: Mean power over rated power: least, median and most of the ten.
LEAST, MEDIAN, MOST = 0.43, 0.70, 1.10


def energy(device_hours: Any, device: str = "", power: Any = None) -> Quantity:
    """What ``device_hours`` of a device used, about.

    Args:
        device_hours: such as "46 h".
        device: name as its driver gives it; its rated power is looked up.
        power: rated power of one, "300 W", for devices that no table knows.

    Returns:
        A quantity of joules, provenance "modelled"; unknown if neither a known device nor a power
        was told.
    """
    hours = quantity(device_hours, "h")
    if power is not None:
        rated = quantity(power, "W")
        said = f"rated {rated.to('W'):g} W as told"
    else:
        found = peaks_of(device) if device else None
        if found is None or not found.tdp_w > 0:
            asked = f"no rated power of {device!r} is known" if device else "device not named"
            return unknown("J", f"no power record; {asked}; say device= or power='300 W'")
        rated = quantity(found.tdp_w, "W")
        said = f"rated {found.tdp_w:g} W of {found.device}"
    base = hours * rated
    return Quantity(
        base.value * MEDIAN,
        base.dimension,
        base.low * LEAST,
        base.high * MOST,
        "modelled",
        f"device-hours x {MEDIAN:g} ({LEAST:g} to {MOST:g}) of {said}; Dodge 2022, Patterson 2021",
    )


def named(run: Run, device: str = "", power: Any = None) -> Run:
    """``run`` with its device named and its energy modelled; measured energy is left as it is."""
    if run.energy.known and run.energy_provenance != "modelled":
        return run
    used = energy(quantity(run.device_seconds, "s"), device, power)
    return replace(
        run,
        device_name=device or run.device_name,
        energy_j=used.value,
        energy_low_j=used.low,
        energy_high_j=used.high,
        energy_provenance=used.provenance,
        energy_basis=used.basis,
    )
