"""Power in closed form: joules, lags and sums against what is known exactly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.simulate.curve import Curve, _by_doubling, recurrence

S = 1e9
#: 100 W for a second, 400 W for two, 200 W for one.
STEPS = Curve(np.array([0.0, 1.0, 3.0, 4.0]) * S, np.array([100.0, 400.0, 200.0]))


@st.composite
def curves(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 40))
    # Some pieces have no length, as where one span ends and the next begins.
    length = rng.exponential(10 ** rng.uniform(4, 9), n) * (rng.random(n) < 0.8)
    edges = np.concatenate([[0.0], np.cumsum(length) + 1.0])
    curve = Curve(edges, rng.uniform(50.0, 700.0, n))
    for tau in rng.uniform(1e-4, 3.0, draw(st.integers(0, 2))):
        curve = curve.lagged(float(tau))
    return curve


def test_joules_of_steps_are_exact():
    assert STEPS.energy(0.5 * S, 3.5 * S) == pytest.approx(50 + 800 + 100, rel=1e-15)
    assert STEPS.energy([0, S], [S, 3 * S]) == pytest.approx([100, 800], rel=1e-15)
    assert STEPS.power([0.0, S, 2.5 * S, 3 * S]).tolist() == [100, 400, 400, 200]


def test_outside_its_edges_it_goes_on_as_it_began_and_ended():
    assert STEPS.energy(-2 * S, 0) == pytest.approx(200)
    assert STEPS.energy(4 * S, 6 * S) == pytest.approx(400)
    assert STEPS.power([-S, 9 * S]).tolist() == [100, 200]


def test_a_lag_answers_a_step_with_an_exponential():
    tau = 0.2
    slow = STEPS.lagged(tau)
    assert slow.power(1.3 * S) == pytest.approx(400 - 300 * math.exp(-0.3 / tau), rel=1e-13)
    reached = 400 - 300 * math.exp(-2.0 / tau)
    assert slow.power(3.1 * S) == pytest.approx(
        200 + (reached - 200) * math.exp(-0.1 / tau), rel=1e-13
    )
    # What went in and did not come out yet is what the lag holds.
    held = tau * (slow.power(2 * S) - slow.power(0))
    assert STEPS.energy(0, 2 * S) - slow.energy(0, 2 * S) == pytest.approx(held, rel=1e-12)


def test_two_equal_lags_are_the_critical_case():
    tau, x = 0.2, 0.5
    twice = STEPS.lagged(tau).lagged(tau)
    known = 400 - 300 * (1 + x / tau) * math.exp(-x / tau)
    assert twice.power((1 + x) * S) == pytest.approx(known, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(curves())
def test_energy_is_the_integral_of_power(curve):
    last = curve.edge_ns[-1]
    # Ten points of Gauss in each of many slices of each piece.
    x, weight = np.polynomial.legendre.leggauss(10)
    cuts = np.unique(np.concatenate([curve.edge_ns, np.linspace(0, last, 400)]))
    half, middle = 0.5 * np.diff(cuts), 0.5 * (cuts[:-1] + cuts[1:])
    total = np.sum(curve.power(middle[:, None] + half[:, None] * x) @ weight * half) * 1e-9
    assert curve.energy(0, last) == pytest.approx(total, rel=1e-7)


@settings(max_examples=60, deadline=None)
@given(curves(), st.lists(st.floats(-0.2, 1.2), min_size=2, max_size=9))
def test_energies_of_parts_add_up(curve, parts):
    at = np.sort(parts) * curve.edge_ns[-1]
    whole = curve.energy(at[0], at[-1])
    assert np.sum(curve.energy(at[:-1], at[1:])) == pytest.approx(whole, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(curves(), st.floats(0.1, 3.0))
def test_sums_and_factors_act_on_power_and_energy_alike(curve, factor):
    both = curve.scaled(factor).plus(curve.lagged(0.05))
    at = np.linspace(0, curve.edge_ns[-1], 7)
    lagged = curve.lagged(0.05)
    np.testing.assert_allclose(both.power(at), factor * curve.power(at) + lagged.power(at))
    np.testing.assert_allclose(
        both.energy(at[:-1], at[1:]),
        factor * curve.energy(at[:-1], at[1:]) + lagged.energy(at[:-1], at[1:]),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("scale", [1e-4, 0.1, 10.0, 400.0])
def test_recurrence_is_the_loop(scale):
    rng = np.random.default_rng(1)
    decay, step = rng.exponential(scale, 700), rng.normal(size=700)
    known = [3.0]
    for d, s in zip(decay, step, strict=True):
        known.append(math.exp(-d) * known[-1] + s)
    np.testing.assert_allclose(recurrence(decay, step, 3.0), known, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        _by_doubling(np.exp(-decay), step, 3.0), known, rtol=1e-9, atol=1e-12
    )
