"""CO2e, water and embodied shares."""

import math

import pytest

from picojoule.errors import UsageError
from picojoule.green import carbon, embodied, factors, water
from picojoule.green.quantities import Quantity, UnitError, quantity


def test_co2e_is_energy_x_pue_x_intensity():
    """The seed's own example: 46 h of an assumed 300 W in Great Britain at PUE 1.56."""
    q = carbon.co2e("13.8 kWh", region="GBR", pue=1.56)
    assert q.to("kg") == pytest.approx(4.54, rel=1e-3)
    assert q.provenance == "published"
    assert "Ember 2024" in q.basis and "PUE" in q.basis
    assert q.range_in("kg") == pytest.approx((4.54 * 0.94, 4.54 * 1.06), rel=1e-3)


def test_it_and_facility_energy_are_two_figures():
    assert carbon.facility("10 kWh", pue=1.5).to("kWh") == pytest.approx(15)
    assert carbon.facility("10 kWh", region="us-east-1").to("kWh") == pytest.approx(11.5)
    assert carbon.it_energy("10 kWh").to("kWh") == 10


def test_both_bounds_without_pue():
    q = carbon.co2e("5 kWh", region="GBR")
    assert not q.known
    at_1, at_156 = (carbon.co2e("5 kWh", region="GBR", pue=p) for p in (1.0, 1.56))
    assert q.low == pytest.approx(at_1.low)
    assert q.high == pytest.approx(at_156.high)
    assert "between" in str(q)


def test_unknown_without_a_factor():
    q = carbon.co2e("5 kWh", pue=1.1)
    assert str(q) == "unknown"
    assert "region=" in q.basis


def test_unknown_energy_stays_unknown():
    q = carbon.co2e(Quantity(math.nan, (("J", 1),)), region="GBR", pue=1.1)
    assert not q.known


@pytest.mark.parametrize(
    ("energy", "kind"),
    [("2 kg", UnitError), ("-5 kWh", UsageError), (5, UsageError), ("five kWh", UsageError)],
)
def test_what_is_no_energy(energy, kind):
    with pytest.raises(kind):
        carbon.co2e(energy, region="GBR", pue=1.1)


def test_sci():
    """Worked cases of ISO/IEC 21031 and of SCI for AI, whose printed results slip."""
    q = carbon.sci("0.0096 kWh", "951 g/kWh", "5.112 g")
    assert q.to("g") == pytest.approx(14.2416)
    per_token = carbon.sci("0 kWh", "0 g/kWh", "6500 kg", 50e9)
    assert per_token.to("g") * 1e6 == pytest.approx(130)  # printed 0.13
    per_billion = carbon.sci("0 kWh", "0 g/kWh", "75000 kg", 2.5)
    assert per_billion.to("kg") == pytest.approx(30_000)  # printed 3000, then 30
    with pytest.raises(UnitError):
        carbon.sci("5 kWh", "951 g/kWh", "5 kWh")
    with pytest.raises(UsageError):
        carbon.sci("5 kWh", "951 g/kWh", "5 g", 0)


def test_water_by_both_variants():
    told = {"pue": 1.2, "wue_on": "0.18 L/kWh", "wue_off": "3.1 L/kWh"}
    assert water.water("100 kWh", **told).to("L") == pytest.approx(390)
    other = water.water("100 kWh", **told, variant="morrison")
    assert other.to("L") == pytest.approx(100 * 1.2 * 3.28)
    assert "Morrison" in other.basis and "Li et al." in water.water("1 kWh", **told).basis


def test_water_of_places():
    q = water.water("100 kWh", region="sa-east-1")
    assert q.to("L") == pytest.approx(100 * (0.23 + 1.17 * 18.6), rel=2e-3)
    assert "2024" in q.basis
    part = water.water("100 kWh", region="eu-west-1")
    assert not part.known
    assert part.low == pytest.approx(3.0)
    assert str(part) == "unknown, at least 3.00 L"
    assert "wue_off=" in part.basis


def test_water_between_both_bounds_of_pue():
    q = water.water("100 kWh", wue_on="0.2 L/kWh", wue_off="3 L/kWh")
    assert not q.known
    assert (q.low, q.high) == pytest.approx((100 * 3.2, 100 * (0.2 + 1.56 * 3)))


def test_water_of_an_own_region():
    own = {"wue_offsite": {"hall 3": {"value": 2.0, "year": 2026, "source": "our meter"}}}
    q = water.water("100 kWh", region="hall 3", personal=True, tables=own)
    assert q.to("L") == pytest.approx(200)
    assert "our meter 2026" in q.basis


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"variant": "none"}, UsageError),
        ({"wue_on": "5 g/kWh"}, UnitError),
        ({"wue_on": "-1 L/kWh"}, UsageError),
    ],
)
def test_what_is_no_water(told, kind):
    with pytest.raises(kind):
        water.water("1 kWh", pue=1.1, **told)


def test_embodied_share():
    assert embodied.share_of("1000 kg", "1 h", 4).to("g") == pytest.approx(28.54, rel=1e-3)
    bloom = embodied.share_of("2500 kg", quantity(1_082_990 / 8, "h"), 6, utilisation=0.85)
    assert bloom.to("kg") == pytest.approx(7575.306, rel=1e-6)


def test_embodied_of_a_device_spans_the_methods():
    q = embodied.of_device("NVIDIA H100 80GB HBM3", "1 h")
    bloom = (2500 / 8 + 150) / (6 * 8760 * 0.85) * 1e3
    ecologits = (5700 / 8 + 164) / (3 * 8760) * 1e3
    assert q.range_in("g") == pytest.approx((bloom, ecologits))
    assert q.to("g") == pytest.approx(3700 / 8 / (4 * 8760) * 1e3)
    assert q.provenance == "estimated"
    assert all(m in q.basis for m in ("BLOOM", "Morrison", "EcoLogits"))
    assert 3 < q.high / q.low < 4


def test_embodied_of_what_nobody_counted():
    q = embodied.of_device("NVIDIA GeForce RTX 4090", "1 h")
    assert not q.known and "known: H100" in q.basis
    own = {"embodied_devices": {"NVIDIA GeForce RTX 4090": 120}}
    assert embodied.of_device("nvidia geforce rtx 4090", "1 h", tables=own).known


@pytest.mark.parametrize(
    "told",
    [
        {"lifetime_years": 0}, {"lifetime_years": 4, "utilisation": 0},
        {"lifetime_years": 4, "utilisation": 1.2}, {"lifetime_years": 4, "share": 2},
        {"lifetime_years": math.nan},
    ],
)  # fmt: skip
def test_what_is_no_embodied_share(told):
    with pytest.raises(UsageError):
        embodied.share_of("1000 kg", "1 h", **told)


def test_llama_33_card_would_have_been_caught():
    """12.9 t for 7 million hours at 700 W are 2.6 g/kWh: no grid has that."""
    implied = quantity("12.9 t") / (quantity(7.0e6, "h") * quantity(700, "W"))
    with pytest.warns(factors.FactorWarning, match="5 and 1100"):
        factors.own(implied)
