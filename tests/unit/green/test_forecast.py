"""Forecasts on simulated runs whose end is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.green import forecast
from picojoule.green.forecast import Forecast, project


def simulated(rng, steps=400, warm=10, noise=0.1, memory=0.0):
    """Cumulative joules: 1 J a step, dearer at first, noise with a memory."""
    shocks = rng.normal(0, 1, steps)
    state, each = 0.0, np.empty(steps)
    for i, z in enumerate(shocks):
        state = memory * state + math.sqrt(1 - memory**2) * z
        each[i] = 1 + noise * state
    each[:warm] *= np.linspace(3, 1, warm, endpoint=False)
    return np.concatenate(([0.0], np.cumsum(each)))


def looked_at(cost, upto):
    return project(np.arange(upto + 1.0), cost[: upto + 1], len(cost) - 1)


@settings(deadline=None)
@given(st.floats(0.01, 1e3), st.integers(6, 50), st.integers(51, 1000))
def test_steady_runs_are_exact(rate, done, total):
    steps = np.arange(done + 1.0)
    p = project(steps, rate * steps, total)
    assert p.value == pytest.approx(rate * total, rel=1e-6)
    assert p.low <= p.value * (1 + 1e-9) and p.high >= p.value * (1 - 1e-9)
    assert p.high - p.low < 1e-6 * p.value


def test_the_warm_up_is_spent_but_not_carried_on():
    each = np.ones(100)
    each[:10] = 20.0
    cost = np.concatenate(([0.0], np.cumsum(each)))
    p = project(np.arange(101.0), cost, 1000)
    assert p.value == pytest.approx(200 + 990)
    assert p.warm_up == pytest.approx(10, abs=100 / 60)
    assert p.per_step == pytest.approx(1.0)


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.92), (0.5, 0.90)])
def test_the_interval_holds_and_tightens(memory, least):
    rng = np.random.default_rng(17)
    hits, widths = {40: 0, 100: 0, 200: 0, 320: 0}, dict.fromkeys((40, 100, 200, 320), 0.0)
    for _ in range(200):
        cost = simulated(rng, memory=memory)
        for upto in hits:
            p = looked_at(cost, upto)
            hits[upto] += p.low <= cost[-1] <= p.high
            widths[upto] += p.high - p.low
    assert all(h / 200 >= least for h in hits.values()), hits
    assert sorted(widths.values(), reverse=True) == list(widths.values())


def test_too_few_steps_have_no_forecast():
    p = project(np.arange(4.0), np.arange(4.0), 100)
    assert not p.known and "3 steps say too little" in p.reason
    assert not Forecast(10).project().known


def test_a_finished_run_cost_what_it_cost():
    p = project(np.arange(11.0), 2 * np.arange(11.0), 10)
    assert (p.value, p.low, p.high) == (20.0, 20.0, 20.0)


def test_collected_step_by_step_within_bounds():
    f = Forecast(100_000)
    for i in range(20_000):
        f.step(i, 3.0 * i)
    assert len(f._done) <= forecast.MOST_SAMPLES + 1
    p = f.project()
    assert p.value == pytest.approx(300_000, rel=1e-6)
    assert (p.done, p.spent) == (19_999, 3.0 * 19_999)
    f.step(19_999, 60_000.0)  # the same step, looked at again
    assert f.project().spent == 60_000.0
    f.step(20_001, math.nan)
    assert f.project().done == 19_999
    with pytest.raises(UsageError, match="backwards"):
        f.step(5, 1.0)


def test_the_total_must_be_known():
    f = Forecast()
    with pytest.raises(UsageError, match="how many steps"):
        f.project()
    with pytest.raises(UsageError, match="above 0"):
        f.project(0)
