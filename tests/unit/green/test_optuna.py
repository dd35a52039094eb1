"""The callback in real searches, with scripted joules."""

import sys
import time

import numpy as np
import pytest

import picojoule as pj
from picojoule.errors import MissingExtraError, UsageError
from picojoule.green import trials
from picojoule.green.optuna_ import StopWhenNotWorth
from picojoule.green.quantities import quantity
from picojoule.green.refusal import Refusal


@pytest.fixture
def optuna():
    found = pytest.importorskip("optuna")
    found.logging.set_verbosity(found.logging.WARNING)
    return found


class Meter:
    def __init__(self, each=3.6e6):
        self.joules, self.each = 0.0, each

    def __call__(self):
        return self.joules


def searched(optuna, meter, stop, *, direction="maximize", sampler=None, trials=200, prune=False):
    study = optuna.create_study(
        direction=direction, sampler=sampler or optuna.samplers.RandomSampler(seed=1)
    )

    def objective(trial):
        meter.joules += meter.each
        x = trial.suggest_float("x", 0, 1)
        if prune and trial.number % 2:
            raise optuna.TrialPruned
        return x if direction == "maximize" else -x

    study.optimize(objective, n_trials=trials, callbacks=[stop])
    return study


def test_stops_at_the_trial_that_arithmetic_says(optuna):
    meter = Meter()
    stop = StopWhenNotWorth("0.002/kWh", energy=meter, least_trials=5)
    study = searched(optuna, meter, stop)
    values = [t.value for t in study.trials]

    def gain(n):
        best = trials.expected_best(values[:n], n), trials.expected_best(values[:n], n - 1)
        return best[0] - best[1]  # each trial takes 1 kWh

    expected = next(n for n in range(5, 200) if gain(n) < 0.002)
    assert len(values) == expected < 200
    assert stop.gain == pytest.approx(gain(expected))
    assert f"after {expected} trials" in stop.stopped


def test_dearer_trials_stop_earlier(optuna):
    ends = []
    for each in (0.36e6, 3.6e6, 36e6):
        meter = Meter(each)
        stop = StopWhenNotWorth(quantity(0.002, "1/kWh"), energy=meter, least_trials=2)
        ends.append(len(searched(optuna, meter, stop).trials))
    assert ends[0] > ends[1] > ends[2]


def test_minimising_is_the_mirror_image(optuna):
    ends = [
        len(searched(optuna, m, StopWhenNotWorth("0.002/kWh", energy=m), direction=d).trials)
        for d, m in (("maximize", Meter()), ("minimize", Meter()))
    ]
    assert ends[0] == ends[1]


def test_pruned_trials_are_paid(optuna):
    meter = Meter()
    stop = StopWhenNotWorth("1e-9/kWh", energy=meter, least_trials=5)
    study = searched(optuna, meter, stop, trials=40, prune=True)
    done = [t.value for t in study.trials if t.value is not None]
    gain = trials.expected_best(done, 20) - trials.expected_best(done, 19)
    assert stop.gain == pytest.approx(gain / 2.0)  # two kWh for each value


def test_by_co2e(optuna):
    meter = Meter()
    stop = StopWhenNotWorth("1e-9/kg", energy=meter, factor="500 g/kWh", pue=1.0)
    by_kg = searched(optuna, meter, stop, trials=20)
    values = [t.value for t in by_kg.trials]
    gain = trials.expected_best(values, 20) - trials.expected_best(values, 19)
    assert stop.gain == pytest.approx(gain / 0.5)


def test_other_samplers_are_refused_or_warned_of(optuna):
    meter = Meter()
    with pytest.raises(Refusal, match="TPESampler"):
        searched(optuna, meter, StopWhenNotWorth("0.1/kWh", energy=meter),
                 sampler=optuna.samplers.TPESampler(seed=1))  # fmt: skip
    trusted = StopWhenNotWorth("0.1/kWh", energy=meter, assume_independent=True)
    with pytest.warns(UserWarning, match="the gain is a guess"):
        searched(optuna, meter, trusted, sampler=optuna.samplers.TPESampler(seed=1), trials=12)


def test_several_objectives_are_refused(optuna):
    meter = Meter()
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler()
    )
    with pytest.raises(UsageError, match="several objectives"):
        study.optimize(lambda t: (1.0, 2.0), n_trials=2,
                       callbacks=[StopWhenNotWorth("0.1/kWh", energy=meter)])  # fmt: skip


def test_unknown_energy_never_stops(optuna):
    meter = Meter(float("nan"))
    stop = StopWhenNotWorth("1e9/kWh", energy=meter)
    assert len(searched(optuna, meter, stop, trials=20).trials) == 20
    assert np.isnan(stop.gain)


def test_with_an_open_profile(optuna):
    class Busy:
        joules = 0.0

        @property
        def each(self):
            until = time.process_time() + 0.05  # some ticks of the meter in each trial
            while time.process_time() < until:
                pass
            return 0.0

    with pj.profile(sources="cpu_estimate") as prof:
        stop = StopWhenNotWorth("1e-12/kWh", profile=prof, least_trials=2)
        searched(optuna, Busy(), stop, trials=12)
    assert stop.gain > 0


def test_calls_that_mean_nothing(optuna):
    for told, words in (
        ({"threshold": "0.1/kWh"}, "profile= or energy="),
        ({"threshold": "0.1 kWh", "energy": Meter()}, "a threshold is a gain"),
        ({"threshold": "0.1/h", "energy": Meter()}, "a threshold is a gain"),
        ({"threshold": "-1/kWh", "energy": Meter()}, "a threshold is a gain"),
        ({"threshold": quantity(1, "kWh"), "energy": Meter()}, "a threshold is a gain"),
        ({"threshold": "0.1/kg", "energy": Meter()}, "needs its factor"),
    ):
        with pytest.raises(UsageError, match=words):
            StopWhenNotWorth(**told)


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"picojoule\[optuna\]"):
        StopWhenNotWorth("0.1/kWh", energy=Meter())
