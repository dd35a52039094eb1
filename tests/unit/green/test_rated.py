"""Hours and a name give an energy with a wide range; a name less gives none."""

from __future__ import annotations

import math

import pytest

from picojoule.green import rated

from . import people_studies as people


def test_published_cloud_trainings_lie_within():
    """Dodge et al. 2022: V100 and A100 trainings, kWh as printed, about."""
    for devices, watts, hours, printed in (
        (8, 300, 36, 37.3), (4, 300, 90, 93.3), (4, 300, 216, 237.6), (256, 400, 192, 13_812.4),
    ):  # fmt: skip
        used = rated.energy(f"{devices * hours} h", power=f"{watts} W")
        low, high = used.range_in("kWh")
        assert low <= printed <= high
        assert used.provenance == "modelled" and "Dodge 2022" in used.basis


def test_a_device_by_name():
    used = rated.energy("10 h", "NVIDIA A100-SXM4-40GB")
    assert used.to("kWh") == pytest.approx(10 * 0.4 * rated.MEDIAN)


@pytest.mark.parametrize("device", ["", "Abacus 3000"])
def test_no_device_no_energy(device):
    used = rated.energy("10 h", device)
    assert not used.known
    assert (device or "device not named") in used.basis and "say device=" in used.basis


def test_what_was_measured_is_left():
    run = people.run(1)
    assert rated.named(run, "NVIDIA A100-SXM4-40GB") is run
    blank = people.run(
        2, energy_j=math.nan, energy_low_j=math.nan, energy_high_j=math.nan, duration_s=3600.0
    )
    assert rated.named(blank, power="100 W").energy_j == pytest.approx(70 * 3600)
