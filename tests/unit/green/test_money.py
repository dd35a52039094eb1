"""Money: device-hours at a price or energy at a tariff, never both."""

import math

import pytest

from picojoule.errors import UsageError
from picojoule.green import money
from picojoule.green.places import UnknownPlaceError
from picojoule.green.quantities import UnitError, quantity


def test_bert_large():
    """64 TPU chips are 16 devices; four days; what was called about 7,000 dollars."""
    hours = money.device_hours(16, "96 h")
    assert money.cost(device_hours=hours, price="4.50 USD/h").to("USD") == pytest.approx(6912)


def test_leave_one_site_out():
    """11.5 hours at each of four nodes."""
    assert money.device_hours(4, "11.5 h").to("h") == 46


def test_energy_at_a_tariff():
    q = money.cost(energy="100 kWh", tariff="0.25 EUR/kWh")
    assert q.to("EUR") == pytest.approx(25)
    assert q.basis == "own price"


@pytest.mark.parametrize(
    ("told", "kind", "said"),
    [
        ({"device_hours": "5 h", "price": "1 USD/h", "energy": "1 kWh", "tariff": "1 USD/kWh"},
         UsageError, "never both"),
        ({"device_hours": "5 h", "tariff": "1 USD/kWh"}, UsageError, "never both"),
        ({}, UsageError, "needs"),
        ({"device_hours": "5 h"}, UsageError, "both of"),
        ({"tariff": "1 USD/kWh"}, UsageError, "both of"),
        ({"device_hours": "5 h", "price": "1 USD/kWh"}, UnitError, "no quantity"),
        ({"energy": "5 kWh", "tariff": "1 USD/h"}, UnitError, "no quantity"),
        ({"energy": "5 kWh", "tariff": "1 kg/kWh"}, UnitError, "no price"),
        ({"device_hours": "5 kWh", "price": "1 USD/h"}, UnitError, "no quantity"),
        ({"device_hours": "-5 h", "price": "1 USD/h"}, UsageError, "negative"),
        ({"device_hours": "5 h", "price": 4.5}, UsageError, "unit"),
    ],
)  # fmt: skip
def test_what_is_no_price(told, kind, said):
    with pytest.raises(kind, match=said):
        money.cost(**told)


def test_currencies_do_not_mix():
    with pytest.raises(UnitError):
        quantity("5 USD") + quantity("5 EUR")


def test_published_price_has_its_vendor_and_date():
    q = money.price_of("NVIDIA A100-SXM4-80GB", vendor="Amazon Web Services")
    assert q.to("USD/h") == pytest.approx(5.12)
    assert "2025-03-02" in q.basis and "Epoch AI" in q.basis
    assert money.price_of(
        "NVIDIA A100-SXM4-80GB", vendor="amazon web services", term="3y"
    ).to("USD/h") == pytest.approx(1.81)  # fmt: skip


def test_price_spreads_over_locations():
    q = money.price_of("TPU v5e", vendor="Google Cloud")
    assert q.range_in("USD/h") == pytest.approx((1.20, 1.56))
    assert money.price_of("TPU v5e", vendor="Google Cloud", location="Iowa").to(
        "USD/h"
    ) == pytest.approx(1.20)


def test_no_vendor_no_price_but_its_bounds():
    """One part costs up to five times more at one vendor than at another."""
    q = money.price_of("NVIDIA H100 80GB HBM3")
    assert not q.known
    assert q.range_in("USD/h") == pytest.approx((2.45, 12.29))
    assert str(q) == "unknown, between 2.45 and 12.3 USD/h"
    assert "vendor=" in q.basis
    whole = money.cost(device_hours="100 h", price=q)
    assert whole.range_in("USD") == pytest.approx((245, 1229))


def test_prices_of_one_vendor_do_not_differ_between_vendors():
    q = money.price_of("NVIDIA Tesla V100 SXM2 16GB")
    assert not q.known
    assert "known of one vendor alone; say vendor='Oblivus Cloud' or price=" in q.basis
    assert money.price_of("NVIDIA Tesla V100 SXM2 16GB", vendor="Oblivus Cloud").known


def test_unpriced_parts_and_vendors():
    assert not money.price_of("Imaginary 9000").known
    assert "say price=" in money.price_of("Imaginary 9000").basis
    with pytest.raises(UsageError, match="Lambda Labs"):
        money.price_of("NVIDIA H100 80GB HBM3", vendor="Corner Shop")
    with pytest.raises(UsageError, match="on-demand"):
        money.price_of("NVIDIA H100 80GB HBM3", term="weekly")


def test_wholesale_electricity():
    q = money.wholesale("DEU")
    assert q.to("EUR/kWh") == pytest.approx(0.07193)
    assert "2024" in q.basis and "without grid fees" in q.basis
    assert not money.wholesale("USA").known
    with pytest.raises(UnknownPlaceError):
        money.wholesale("Atlantis")


@pytest.mark.parametrize("devices", [-1, math.nan, math.inf])
def test_devices_are_counted(devices):
    with pytest.raises(UsageError):
        money.device_hours(devices, "1 h")
