import math

import pytest

from picojoule.reports import units

from .profiles import UNKNOWN, Estimate, estimated, measured


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0.00 J"),
        (1234.0, "1.23 kJ"),
        (999.96, "1.00 kJ"),
        (1e-3, "1.00 mJ"),
        (0.45, "450 mJ"),
        (3.2e-12, "3.20 pJ"),
        (5e15, "5.00 PJ"),
        (5e18, "5000 PJ"),
        (-12.0, "-12.0 J"),
        (math.nan, "unknown"),
    ],
)
def test_quantity(value, expected):
    assert units.quantity(value, "J") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 s"),
        (12e-6, "12.0 µs"),
        (119.0, "119 s"),
        (245, "4 min 05 s"),
        (7800, "2 h 10 min"),
        (math.nan, "unknown"),
    ],
)
def test_seconds(value, expected):
    assert units.seconds(value) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, "50.0 %"), (1.0, "100 %"), (0.0004, "<0.1 %"), (0, "0.0 %"), (math.nan, "unknown")],
)
def test_percent(share, expected):
    assert units.percent(share) == expected


def test_kwh_of_a_watt_hour():
    assert units.kwh(3600) == "0.00100 kWh"
    assert units.kwh(3.6e6 * 12.345) == "12.3 kWh"


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (measured(12.3, 0.2142), "12.30 J ± 0.42"),
        (measured(1234.0, 280), "1.23 kJ ± 0.55"),
        (measured(950.0, 163), "950 J ± 320"),
        (measured(12.3, 0.0), "12.3 J"),
        (measured(1e6 + 0.4, 1e-9), "1.00000 MJ ± 0.00001"),
        (Estimate(12.0, 0.0, "estimated", below_j=9.9, above_j=13.0), "~12 J [2.1, 25]"),
        (Estimate(12.0, 20.0, "measured"), "≤ 51 J"),
        (measured(0.0, 0.4), "≤ 780 mJ"),
        (UNKNOWN, "unknown"),
        (Estimate(5.0, math.nan, "measured"), "5.00 J ± unknown"),
    ],
)
def test_energy_says_what_is_known_and_no_more(estimate, expected):
    assert units.energy(estimate) == expected


@pytest.mark.parametrize(
    "estimate",
    [
        Estimate(0.0, 0.0, "measured", resolved=False),
        Estimate(0.0, 0.4, "measured", resolved=False),
        Estimate(12.0, 1.0, "measured", resolved=False),
        Estimate(12.0, 0.0, "modelled", above_j=13, below_j=12, resolved=False),
    ],
)
def test_what_the_meter_cannot_see_is_never_zero(estimate):
    text = units.energy(estimate)
    assert text == "unknown" or text[0] in "≤~"
    assert not text.startswith(("0", "~0", "≤ 0"))


def test_estimates_are_marked_and_their_lopsided_interval_written_out():
    text = units.energy(estimated(100.0))
    assert text.startswith("~100 J [")
    assert units.energy(estimated(100.0), doubt=False) == "~100 J"


def test_ascii_only():
    assert units.ascii_only("≤ 3 µJ ± 1 …†é") == "<= 3 uJ +- 1 ~+\\xe9"
