"""Expected best of n: published vectors, brute force, and refusals."""

import itertools
import math

import numpy as np
import pytest
from cost_studies import run, study
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green import trials
from picojoule.green.refusal import Refusal

SCORES = [0.75, 0.70, 0.81, 0.72, 0.80]


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        (True, [0.756, 0.780, 0.792, 0.798624, 0.802522]),
        (False, [0.756, 0.786, 0.801, 0.808, 0.810]),
    ],
)
def test_published_vectors(replacement, expected):
    found = [trials.expected_best(SCORES, n, replacement) for n in range(1, 6)]
    assert found == pytest.approx(expected, abs=5e-7)
    assert trials.curve(SCORES, replacement).expected == pytest.approx(expected, abs=5e-7)


scores = st.lists(st.floats(-10, 10), min_size=1, max_size=6)


@settings(deadline=None)
@given(scores, st.integers(1, 4), st.booleans())
def test_against_all_draws(values, n, larger):
    n = min(n, len(values))
    best = max if larger else min
    with_ = [best(d) for d in itertools.product(values, repeat=n)]
    without = [best(d) for d in itertools.combinations(values, n)]
    found = trials.expected_best(values, n, True, larger)
    assert found == pytest.approx(np.mean(with_), abs=1e-9)
    assert trials.expected_best(values, n, False, larger) == pytest.approx(
        np.mean(without), abs=1e-9
    )
    assert trials.spread_of_best(values, n, larger) == pytest.approx(np.std(with_), abs=1e-6)


@settings(deadline=None)
@given(scores, st.booleans())
def test_one_is_the_mean_and_all_is_the_best(values, replacement):
    curve = trials.curve(values, replacement)
    assert curve.expected[0] == pytest.approx(np.mean(values), abs=1e-9)
    assert (np.diff(curve.expected) >= -1e-9).all()
    if not replacement:
        assert curve.expected[-1] == pytest.approx(max(values), abs=1e-12)


def test_many_trials_do_not_overflow():
    values = np.linspace(0, 1, 3000)
    assert trials.expected_best(values, 1500, replacement=False) == pytest.approx(1.0, abs=1e-3)


def test_range_of_best_holds_the_draws():
    values = np.linspace(0, 1, 101)
    low, high = trials.range_of_best(values, 10)
    rng = np.random.default_rng(5)
    best = rng.choice(values, (20_000, 10)).max(axis=1)
    assert ((best >= low) & (best <= high)).mean() >= 0.95
    assert low > 0.6  # and says something


@pytest.mark.parametrize("search", ["grid", "bayesian", "manual"])
def test_other_searches_are_refused(search):
    with pytest.raises(Refusal, match="random search only"):
        trials.expected_best(SCORES, 2, search=search)
    with pytest.raises(Refusal, match="random search only"):
        trials.curve(SCORES, search=search)


def test_bad_input():
    with pytest.raises(Refusal, match="5 trials say nothing of the best of 6"):
        trials.expected_best(SCORES, 6)
    with pytest.raises(UsageError, match="from 1 on"):
        trials.expected_best(SCORES, 0)
    with pytest.raises(UsageError, match="nan"):
        trials.expected_best([0.1, math.nan], 1)
    with pytest.raises(UsageError, match="no scores"):
        trials.expected_best([], 1)


def test_of_study_averages_folds_and_charges_failures():
    runs = [run({"lr": i}, accuracy=a, joules=3.6e6, fold=f, duration_s=1800.0, device_count=2.0)
            for i, a in enumerate(SCORES) for f in "ab"]  # fmt: skip
    failed = run({"lr": 9}, status="failed", joules=3.6e6 * 5, duration_s=0.0, device_count=2.0)
    best = trials.of_study(study(*runs, failed, search="random", carbon_factor="100 g/kWh", pue=1))
    assert best.expected[1] == pytest.approx(0.780)
    assert best.x().tolist() == [1, 2, 3, 4, 5]
    assert best.x("energy")[0] == pytest.approx(3.0)  # (10 + 5) kWh over 5 trials with a score
    assert best.x("co2e")[1] == pytest.approx(0.6)
    assert best.x("hours")[4] == pytest.approx(10.0)
    assert best.gain_per("energy")[0] == pytest.approx(0.024 / 3.0)
    with pytest.raises(Refusal, match="no price"):
        best.x("money")
    with pytest.raises(UsageError, match="axis must be"):
        best.x("joules")


def test_of_study_asks_how_trials_were_drawn():
    runs = [run({"lr": i}, accuracy=a, joules=1.0) for i, a in enumerate(SCORES)]
    with pytest.raises(Refusal, match="search='random'"):
        trials.of_study(study(*runs))
    with pytest.raises(Refusal, match="random search only"):
        trials.of_study(study(*runs, search="grid"))
    with pytest.raises(Refusal, match="no scores"):
        trials.of_study(study(run({"a": 1}, joules=1.0)), search="random")
