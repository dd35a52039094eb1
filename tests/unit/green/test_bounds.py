"""What is unknown may still have bounds, and sums and products carry them."""

import math

import pytest

from picojoule.green.quantities import Quantity, UnitError, quantity, unit_of, with_unit

KWH = unit_of("kWh")[0]


def bounded(low, high, unit="kWh"):
    dimension, scale = unit_of(unit)
    return Quantity(math.nan, dimension, low * scale, high * scale)


def test_sums_and_scaling():
    q = bounded(1, 2) + quantity(3, "kWh", low=2, high=5)
    assert not q.known
    assert q.range_in("kWh") == pytest.approx((3, 7))
    assert (q * 2).range_in("kWh") == pytest.approx((6, 14))
    assert (q / 2).range_in("kWh") == pytest.approx((1.5, 3.5))
    assert (-1 * q).range_in("kWh") == pytest.approx((-7, -3))


def test_products_and_quotients_are_those_of_the_ends():
    pue = Quantity(math.nan, (), 1.0, 1.5)
    assert (quantity(10, "kWh", low=8, high=12) * pue).range_in("kWh") == pytest.approx((8, 18))
    assert (quantity("12 kWh") / pue).range_in("kWh") == pytest.approx((8, 12))
    assert (bounded(2, 4) / bounded(1, 2)).range_in("1") == pytest.approx((1, 4))


def test_a_missing_end_stays_missing():
    least = bounded(2, math.nan)
    for q in (least + quantity("1 kWh"), least * quantity("3 g/kWh"), least * 2):
        assert not q.known and q.low > 0 and math.isnan(q.high)
    below = -1 * least
    assert math.isnan(below.low) and below.high < 0
    assert math.isnan((quantity("1 kWh") / Quantity(math.nan, (), 0.0, 2.0)).high)


def test_nothing_known_stays_unknown():
    none = Quantity(math.nan, KWH)
    for q in (none + quantity("1 kWh"), none * quantity("3 g/kWh"), none / quantity("2 h")):
        assert str(q) == "unknown"


def test_how_bounds_are_shown():
    assert str(bounded(1, 2)) == "unknown, between 1.00 and 2.00 kWh"
    assert str(bounded(1, math.nan)) == "unknown, at least 1.00 kWh"
    assert str(bounded(math.nan, 2)) == "unknown, at most 2.00 kWh"
    assert str(bounded(2.45, 12.29, "USD/h")) == "unknown, between 2.45 and 12.3 USD/h"


def test_prices_are_shown_by_the_hour_and_the_kwh():
    assert str(quantity("4.5 USD/h")) == "4.50 USD/h"
    assert str(quantity("0.25 EUR/kWh")) == "0.250 EUR/kWh"


def test_with_unit():
    assert with_unit("5 kWh", "J").to("kWh") == pytest.approx(5)
    with pytest.raises(UnitError):
        with_unit("5 kg", "kWh")
    for bare in (5, 5.0, None, [5]):
        with pytest.raises(ValueError, match="energy has no unit"):
            with_unit(bare, "kWh", "energy")
