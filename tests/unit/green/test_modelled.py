"""WorkingAge: unknown until a device is named, then a range."""

import math

import pytest
from cost_studies import run, study, workingage

from picojoule.errors import UsageError
from picojoule.green import edh, modelled


def test_workingage_once_a_device_is_named():
    told = modelled.on_device(workingage(), "NVIDIA A100-SXM4-80GB")
    h = edh.decompose(told)
    assert h.total.to("kWh") == pytest.approx(46 * 0.4 * 0.7)
    assert h.total.range_in("kWh") == pytest.approx((46 * 0.4 * 0.43, 46 * 0.4 * 1.10))
    assert h.total.provenance == "modelled"
    assert h.by_role["final"].share == 1.0
    assert "nameplate of" in told[0].energy_basis


def test_what_is_known_or_named_otherwise_stays():
    told = study(run({"a": 1}, joules=5.0), run({"a": 2}, device_name="TPU v4"),
                 run({"a": 3}))  # fmt: skip
    found = modelled.on_device(told, "NVIDIA A100-SXM4-80GB")
    assert found[0].energy_j == 5.0 and found[0].energy_provenance == "measured"
    assert math.isnan(found[1].energy_j)
    assert math.isnan(found[2].energy_j) and "device-hours" in found[2].energy_basis


def test_an_unknown_device_is_no_guess():
    with pytest.raises(UsageError, match="nameplate power of 'GPU'"):
        modelled.on_device(workingage(), "GPU")
