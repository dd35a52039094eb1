"""Energy of runs that nothing measured, from device-hours and the name of the device.

An average power is not the nameplate's: published averages lie at 43 % (fine-tuning BERT on V100:
129 of 300 W, Dodge et al. 2022) to 110 % of it (GPT-3 on V100: 330 W of the system by processor,
Patterson et al. 2021). The middle of these, 70 %, is what A100 runs of Dodge et al. drew (281 of
400 W). So the result is a range, and says that it is modelled.
"""

from __future__ import annotations

import math
from dataclasses import replace

from picojoule.errors import UsageError
from picojoule.flops.peaks import peaks_of
from picojoule.green.model import Run, Study
from picojoule.green.quantities import Quantity, quantity, unknown

#: Average over nameplate power: low end, middle, high end.
OF_NAMEPLATE = (0.43, 0.70, 1.10)


def energy(device: str, device_s: float) -> Quantity:
    """Energy of ``device_s`` seconds of a device, modelled, or unknown with its reason.

    Raises:
        UsageError: no device of that name is known.
    """
    found = peaks_of(device)
    if found is None or math.isnan(found.tdp_w):
        raise UsageError(
            f"the nameplate power of {device!r} is not known; say the device's name as its driver "
            "does ('NVIDIA A100-SXM4-80GB'), or import with power='300 W'"
        )
    if math.isnan(device_s):
        return unknown("J", "how many device-hours it took is unknown")
    least, middle, most = (found.tdp_w * share * device_s for share in OF_NAMEPLATE)
    low, mid, high = OF_NAMEPLATE
    basis = (
        f"device-hours x {found.tdp_w:g} W nameplate of {found.device} x {mid:g} ({low:g} to "
        f"{high:g}; average powers of Dodge et al. 2022 and Patterson et al. 2021)"
    )
    return quantity(middle, "J", low=least, high=most, provenance="modelled", basis=basis)


def on_device(study: Study, device: str) -> Study:
    """The study with the energy of unmeasured runs modelled, had they run on ``device``.

    Runs whose energy is known, or that name another device, stay as they are.

    Raises:
        UsageError: no device of that name is known.
    """
    energy(device, 0.0)  # refuses an unknown name even where there is nothing to model

    def filled(run: Run) -> Run:
        if not math.isnan(run.energy_j) or run.device_name not in ("", device):
            return run
        told = energy(device, run.device_seconds)
        return replace(
            run,
            device_name=device,
            energy_j=told.value,
            energy_low_j=told.low,
            energy_high_j=told.high,
            energy_provenance=told.provenance,
            energy_basis=told.basis,
        )

    return Study(study.name, [filled(r) for r in study], study.settings)
