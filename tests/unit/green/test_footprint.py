"""The footprint of whole studies."""

import dataclasses
import math

import pytest

from picojoule.errors import UsageError
from picojoule.green import footprint
from picojoule.green.model import Run, Study
from picojoule.green.places import UnknownPlaceError
from picojoule.green.quantities import Quantity, UnitError


def run(i=0, **fields):
    told = {
        "uid": f"{i:032x}", "study": "s", "duration_s": 3600.0, "device_count": 2.0,
        "device_name": "NVIDIA H100 80GB HBM3", "energy_j": 3.6e6, "energy_low_j": 3.4e6,
        "energy_high_j": 3.8e6, "energy_provenance": "measured", "energy_basis": "nvml counter",
        "flops": 1e18, "flops_provenance": "counted",
    }  # fmt: skip
    return Run(**{**told, **fields})


TOLD = {"region": "GBR", "pue": 1.2, "price_per_device_hour": "2 USD/h"}


def test_working_age_is_46_node_hours_and_unknown_energy():
    """Four leave-one-site-out folds of 11.5 h; no power was recorded, no device named."""
    sites = ("ITCL", "BrainSigns", "Audeering", "Cambridge")
    runs = [
        Run(f"{i:032x}", "workingage-loso", "final", fold=site, duration_s=11.5 * 3600,
            device_count=1, energy_basis="no power record")
        for i, site in enumerate(sites)
    ]  # fmt: skip
    fp = footprint.of(Study("workingage-loso", runs))
    assert fp.runs == 4
    assert fp.device_hours.to("h") == fp.wall_s.to("h") == 46
    assert fp.wall_parallel_s.to("h") == 11.5
    for what in ("it_energy", "facility_energy", "co2e", "embodied", "water", "money", "flops"):
        q = getattr(fp, what)
        assert str(q) == "unknown" and q.basis, what
    assert "no power record" in fp.it_energy.basis
    assert "region=" in fp.co2e.basis and "price_per_device_hour=" in fp.money.basis


def test_sums_over_all_runs_failed_ones_too():
    runs = [run(0), run(1, status="failed"), run(2, status="lost", duration_s=7200.0)]
    fp = footprint.of(runs, TOLD)
    assert fp.it_energy.to("kWh") == pytest.approx(3)
    assert fp.it_energy.range_in("kWh") == pytest.approx((3 * 3.4 / 3.6, 3 * 3.8 / 3.6))
    assert fp.facility_energy.to("kWh") == pytest.approx(3.6)
    assert fp.co2e.to("g") == pytest.approx(3.6 * 210.89)
    assert fp.device_hours.to("h") == pytest.approx(8)
    assert fp.wall_s.to("h") == pytest.approx(4)
    assert fp.wall_parallel_s.to("h") == pytest.approx(2)
    assert fp.money.to("USD") == pytest.approx(16)
    assert fp.flops.to("FLOP") == fp.pf_days.to("FLOP") == pytest.approx(3e18)
    assert fp.pj_per_flop.to("pJ/FLOP") == pytest.approx(3.6e6 / 1e18 * 1e12)
    assert fp.it_energy.provenance == "measured" and "3 measured" in fp.it_energy.basis
    assert fp.embodied.known and fp.embodied.provenance == "estimated"


def test_factors_stand_beside_with_source_and_year():
    fp = footprint.of([run()], {**TOLD, "region": "us-east-1", "pue": None})
    told = dict(fp.factors)
    assert told["PUE us-east-1"].value == 1.15
    assert "2024" in told["PUE us-east-1"].basis
    assert "Ember 2024, Virginia" in told["intensity us-east-1"].basis
    assert told["price"].to("USD/h") == 2 and told["price"].basis == "own price"
    assert "embodied NVIDIA H100 80GB HBM3" in told
    assert told["nameplate floor NVIDIA H100 80GB HBM3"].to("pJ/FLOP") == pytest.approx(
        0.707, rel=1e-3
    )


def test_runs_in_several_places_each_have_their_factor():
    fp = footprint.of([run(0, region="FRA"), run(1, region="POL"), run(2)], TOLD)
    expected = 1.2 * (44.18 + 614.98 + 210.89)
    assert fp.co2e.to("g") == pytest.approx(expected, rel=1e-4)
    assert {n for n, _ in fp.factors} >= {"intensity FRA", "intensity POL", "intensity GBR"}
    assert fp.co2e.basis.count("3 measured runs") == 1


def test_settings_of_the_study_hold_and_others_go_before():
    study = Study("s", [run()], {"region": "FRA", "pue": 1.0})
    assert footprint.of(study).co2e.to("g") == pytest.approx(44.18)
    assert footprint.of(study, {"region": "POL"}).co2e.to("g") == pytest.approx(614.98, rel=1e-4)


def test_everywhere_moves_runs_that_have_a_region():
    runs = [run(0, region="POL")]
    told = {"region": "SWE", "pue": 1.0}
    assert footprint.of(runs, told).co2e.to("g") == pytest.approx(614.98, rel=1e-4)
    moved = footprint.of(runs, {**told, "everywhere": True})
    assert moved.co2e.to("g") == pytest.approx(35.82, rel=1e-3)


def test_an_unknown_run_leaves_a_lower_bound():
    fp = footprint.of([run(0), run(1, energy_j=math.nan), run(2)], TOLD)
    assert not fp.it_energy.known
    assert fp.it_energy.low == pytest.approx(6.8e6)
    assert math.isnan(fp.it_energy.high)
    assert "1 of 3 runs unknown" in fp.it_energy.basis
    assert str(fp.it_energy).startswith("unknown, at least 1.89 kWh")
    assert fp.co2e.low == pytest.approx(6.8 / 3.6 * 1.2 * 210.89 * 0.94)
    assert fp.pj_per_flop.known and "2 of 3" in fp.pj_per_flop.basis
    assert fp.device_hours.known


@pytest.mark.parametrize("bad", [-1.0, math.inf, -math.inf])
def test_impossible_figures_count_as_unknown(bad):
    fp = footprint.of([run(0), run(1, energy_j=bad, flops=bad, duration_s=bad)], TOLD)
    for q in (fp.it_energy, fp.flops, fp.device_hours, fp.wall_s, fp.wall_parallel_s):
        assert not q.known and q.low > 0


def test_range_of_a_run_on_the_wrong_side_is_not_used():
    fp = footprint.of([run(0, energy_low_j=9e6, energy_high_j=1e6)], TOLD)
    assert fp.it_energy.low == fp.it_energy.value == fp.it_energy.high == 3.6e6


def test_no_runs():
    fp = footprint.of([], TOLD)
    assert fp.runs == 0
    assert not fp.it_energy.known and "no runs" in fp.it_energy.basis
    assert not fp.device_hours.known


def test_both_bounds_of_what_is_not_told():
    fp = footprint.of([run()], {"region": "GBR"})
    assert fp.it_energy.known and not fp.facility_energy.known
    assert fp.facility_energy.range_in("kWh") == pytest.approx((3.4 / 3.6, 1.56 * 3.8 / 3.6))
    assert fp.money.range_in("USD") == pytest.approx((2 * 2.45, 2 * 12.29))
    assert "vendor=" in fp.money.basis


def test_money_by_vendor_or_tariff():
    by_vendor = footprint.of([run()], {"vendor": "RunPod"})
    assert by_vendor.money.to("USD") == pytest.approx(2 * 2.99)
    by_tariff = footprint.of([run()], {"price_per_kwh": "0.25 EUR/kWh", "pue": 1.2})
    assert by_tariff.money.to("EUR") == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"price_per_device_hour": "1 USD/h", "price_per_kwh": "1 USD/kWh"}, UsageError),
        ({"price_per_device_hour": "1 USD/h", "vendor": "RunPod"}, UsageError),
        ({"price_per_device_hour": 2.5}, UsageError),
        ({"price_per_device_hour": "2 USD/kWh"}, UnitError),
        ({"region": "GBR", "carbon_factor": "211 g/kWh"}, UsageError),
        ({"carbon_factor": "211 kWh"}, UnitError),
        ({"region": "Atlantis"}, UnknownPlaceError),
        ({"pue": 0.5}, UsageError),
        ({"personal": True, "pue": 1.4}, UsageError),
        ({"wue_on": "1 kg/kWh"}, UnitError),
        ({"embodied": 460, "lifetime_years": 4}, UsageError),
        ({"tables": {"nothing": {}}}, UsageError),
    ],
)
def test_settings_that_cannot_be(told, kind):
    with pytest.raises(kind):
        footprint.of([run()], told)


def test_two_factors_are_told_by_the_names_of_settings():
    with pytest.raises(UsageError, match="region and carbon_factor are two factors") as refused:
        footprint.of([run()], {"region": "GBR", "carbon_factor": "211 g/kWh"})
    assert "--set carbon_factor= in a shell" in str(refused.value)
    assert "carbon_factor='211 g/kWh'" in footprint.of([run()], {"pue": 1.2}).co2e.basis


def test_own_factor_and_runs_with_regions_are_two_factors():
    with pytest.raises(UsageError, match="everywhere=True"):
        footprint.of([run(region="FRA")], {"carbon_factor": "100 g/kWh", "pue": 1.0})
    fp = footprint.of(
        [run(region="FRA")], {"carbon_factor": "100 g/kWh", "pue": 1.0, "everywhere": True}
    )
    assert fp.co2e.to("g") == pytest.approx(100)


def test_a_runs_own_unknown_region_spoils_only_its_carbon():
    fp = footprint.of([run(0), run(1, region="Atlantis")], TOLD)
    assert fp.facility_energy.to("kWh") == pytest.approx(2.4)
    assert not fp.co2e.known and "Atlantis" in fp.co2e.basis
    assert fp.co2e.low == pytest.approx(1.2 * 210.89 * (1 - math.hypot(0.2 / 3.6, 0.06)))


def test_embodied_told():
    fp = footprint.of([run()], {"embodied": "460 kg", "lifetime_years": 4})
    assert fp.embodied.to("g") == pytest.approx(460e3 * 2 / (4 * 8760))
    asked = footprint.of([run()], {"embodied": "460 kg"})
    assert not asked.embodied.known and "lifetime_years=" in asked.embodied.basis


def test_imported_time_is_not_measured():
    fp = footprint.of([run(origin="sacct jobs.txt")], TOLD)
    assert fp.wall_s.provenance == fp.device_hours.provenance == "imported"


def test_footprint_is_a_value():
    fp = footprint.of([run()], TOLD)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fp.runs = 5
    for f in dataclasses.fields(fp):
        value = getattr(fp, f.name)
        if isinstance(value, Quantity):
            assert value.basis, f.name


def test_many_runs_sum_as_one_by_one():
    runs = [run(i, energy_j=1e5 + i, region=("", "FRA", "POL")[i % 3]) for i in range(3000)]
    fp = footprint.of(runs, TOLD)
    assert fp.it_energy.to("J") == pytest.approx(sum(r.energy_j for r in runs), rel=1e-12)
    by_place = {"": 210.89, "FRA": 44.18, "POL": 614.98}
    grams = sum(r.energy_j / 3.6e6 * 1.2 * by_place[r.region] for r in runs)
    assert fp.co2e.to("g") == pytest.approx(grams, rel=1e-4)


def test_agrees_with_the_costs_of_single_runs():
    """Sums over runs are the same by whichever way they are got."""
    from picojoule.green import costs

    runs = [
        run(i, energy_j=1e6 * (i + 1), energy_low_j=math.nan, energy_high_j=math.nan,
            region=("", "FRA")[i % 2])
        for i in range(10)
    ]  # fmt: skip
    fp = footprint.of(runs, TOLD)
    for kind, q in (
        ("energy", fp.it_energy), ("co2e", fp.co2e), ("money", fp.money),
        ("hours", fp.device_hours), ("flops", fp.flops),
    ):  # fmt: skip
        one_by_one = costs.of(runs, kind, TOLD).sum()
        assert one_by_one.dimension == q.dimension
        assert one_by_one.value == pytest.approx(q.value, rel=1e-9), kind
