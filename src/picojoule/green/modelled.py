"""Energy of runs that nothing measured, from device-hours and the name of the device.

An average power is not the nameplate's: published averages lie at 43 % (fine-tuning BERT on V100:
129 of 300 W, Dodge et al. 2022) to 110 % of it (GPT-3 on V100: 330 W of the system by processor,
Patterson et al. 2021). The middle of these, 70 %, is what A100 runs of Dodge et al. drew (281 of
400 W). So the result is a range, and says that it is modelled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from picojoule.errors import UsageError
from picojoule.flops.peaks import peaks_of
from picojoule.green.model import Study
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
    an_hour = energy(device, 3600.0)  # refuses an unknown name even with nothing to model
    columns = study.columns
    seconds = columns.numbers("duration_s") * columns.numbers("device_count")
    unmeasured = np.isnan(columns.numbers("energy_j"))
    unmeasured &= columns.names("device_name").being("", device)
    ends = {"energy_j": an_hour.value, "energy_low_j": an_hour.low, "energy_high_j": an_hour.high}
    new: dict[str, Sequence[Any]] = {
        name: np.where(unmeasured, seconds * (joules / 3600.0), columns.numbers(name)).tolist()
        for name, joules in ends.items()
    }
    nothing = energy(device, math.nan)
    for name, there, missing in (
        ("device_name", device, device),
        ("energy_provenance", an_hour.provenance, nothing.provenance),
        ("energy_basis", an_hour.basis, nothing.basis),
    ):
        told = zip(
            columns.column(name), unmeasured.tolist(), np.isnan(seconds).tolist(), strict=True
        )
        new[name] = [(missing if m else there) if u else own for own, u, m in told]
    return Study(study.name, columns.with_columns(new), study.settings)
