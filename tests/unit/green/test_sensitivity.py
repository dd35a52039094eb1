"""Hyper-parameters whose effect is known, or none."""

import numpy as np
import pytest
from cost_studies import run, study

from picojoule.green import sensitivity
from picojoule.green.refusal import Refusal


def trials(score, n=60, joules=lambda i: 1.0):
    rng = np.random.default_rng(9)
    runs = []
    for i in range(n):
        config = {"lr": float(10 ** rng.uniform(-4, -1)), "opt": ["sgd", "adam"][i % 2],
                  "dropout": float(rng.uniform())}  # fmt: skip
        runs.append(run(config, joules=joules(i), accuracy=score(config, rng)))
    return study(*runs)


def test_the_key_that_decides_is_found_and_the_others_are_chance():
    told = trials(lambda c, rng: (0.9 if c["opt"] == "adam" else 0.7) + 0.01 * rng.normal())
    found = sensitivity.of(told)
    first, *others = found.effects
    assert first.key == "opt" and first.values == 2
    assert first.explained > 0.98 and first.beyond_chance > 0.98 and first.p == 0.001
    assert all(e.beyond_chance < 0.2 and e.p > 0.01 for e in others)


def test_by_chance_is_what_theory_says():
    found = sensitivity.of(trials(lambda c, rng: rng.normal(), n=80))
    for e in found.effects:
        assert e.by_chance == pytest.approx((e.values - 1) / 79, rel=0.15)
        assert 0 <= e.explained <= 1


def test_false_alarms_are_as_rare_as_they_say():
    alarms = tests = 0
    for shift in range(25):
        told = trials(lambda c, rng, s=shift: float(np.random.default_rng(
            abs(hash((s, c["lr"]))) % 2**32).normal()), n=24)  # fmt: skip
        for e in sensitivity.of(told).effects:
            alarms += e.p <= 0.05
            tests += 1
    assert alarms <= 12  # of 75; 3.75 are expected


def test_equal_cost():
    told = trials(lambda c, rng: 0.5, n=12, joules=lambda i: (1.0, 1.1, 10.0)[i % 3])
    scored = [
        run(r.config, joules=r.energy_j, accuracy=0.1 * (i % 3) + 0.01 * i)
        for i, r in enumerate(told)
    ]
    found = sensitivity.of(study(*scored))
    cheap, dear = found.at_equal_cost
    assert (cheap.trials, dear.trials) == (8, 4)
    assert (cheap.cost_low, cheap.cost_high) == (1.0, 1.1)
    expected = [0.1 * (i % 3) + 0.01 * i for i in range(12) if i % 3 == 2]
    assert dear.std == pytest.approx(np.std(expected, ddof=1))
    assert (dear.worst, dear.best) == pytest.approx((min(expected), max(expected)))


def test_unknown_costs_leave_the_effects():
    told = trials(lambda c, rng: c["dropout"], joules=lambda i: float("nan"))
    found = sensitivity.of(told)
    assert found.at_equal_cost == () and "unknown" in found.notes[0]
    assert found.effects[0].key == "dropout"


def test_few_trials_are_refused():
    with pytest.raises(Refusal, match="9 trials are too few"):
        sensitivity.of(trials(lambda c, rng: 0.5, n=9))


def test_the_same_study_says_the_same():
    told = trials(lambda c, rng: rng.normal(), n=20)
    assert sensitivity.of(told) == sensitivity.of(told)


def test_of_very_many_trials_some_are_drawn():
    told = trials(lambda c, rng: 0.9 if c["opt"] == "adam" else 0.7, n=2500)
    found = sensitivity.of(told)
    assert found.trials == 2500
    assert found.effects[0].key == "opt"
    assert any("2000 trials drawn" in note for note in found.notes)
