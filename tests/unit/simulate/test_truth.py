"""Whose joules they are: conservation, the sharing rule, drift and the power cap."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.simulate import Drift, Load, Work

S = 1_000_000_000


def work(spans, watts, idle_w=100.0, **more):
    rows = np.array(spans, dtype=np.int64).reshape(-1, 4)
    return Work(
        begin_ns=rows[:, 0],
        end_ns=rows[:, 1],
        span_class=rows[:, 2].astype(np.int32),
        stream=rows[:, 3].astype(np.int32),
        watts=np.asarray(watts, dtype=float),
        idle_w=idle_w,
        **more,
    )


@st.composite
def works(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, k = draw(st.integers(0, 60)), draw(st.integers(1, 5))
    begin = np.sort(rng.integers(0, 2 * S, m))
    end = begin + rng.integers(0, S // 3, m)
    spans = np.stack([begin, end, rng.integers(0, k, m), np.arange(m)], axis=1)
    drift = Drift(
        warmup=draw(st.sampled_from([0.0, 0.1])),
        warmup_s=0.7,
        thermal=draw(st.sampled_from([(), ((0.05, 0.3), (0.1, 2.0))])),
        cap_w=draw(st.sampled_from([np.inf, 350.0])),
    )
    sharing = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return work(spans, rng.uniform(120, 600, k), 80.0, sharing=sharing, drift=drift)


@settings(max_examples=120, deadline=None)
@given(works(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_classes_and_baseline_add_up_to_what_flowed(made, one, other):
    load = Load(made, -S, 3 * S)
    begin, end = sorted((int((4 * one - 1) * S), int((4 * other - 1) * S)))
    truth = load.truth(begin, end)
    parts = math.fsum([*truth.energy, truth.baseline_energy])
    assert parts == pytest.approx(truth.total, rel=1e-9, abs=1e-7)
    assert truth.total == pytest.approx(float(load.power.energy(begin, end)), rel=1e-12, abs=1e-12)
    assert (truth.energy >= -1e-9).all()
    assert truth.idle_s <= (end - begin) * 1e-9 + 1e-9


@settings(max_examples=40, deadline=None)
@given(works())
def test_truth_of_two_halves_is_that_of_the_whole(made):
    load = Load(made, -S, 3 * S)
    first, second, both = load.truth(0, S), load.truth(S, 3 * S), load.truth(0, 3 * S)
    np.testing.assert_allclose(first.energy + second.energy, both.energy, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(first.time_s + second.time_s, both.time_s, rtol=1e-12, atol=1e-12)


def test_one_stream_is_time_times_watts():
    load = Load(work([(S, 2 * S, 0, 0), (2 * S, 5 * S, 1, 0)], [300, 200]), 0, 10 * S)
    truth = load.truth(0, 10 * S)
    assert truth.energy == pytest.approx([300, 600])
    assert truth.baseline_energy == pytest.approx(6 * 100)
    assert truth.total == pytest.approx(1500)
    part = load.truth(int(1.5 * S), int(2.5 * S))
    assert part.energy == pytest.approx([150, 100])
    assert part.rate == pytest.approx([300, 200])


@pytest.mark.parametrize("sharing", [0.0, 0.5, 1.0])
def test_concurrent_spans_share_by_the_stated_rule(sharing):
    # Both run from 1 to 2 s, the first alone before, the second alone after.
    made = work([(0, 2 * S, 0, 0), (S, 3 * S, 1, 1)], [300, 200], sharing=sharing)
    load = Load(made, 0, 4 * S)
    weight = 2.0**-sharing
    assert load.power.power(1.5 * S) == pytest.approx(100 + weight * (200 + 100))
    truth = load.truth(0, 4 * S)
    assert truth.energy == pytest.approx([300 + 50 + weight * 200, 200 + 50 + weight * 100])
    assert truth.baseline_energy == pytest.approx(100)


def test_warming_up_has_its_closed_form():
    made = work([(0, 10 * S, 0, 0)], [300], drift=Drift(warmup=0.1, warmup_s=4.0))
    truth = Load(made, -S, 12 * S).truth(2 * S, 8 * S)
    known = 300 * (6 - 0.1 * 4 * (math.exp(-2 / 4) - math.exp(-8 / 4)))
    assert truth.energy[0] == pytest.approx(known, rel=1e-12)


def test_leakage_follows_the_heat_of_the_load():
    # 400 W above idle is the reference: in the long run the load draws its share more.
    made = work([(0, 100 * S, 0, 0)], [500], drift=Drift(thermal=((0.06, 2.0),)))
    load = Load(made, -S, 130 * S)
    assert load.power.power(-0.5 * S) == pytest.approx(100)
    assert load.power.power(2.0 * S) == pytest.approx(500 * (1 + 0.06 * (1 - math.exp(-1))))
    assert load.power.power(90 * S) == pytest.approx(530, rel=1e-6)
    # The heat outlasts the load, so idle power is higher after it.
    assert load.power.power(101 * S) == pytest.approx(100 * (1 + 0.06 * math.exp(-0.5)), rel=1e-6)


def test_a_power_cap_is_kept_once_the_controller_has_settled():
    drift = Drift(cap_w=400.0, cap_s=0.1)
    made = work([(0, 5 * S, 0, 0), (5 * S, 9 * S, 1, 0)], [700, 300], drift=drift)
    load = Load(made, -S, 10 * S)
    assert load.power.power(0.01 * S) == pytest.approx(700)  # not seen yet
    assert load.power.power(4.5 * S) == pytest.approx(400, rel=1e-3)
    assert load.power.power(8.5 * S) == pytest.approx(300, rel=1e-3)  # below the cap: as it is
    assert load.power.power(9.5 * S) == pytest.approx(100)
