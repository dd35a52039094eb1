"""Scaled studies: costs exactly, scores only where the ledger has them."""

import math

import numpy as np
import pytest
from cost_studies import lisa, run, study, workingage
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green.whatif import what_if


def searched(**settings):
    """Ten trials of 1 kWh, a final experiment of two folds of 5 kWh, an evaluation of 1 kWh."""
    told = {"examples": 300.0, "dataset_size": 100.0, "duration_s": 3600.0, "device_count": 1.0}
    tune = [run({"lr": i}, joules=3.6e6, accuracy=0.6 + 0.02 * i, **told) for i in range(10)]
    final = [run({"lr": 9}, role="final", joules=18e6, fold=f, accuracy=0.8, **told) for f in "ab"]
    return study(*tune, *final, run(role="eval", joules=3.6e6), **settings)


def kwh(answer):
    return answer.after["energy"].to("kWh")


def test_as_it_is():
    answer = what_if(searched())
    assert kwh(answer) == pytest.approx(21.0)
    assert answer.after["energy"].provenance == "measured"
    assert answer.score.after == pytest.approx(0.8)


def test_each_factor_scales_what_it_belongs_to():
    told = searched()
    assert kwh(what_if(told, data=0.5)) == pytest.approx(11.0)  # all that trains, not eval
    assert kwh(what_if(told, epochs=6)) == pytest.approx(41.0)  # 3 epochs before
    assert kwh(what_if(told, trials=5)) == pytest.approx(16.0)
    assert kwh(what_if(told, folds=4)) == pytest.approx(31.0)  # the final runs tell folds
    assert kwh(what_if(told, seeds=3)) == pytest.approx(61.0)
    assert kwh(what_if(told, data=0.5, trials=20)) == pytest.approx(16.0)
    assert what_if(told, data=0.5).after["energy"].provenance == "modelled"
    assert "scaled: x0.5 data" in what_if(told, data=0.5).after["energy"].basis


@settings(deadline=None)
@given(st.floats(0.01, 100), st.integers(1, 50), st.integers(1, 20))
def test_factors_multiply(data, seeds, trials):
    told = searched()
    both = kwh(what_if(told, data=data, seeds=seeds, trials=trials))
    assert both == pytest.approx(data * seeds * (trials + 10) + 1)


def test_a_region_changes_co2e_alone():
    told = searched(region="POL", pue=1.2)
    answer = what_if(told, region="SWE")
    assert kwh(answer) == pytest.approx(21.0)
    assert answer.before["co2e"].to("kg") / answer.after["co2e"].to("kg") > 10
    assert answer.score.after == answer.score.before
    own = what_if(searched(carbon_factor="500 g/kWh", pue=1.2), region="SWE")
    assert own.after["co2e"].value == pytest.approx(answer.after["co2e"].value)


def test_fewer_trials_have_an_expected_best():
    runs = [
        run({"a": i}, joules=1.0, accuracy=a) for i, a in enumerate((0.7, 0.72, 0.75, 0.8, 0.81))
    ]
    answer = what_if(study(*runs, search="random"), trials=2)
    assert answer.score.after == pytest.approx(0.780)
    assert answer.score.low <= 0.78 <= answer.score.high
    assert answer.after["energy"].value == pytest.approx(2.0)
    more = what_if(study(*runs, search="random"), trials=6)
    assert math.isnan(more.score.after) and "say nothing of the best of 6" in more.score.basis
    grid = what_if(study(*runs, search="grid"), trials=2)
    assert math.isnan(grid.score.after) and "random search only" in grid.score.basis


def sizes(noise=0.0, **extra):
    rng = np.random.default_rng(3)
    return study(*(
        run({"net": "cnn", "fraction": n / 1600}, joules=float(n), dataset_size=float(n),
            examples=10.0 * n, accuracy=0.4 + 0.1 * math.log10(n) + noise * rng.normal(), **extra)
        for n in (100, 200, 400, 800, 1600)
    ), run({"net": "cnn", "fraction": 1.0}, role="final", joules=1600.0, dataset_size=1600.0,
           examples=16000.0, accuracy=0.4 + 0.1 * math.log10(1600)))  # fmt: skip


def test_half_the_data_by_the_ledgers_own_law():
    answer = what_if(sizes(noise=0.002), data=0.5)
    expected = 0.4 + 0.1 * math.log10(800)
    assert answer.score.after == pytest.approx(expected, abs=0.01)
    assert answer.score.low < expected < answer.score.high
    # Equation 11: half the data moves the score by -0.301 b.
    exact = what_if(sizes(), data=0.5).score
    assert exact.after - exact.before == pytest.approx(-0.1 * math.log10(2))


def test_the_law_is_of_runs_with_all_else_equal():
    mixed = study(*(run({"net": f"cnn{i}", "depth": i % 2}, dataset_size=100.0 * 2**i, joules=1.0,
                        examples=1.0, accuracy=0.5 + 0.1 * i) for i in range(5)))  # fmt: skip
    assert "all else equal" in what_if(mixed, data=0.5).score.basis


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": 0.5}, "1 sizes of data"),
        ({"epochs": 6}, "1 numbers of epochs"),
        ({"folds": 5}, "another share of the data"),
        ({"data": 0.5, "epochs": 6}, "at once"),
        ({"data": 0.5, "trials": 3}, "at once"),
    ],
)
def test_no_data_is_said_with_its_reason(change, words):
    answer = what_if(searched(), **change)
    assert math.isnan(answer.score.after)
    assert words in answer.score.basis
    assert any("no data" in line for line in answer.lines())


def test_far_away_is_no_data():
    answer = what_if(sizes(), data=0.001)
    assert math.isnan(answer.score.after) and "decades beyond" in answer.score.basis


def test_unknown_stays_unknown_and_hours_scale():
    answer = what_if(workingage(), seeds=3)
    assert not answer.after["energy"].known
    assert "device not named" in answer.after["energy"].basis
    assert answer.after["hours"].to("h") == pytest.approx(138.0)
    assert answer.score.name == ""
    assert what_if(lisa(), trials=24).after["hours"].to("h") == pytest.approx(
        120 + 23 * (239_942 - 120) / 4788
    )


def test_calls_that_mean_nothing():
    for bad in ({"data": 0.0}, {"trials": -1}, {"seeds": math.nan}):
        with pytest.raises(UsageError, match="must be above 0"):
            what_if(searched(), **bad)
    with pytest.raises(UsageError, match="how many epochs"):
        what_if(workingage(), epochs=3)
    with pytest.raises(UsageError, match="how many trials"):
        what_if(study(run(joules=1.0)), trials=3)


def test_a_score_that_nothing_moves_has_no_interval():
    assert str(what_if(searched(), seeds=3).score) == (
        "accuracy 0.8 as it is: nothing that moves it was changed"
    )
