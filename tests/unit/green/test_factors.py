"""Intensities by place, own factors and mixes, PUE."""

import csv
import math

import pytest

from picojoule.errors import UsageError
from picojoule.green import factors, places
from picojoule.green.quantities import Quantity, UnitError, quantity


@pytest.mark.parametrize(
    ("said", "g_per_kwh"),
    [
        ("GBR", 210.89), ("gb", 210.89), ("United Kingdom", 210.89), ("UK", 210.89),
        ("FRA", 44.18), ("EU", 213.32), ("world", 473.04), ("USA", 383.55), ("us", 383.55),
        ("US-VA", 321.47), ("virginia", 321.47), ("Washington", 130.35),
        ("Washington, D.C.", 158.09), ("eu-west-1", 279.86), ("aws:us-east-1", 321.47),
        ("us-central1", 241.74), ("azure:swedencentral", 35.82), ("Côte d'Ivoire", 393.53),
        ("CA", 174.75), ("DE", 344.14),
    ],
)  # fmt: skip
def test_intensity_by_code_and_name(said, g_per_kwh):
    """Two letters are a country, also where a US state has them (CA, DE)."""
    assert factors.intensity(said).to("g/kWh") == pytest.approx(g_per_kwh, rel=5e-4)


def test_every_factor_says_source_and_year():
    for iso3 in ("GBR", "SLV", "ESH", "US-OH", "eu-north-1"):
        said = factors.intensity(iso3)
        assert said.provenance == "published"
        assert said.basis.startswith(("Ember", "OWID"))
        assert any(y in said.basis for y in ("2024", "2023", "2022", "2009"))


def test_spread_by_size_of_the_grid():
    def spread(region):
        q = factors.intensity(region)
        return q.value / q.low, q.high / q.value

    assert spread("USA") == pytest.approx((1 / 0.94, 1.06))
    assert spread("WLD") == pytest.approx((1 / 0.94, 1.06))
    assert spread("IRL") == pytest.approx((1 / 0.78, 1.22))  # 34 TWh
    assert spread("ABW") == pytest.approx((2.0, 2.0))  # 1 TWh
    assert spread("SLV") == pytest.approx((2.3, 2.3))  # where two sources disagree most
    assert spread("US-VA") == pytest.approx((1 / 0.94, 383.55 / 345.61))


def test_range_holds_the_other_source_of_the_same_year():
    """Uganda, 2022: Ember 57.39, Our World in Data 44.53."""
    q = factors.intensity("UGA")
    assert q.range_in("g/kWh")[0] == pytest.approx(44.527, rel=1e-3)


def test_all_places_of_the_tables_have_a_factor():
    from picojoule.green.tables import rows

    doubtful = []
    for row in rows("grid_intensity"):
        value = float(row["gco2e_per_kwh"])
        if 5 <= value <= 1100:
            assert factors.intensity(row["country_iso3"]).known
            assert factors.intensity(row["country"]) if row["country"] != "Georgia" else True
        else:
            doubtful.append(row["country_iso3"])
    assert sorted(doubtful) == ["CAF", "TKM", "UZB"]
    for row in rows("cloud_locations"):
        assert factors.intensity(row["region"]).known
    for row in rows("cloud_regions"):
        assert places.find(row["region"]).provider == row["provider"]
    for row in rows("us_states"):
        assert factors.intensity(row["code"]).known


@pytest.mark.parametrize(
    ("said", "near"),
    [("Germny", "Germany (DEU)"), ("us-east1x", "us-east1"), ("GBX", "GB"), ("Virgnia", "US-VA")],
)
def test_unknown_place_names_what_is_near(said, near):
    with pytest.raises(places.UnknownPlaceError, match="no country") as error:
        factors.intensity(said)
    assert near in str(error.value)


def test_a_name_of_two_places_is_asked_for():
    with pytest.raises(places.UnknownPlaceError, match=r"GEO.*US-GA"):
        factors.intensity("Georgia")
    assert factors.intensity("GEO").to("g/kWh") == pytest.approx(143.06)


@pytest.mark.parametrize("said", ["", "  ", None, 5])
def test_no_place_is_an_error(said):
    with pytest.raises(places.UnknownPlaceError):
        factors.intensity(said)


@pytest.mark.parametrize(("iso3", "value"), [("CAF", 0.0), ("TKM", 1306.3), ("UZB", 1121.18)])
def test_doubtful_factor_warns(iso3, value):
    with pytest.warns(factors.FactorWarning, match="5 and 1100"):
        q = factors.intensity(iso3)
    assert q.to("g/kWh") == pytest.approx(value, rel=1e-4)
    assert "doubtful" in q.basis
    if iso3 == "CAF":  # hydro power is not free of carbon
        assert q.range_in("g/kWh") == pytest.approx((0.0, 24.0))


def test_own_factor_in_any_unit():
    assert factors.own("0.429 kg/kWh").to("g/kWh") == pytest.approx(429)
    assert factors.own("770.9 lb/MWh").to("g/kWh") == pytest.approx(349.674, rel=1e-5)
    assert factors.own(quantity(57, "g/kWh")).basis == "own factor"


@pytest.mark.parametrize(
    ("said", "kind"),
    [("5 kWh", UnitError), (211, UsageError), ("-3 g/kWh", UsageError), ("much", UsageError)],
)
def test_what_is_no_factor(said, kind):
    with pytest.raises(kind):
        factors.own(said)
    with pytest.raises(UsageError):
        factors.own(Quantity(math.nan, quantity(1, "g/kWh").dimension))


def test_kg_for_g_is_noticed():
    with pytest.warns(factors.FactorWarning, match="kg for g"):
        factors.own("211 kg/kWh")
    with pytest.warns(factors.FactorWarning):
        factors.own("0.4 g/kWh")


def test_mix():
    shares = {"coal": 0.25, "oil": 0.35, "gas": 0.26, "nuclear": 0.14}
    told = {"coal": "995 g/kWh", "oil": "816 g/kWh", "gas": "743 g/kWh", "nuclear": "29 g/kWh"}
    assert factors.mix(shares, told).to("g/kWh") == pytest.approx(731.59)
    percent = {"wind": 60, "gas": 40}
    assert factors.mix(percent).to("g/kWh") == pytest.approx(0.6 * 11 + 0.4 * 490)
    assert "IPCC 2014" in factors.mix(percent).basis


@pytest.mark.parametrize(
    "shares", [{}, {"coal": 0.5}, {"coal": 1.5, "gas": -0.5}, {"peat": 1.0}, {"coal": math.nan}]
)
def test_what_is_no_mix(shares):
    with pytest.raises(UsageError):
        factors.mix(shares)


def test_two_factors_are_an_error():
    for told in (
        {"region": "GBR", "factor": "211 g/kWh"},
        {"region": "GBR", "shares": {"wind": 1.0}},
        {"factor": "211 g/kWh", "shares": {"wind": 1.0}},
    ):
        with pytest.raises(UsageError, match="two factors"):
            factors.chosen(**told)
    assert not factors.chosen().known
    assert "region=" in factors.chosen().basis and " factor=" in factors.chosen().basis
    # What is typed is called otherwise among a study's settings.
    with pytest.raises(UsageError, match="region and factor are two factors"):
        factors.chosen("GBR", "211 g/kWh")
    with pytest.raises(UsageError, match="region, carbon_factor and mix are three") as refused:
        factors.chosen("GBR", "211 g/kWh", {"wind": 1.0}, setting=True)
    assert "mix=None in Python, --set mix= in a shell" in str(refused.value)
    assert "carbon_factor=" in factors.chosen(setting=True).basis


def test_pue():
    assert factors.pue("us-east-1").value == 1.15
    assert "2024" in factors.pue("us-east-1").basis
    assert factors.pue(personal=True).value == factors.pue(given="personal").value == 1.0
    assert factors.pue("us-east-1", given=1.2).value == 1.2


@pytest.mark.parametrize("region", [None, "GBR", "eu-west-2", "us-west2"])
def test_pue_is_asked_for_where_it_is_not_known(region):
    """Countries, and cloud regions that disclose none."""
    q = factors.pue(region)
    assert not q.known
    assert (q.low, q.high) == (1.0, 1.56)
    assert "say pue=" in q.basis and "2024" in q.basis
    assert str(q) == "unknown, between 1.00 and 1.56"


@pytest.mark.parametrize("given", [0.9, -1, math.nan, math.inf, "low", quantity("5 kWh")])
def test_what_is_no_pue(given):
    with pytest.raises(UsageError):
        factors.pue(given=given)


def test_a_personal_machine_is_in_no_data_centre():
    with pytest.raises(UsageError, match="personal"):
        factors.pue("eu-west-1", personal=True)
    with pytest.raises(UsageError, match="personal"):
        factors.pue(given=1.3, personal=True)


def test_own_entries_go_before_the_table():
    own = {"grid_intensity": {"GBR": 180, "our cluster": {"value": 42, "year": 2026}}}
    assert factors.intensity("gbr", tables=own).to("g/kWh") == 180
    assert factors.intensity("eu-west-2", tables=own).to("g/kWh") == 180  # London
    mine = factors.intensity("Our Cluster", tables=own)
    assert mine.to("g/kWh") == 42
    assert "2026" in mine.basis and "told by the user" in mine.basis
    assert "no year told" in factors.intensity("GBR", tables=own).basis
    assert factors.intensity("FRA", tables=own).to("g/kWh") == pytest.approx(44.18)
    assert factors.pue("hall 3", tables={"cloud_regions": {"hall 3": 1.09}}).value == 1.09


def test_own_file_takes_the_place_of_the_table(tmp_path):
    file = tmp_path / "grid.csv"
    with file.open("w", newline="", encoding="utf-8") as f:
        w = csv.writer(f)
        w.writerow(["country_iso3", "country", "year", "gco2e_per_kwh", "source"])
        w.writerow(["GBR", "United Kingdom", 2026, 150, "our own count"])
    q = factors.intensity("GBR", tables={"grid_intensity": file})
    assert q.to("g/kWh") == 150
    assert "our own count 2026" in q.basis
    assert not factors.intensity("FRA", tables={"grid_intensity": file}).known


def test_bad_own_tables(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("country,value\nGBR,1\n", encoding="utf-8")
    for table, said in (
        (bad, "no column"),
        (tmp_path / "none.csv", "cannot be read"),
        ({"GBR": "lots"}, "not a number"),
        ({"GBR": -4}, "at least 0"),
        ({"GBR": math.nan}, "at least 0"),
    ):
        with pytest.raises(UsageError, match=said):
            factors.intensity("GBR", tables={"grid_intensity": table})
    with pytest.raises(UsageError, match="no table"):
        factors.intensity("GBR", tables={"grid": {}})
