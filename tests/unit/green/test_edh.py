"""E x D x H against studies whose factors are known."""

import math
from dataclasses import replace

import pytest
from cost_studies import lisa, run, study, workingage
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green import edh
from picojoule.green.model import Study


def test_lisa_by_count_and_by_cost():
    h = edh.decompose(lisa(), cost="hours")
    assert h.configs == 4789
    assert h.h_cost == pytest.approx(239_942 / 120)
    assert round(h.h_cost, -1) == 2000
    assert h.device_s.to("h") == pytest.approx(239_942)
    assert h.by_role["final"].share == pytest.approx(120 / 239_942)


def test_lisa_energy_is_unknown_with_a_reason():
    h = edh.decompose(lisa())
    assert not h.total.known and not h.known.known
    assert math.isnan(h.h_cost)
    assert "energy of no run is known" in h.total.basis
    assert h.configs == 4789  # counting needs no energy


def test_workingage():
    h = edh.decompose(workingage(), cost="hours")
    assert (h.runs, h.configs, h.folds, h.seeds) == (4, 1, 4, 1)
    assert h.device_s.to("h") == pytest.approx(46)
    assert h.wall_serial_s.to("h") == pytest.approx(46)
    assert h.wall_parallel_s.to("h") == pytest.approx(11.5)
    assert h.device_s.provenance == "imported"
    assert h.h_cost == 1.0
    energy = edh.decompose(workingage())
    assert not energy.total.known and "device not named" in energy.total.basis
    assert any("device not named" in line for line in energy.lines())


def test_workingage_with_a_modelled_device_keeps_the_range():
    told = workingage(energy_j=4.0e6, energy_low_j=2.5e6, energy_high_j=6.0e6,
                      energy_provenance="modelled", energy_basis="assumed device")  # fmt: skip
    h = edh.decompose(told)
    assert h.total.to("J") == 16.0e6
    assert h.total.range_in("J") == (10.0e6, 24.0e6)
    assert h.total.provenance == "modelled"


def test_factors_multiply_to_the_known_cost():
    final = [run({"lr": 1}, role="final", joules=600.0, examples=200.0, dataset_size=50.0, fold=f,
                 seed=s, flops=1e6) for f in "ab" for s in "12"]  # fmt: skip
    tuning = [run({"lr": k}, joules=50.0, examples=20.0) for k in range(2, 12)]
    h = edh.decompose(study(*final, *tuning))
    assert (h.configs, h.folds, h.seeds, h.final_runs) == (11, 2, 2, 4)
    assert h.per_example.to("J") == pytest.approx(3.0)
    assert h.flops_per_example.to("FLOP") == pytest.approx(5000.0)
    assert (h.examples, h.dataset_size, h.epochs) == (200.0, 50.0, 4.0)
    assert h.h_cost == pytest.approx(2900 / 2400)
    product = h.per_example.value * h.examples * h.final_runs * h.h_cost
    assert product == pytest.approx(h.known.value)


def test_failed_runs_count():
    runs = [run({"a": 1}, role="final", joules=100.0), run({"a": 2}, status="failed", joules=30.0),
            run({"a": 3}, status="lost", joules=20.0), run({"a": 4}, status="pruned", joules=50.0),
            run({"a": 5}, status="interrupted", joules=50.0)]  # fmt: skip
    h = edh.decompose(study(*runs))
    assert h.failed.runs == 3 and h.failed.cost.to("J") == 100.0
    assert h.failed.share == pytest.approx(0.4)
    assert h.by_status["pruned"].share == pytest.approx(0.2)
    assert h.study_over_final == 2.5


def test_one_unknown_run_is_said_and_the_total_is_a_bound():
    h = edh.decompose(study(run({"a": 1}, role="final", joules=100.0), run({"a": 2}, joules=50.0),
                            run({"a": 3}, status="lost", energy_basis="killed early")))  # fmt: skip
    assert not h.total.known and h.total.low == 150.0
    assert h.known.to("J") == 150.0 and h.unknown_runs == 1
    assert h.h_cost == 1.5
    assert h.failed.unknown_runs == 1 and not h.failed.cost.known
    assert math.isnan(h.failed.share)
    assert "1 of 3 runs" in h.notes[0] and "killed early" in h.notes[0]


def test_the_final_run_is_chosen_by_score_if_none_is_marked():
    runs = [run({"a": i}, joules=10.0 * (i + 1), accuracy=a) for i, a in enumerate((0.7, 0.9, 0.8))]
    h = edh.decompose(study(*runs))
    assert h.final.to("J") == 20.0
    assert any("best 'accuracy'" in note for note in h.notes)
    losses = [replace(r, score_larger_is_better={"accuracy": False}) for r in runs]
    assert edh.decompose(study(*losses)).final.to("J") == 10.0


def test_without_role_or_score_the_final_run_is_unknown():
    h = edh.decompose(study(run({"a": 1}, joules=1.0), run({"a": 2}, joules=1.0)))
    assert not h.final.known and math.isnan(h.h_cost)
    assert any("no scores" in note for note in h.notes)


def test_configurations_not_told_are_not_counted_as_one():
    h = edh.decompose(study(run(joules=1.0), run(joules=1.0)))
    assert math.isnan(h.configs)
    mixed = edh.decompose(study(run(joules=1.0), run({"a": 1}, joules=1.0)))
    assert mixed.configs == 1 and any("told no configuration" in n for n in mixed.notes)


def test_debug_and_eval_runs_are_no_experiments_but_cost():
    h = edh.decompose(study(run({"a": 1}, role="final", joules=10.0),
                            run({"a": 2}, role="debug", joules=5.0),
                            run({"a": 3}, role="eval", joules=5.0)))  # fmt: skip
    assert h.configs == 1 and h.h_cost == 2.0


def test_an_empty_study_has_no_factors():
    h = edh.decompose(Study("none", ()))
    assert h.runs == 0 and h.total.value == 0.0 and math.isnan(h.h_cost)


def test_co2e_and_money_need_their_factors():
    runs = (run({"a": 1}, role="final", joules=3.6e6, duration_s=3600.0, device_count=2.0),)
    assert "region=" in edh.decompose(study(*runs), cost="co2e").total.basis
    known = edh.decompose(study(*runs, carbon_factor="200 g/kWh", pue=1.5), cost="co2e")
    assert known.total.to("g") == pytest.approx(300.0)
    rented = edh.decompose(study(*runs, price_per_device_hour="2.5 USD/h"), cost="money")
    assert rented.total.to("USD") == pytest.approx(5.0)
    powered = edh.decompose(study(*runs, price_per_kwh="0.2 EUR/kWh", pue=1.5), cost="money")
    assert powered.total.to("EUR") == pytest.approx(0.3)
    assert not edh.decompose(study(*runs, price_per_kwh="0.2 EUR/kWh"), cost="money").total.known
    both = study(*runs, price_per_kwh="0.2 EUR/kWh", price_per_device_hour="2.5 USD/h")
    with pytest.raises(UsageError, match="two prices"):
        edh.decompose(both, cost="money")
    with pytest.raises(UsageError, match="cost must be"):
        edh.decompose(study(*runs), cost="joules")


def test_runs_in_two_regions_have_a_factor_each():
    runs = [run({"a": 1}, role="final", joules=3.6e6, region=r) for r in ("FRA", "POL")]
    both = edh.decompose(study(*runs, pue=1.0), cost="co2e").total
    one = [edh.decompose(study(r, pue=1.0), cost="co2e").total for r in runs]
    assert both.value == pytest.approx(one[0].value + one[1].value)
    assert one[1].value > 5 * one[0].value


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.01, 1e9), st.sampled_from(["tune", "final", "debug", "eval"]),
                  st.sampled_from(["ok", "failed", "pruned", "lost"])),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_shares_add_up(rows):
    runs = [run({"i": i}, joules=j, role=r, status=s) for i, (j, r, s) in enumerate(rows)]
    h = edh.decompose(study(*runs))
    assert sum(s.share for s in h.by_role.values()) == pytest.approx(1.0)
    assert sum(s.share for s in h.by_status.values()) == pytest.approx(1.0)
    assert sum(s.cost.value for s in h.by_status.values()) == pytest.approx(h.total.value)
    if not math.isnan(h.h_cost):
        assert h.h_cost >= 1.0 - 1e-12
        assert h.h_cost * h.final.value == pytest.approx(h.known.value)
