"""What a reader knows of when a sensor ticked."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.errors import UsageError
from picojoule.simulate import LOCKED, SENSORS, Poll, run

RAPL_LIKE = SENSORS["nvml_energy"].but(period_s=0.01, quantum=1e-9)


def bracketed(sim):
    return (sim.old_ns <= sim.ticks.seen_ns).all() and (sim.ticks.seen_ns <= sim.new_ns).all()


def off(sim):
    """Errors of what the reader takes for the tick."""
    return 0.5 * (sim.old_ns + sim.new_ns) - sim.ticks.seen_ns


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([0.0, 1e-6, 5e-4, "poll", "locked", Poll(period_s=3e-3), LOCKED]),
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([0.0, 3e-4]),
    st.integers(0, 1000),
)
def test_the_true_tick_is_in_its_bracket(edges, stalled, jitter_s, seed):
    sensor = RAPL_LIKE.but(stalled=stalled, jitter_s=jitter_s, missed=0.02)
    sim = run("square", sensor, duration_s=2.0, edges=edges, seed=seed)
    assert bracketed(sim)
    assert (sim.edge_std_ns > 0).all()


@pytest.mark.parametrize("std_s", [20e-6, 50e-6, 0.5e-3])
def test_edges_of_given_doubt(std_s):
    sim = run("constant", RAPL_LIKE, duration_s=60.0, edges=std_s)
    assert sim.edge_std_ns == pytest.approx(np.full(len(sim.value), std_s * 1e9))
    true = np.interp(sim.end_ns, sim.ticks.tick_ns, sim.ticks.tick_ns)
    known = sim.ticks.tick_ns[np.argmin(np.abs(sim.ticks.tick_ns[:, None] - true[:40]), axis=0)]
    assert np.abs(sim.end_ns[:40] - known).max() < 5 * std_s * 1e9
    guess = sim.end_ns - (sim.ticks.tick_ns[sim.ticks.index >= 0][0])
    assert np.std(guess - 1e7 * np.rint(guess / 1e7)) == pytest.approx(std_s * 1e9, rel=0.05)


def test_exact_edges_are_exact():
    sim = run("constant", RAPL_LIKE, duration_s=5.0)
    at = np.rint(sim.ticks.tick_ns).astype("i8")
    assert np.isin(sim.end_ns, at).all() and np.isin(sim.begin_ns, at).all()


def test_a_poller_finds_ticks_to_its_own_interval():
    sim = run("constant", RAPL_LIKE, duration_s=60.0, edges=Poll(period_s=1e-3, dither=0.2))
    width = sim.new_ns - sim.old_ns
    assert width.min() >= 0.8e6 and width.max() <= 1.2e6
    # Uniform in the bracket: what edge_std_ns says is what is.
    assert off(sim).std() == pytest.approx(1e6 / math.sqrt(12), rel=0.05)
    assert np.mean(sim.edge_std_ns) == pytest.approx(off(sim).std(), rel=0.05)


def test_a_poller_without_dither_in_step_with_the_sensor_learns_nothing_new():
    in_step = run("constant", RAPL_LIKE, duration_s=20.0, edges=Poll(period_s=1e-3, dither=0.0))
    dithered = run("constant", RAPL_LIKE, duration_s=20.0, edges=Poll(period_s=1e-3, dither=0.2))
    assert np.std(off(in_step)) < 1e3  # always the same place in the bracket
    assert np.std(off(dithered)) > 2e5


def test_a_locked_reader_is_as_good_as_its_looks_are_close():
    sim = run("constant", RAPL_LIKE, duration_s=60.0, edges="locked")
    assert (sim.new_ns - sim.old_ns).max() <= 44e3
    assert off(sim).std() == pytest.approx(40e3 / math.sqrt(12), rel=0.05)


def test_a_tick_before_the_guard_has_a_wide_bracket():
    sensor = RAPL_LIKE.but(jitter_s=0.5e-3)
    sim = run("constant", sensor, duration_s=60.0, edges="locked")
    wide = sim.new_ns - sim.old_ns > 1e6
    early = sim.ticks.seen_ns < sim.ticks.due_ns - 0.5e6
    assert early.mean() == pytest.approx(0.16, abs=0.02)
    assert (wide == early).all()


def test_stalled_looks_widen_brackets():
    sim = run("constant", RAPL_LIKE.but(stalled=0.1), duration_s=60.0, edges="locked")
    width = sim.new_ns - sim.old_ns
    assert np.mean(width > 1e6) == pytest.approx(0.1, abs=0.02)
    assert width.max() < 5.1e6


@pytest.mark.parametrize("edges", ["exactly", -1.0, math.nan, 100.0])
def test_edges_that_cannot_be(edges):
    with pytest.raises(UsageError, match="edges must be"):
        run("constant", RAPL_LIKE, duration_s=1.0, edges=edges)
