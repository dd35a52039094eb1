"""``pj.attribute`` where the clock of the readings is not that of the spans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import picojoule as pj

SENSOR = "gh100_instant"


def faulty(seed, seconds=60.0, **clock):
    """A layered training whose spans' clock parts from the readings'."""
    return pj.simulate.run(
        "faults", SENSOR, duration_s=seconds, seed=seed, edges=20e-6,
        **{"clock_ppm": 0.0, "clock_steps": 0, **clock},
    )  # fmt: skip


def error(sim, found):
    return float(np.abs(found.energy - sim.truth.energy).sum() / sim.truth.energy.sum())


@pytest.mark.parametrize(
    "clock",
    [
        {"clock_ppm": 20.0},
        {"clock_ppm": -2.0},
        {"clock_ppm": 100.0},
        {"clock_steps": 1},
        {"clock_ppm": -30.0, "clock_steps": 2},
        {"clock_steps": 1, "clock_step_s": -2.5e-4},
    ],
    ids=str,
)
def test_clocks_that_part_are_brought_together(clock):
    hits = []
    for seed in range(4):
        sim = faulty(seed, **clock)
        found = pj.attribute(**sim.arguments())
        assert error(sim, found) < 0.01
        assert found.noise["clock_terms"] >= 2
        # Of spans against readings; a step is a rate on average.
        jumps = clock.get("clock_steps", 0) * clock.get("clock_step_s", 1e-4) / 60.0 * 1e6
        expected = clock.get("clock_ppm", 0.0) + jumps
        assert found.noise["clock_rate_ppm"] == pytest.approx(expected, abs=3.0)
        low, high = found.interval(0.95).T
        hits.extend((low <= sim.truth.energy) & (sim.truth.energy <= high))
    assert np.mean(hits) >= 0.8  # 40 classes; a clock left alone: a third of them


@pytest.mark.parametrize("workload", ["layered", "drift", "streams", "identical"])
def test_clocks_that_agree_are_left_alone(workload):
    for seed in range(3):
        sim = pj.simulate.run(workload, SENSOR, duration_s=60.0, seed=seed, edges=20e-6)
        found = pj.attribute(**sim.arguments())
        assert found.noise["clock_terms"] == 0
        assert found.noise["clock_offset_ns"] == 0.0


def skewed(sim, ppm, after_s=0.0, step_ns=0):
    """Arguments whose readings' times are of a clock that runs slower, and jumps once."""
    given = sim.arguments()
    for name in ("begin_ns", "end_ns"):
        t = given[name].astype("f8")
        given[name] = np.rint(t * (1.0 - ppm * 1e-6) - (t > after_s * 1e9) * step_ns).astype("i8")
    return given


@pytest.mark.parametrize(
    ("workload", "sensor"),
    [("streams", SENSOR), ("layered", "nvml_energy"), ("drift", SENSOR), ("layered", "turing")],
)
def test_other_loads_and_sensors(workload, sensor):
    sim = pj.simulate.run(workload, sensor, duration_s=60.0, seed=1, edges=30e-6)
    plain = error(sim, pj.attribute(**sim.arguments()))
    found = pj.attribute(**skewed(sim, 25.0))
    assert found.noise["clock_rate_ppm"] == pytest.approx(25.0, abs=1.5)
    assert error(sim, found) < 2.0 * plain + 0.002


def test_a_counter_whose_clock_jumps_stays_contiguous():
    sim = pj.simulate.run("layered", "nvml_energy", duration_s=60.0, seed=2, edges=50e-6)
    given = skewed(sim, 0.0, after_s=31.3, step_ns=300_000)
    found = pj.attribute(**given)
    assert found.noise["clock_terms"] >= 3
    assert error(sim, found) < 0.02  # 0.009 on average of 40 seeds; plain NNLS: 0.047
    whole = found.energy.sum() + found.baseline_energy + found.unattributed
    assert whole == pytest.approx(given["value"].sum(), abs=1e-3)


def test_the_order_of_spans_and_the_number_of_classes_do_not_matter():
    sim = faulty(3, clock_ppm=40.0)
    given = sim.arguments()
    found = pj.attribute(**given)
    order = np.random.default_rng(0).permutation(len(given["span_class"]))
    for name in ("span_begin_ns", "span_end_ns", "span_class"):
        given[name] = given[name][order]
    given["n_classes"] = 150  # most of which never run
    again = pj.attribute(**given)
    np.testing.assert_allclose(again.energy[: len(found.energy)], found.energy, rtol=5e-3)
    assert not again.energy[len(found.energy) :].any()
    assert again.noise["clock_rate_ppm"] == pytest.approx(40.0, abs=0.5)


def test_the_same_bytes_for_any_number_of_threads():
    from picojoule import _core

    sim = faulty(4, 30.0, clock_ppm=20.0)
    given = sim.arguments()
    n, k = len(given["value"]), sim.n_classes

    def solve(threads):
        return _core.attribute(
            given["begin_ns"], given["end_ns"], given["value"], given["span_begin_ns"],
            given["span_end_ns"], given["span_class"].astype("i4"), k,
            np.broadcast_to(np.asarray(given["edge_std_ns"], "f8"), n).copy(),
            np.broadcast_to(np.asarray(given["value_std"], "f8"), n).copy(), 0.0, 0,
            np.full(k, np.nan), np.ones(k), None, 0.05, True,
            np.zeros(n, "u1"), np.zeros(n, "i4"), [], threads,
        )  # fmt: skip

    one, two = solve(1), solve(2)
    assert one["noise"]["clock_terms"] >= 2
    assert one["energy"].tobytes() == two["energy"].tobytes()
    assert one["cov"].tobytes() == two["cov"].tobytes()


@settings(max_examples=12, deadline=None)
@given(
    ppm=st.floats(-80.0, 80.0),
    step_ns=st.integers(-250_000, 250_000),
    after_s=st.floats(3.0, 27.0),
    seed=st.integers(0, 1000),
)
def test_any_clock_adds_up(ppm, step_ns, after_s, seed):
    sim = pj.simulate.run("layered", SENSOR, duration_s=30.0, seed=seed, edges=20e-6)
    found = pj.attribute(**skewed(sim, ppm, after_s, step_ns))
    assert np.isfinite(found.energy).all() and (found.energy >= 0.0).all()
    parts = found.energy.sum() + found.baseline_energy + found.unattributed
    assert parts == pytest.approx(found.total, abs=1e-3)
    assert error(sim, found) < 0.05


def test_a_fast_counter_is_put_on_its_clock_however_far_its_edges_seem_off():
    # Single steps from tick to tick are off by up to a third of the period.
    sim = pj.simulate.run(
        "layered", "rapl", duration_s=20.0, seed=0, edges=50e-6,
        power_w=(20.0, 150.0), idle_w=15.0,
    )  # fmt: skip
    steps = np.diff(sim.end_ns)
    assert np.abs(steps - np.median(steps)).max() > 0.3 * np.median(steps)
    found = pj.attribute(**sim.arguments())
    # The ticks' own jitter is 20 us.
    assert found.noise["edge_std_ns"] == pytest.approx(20e3, rel=0.2)
    assert found.noise["context"] == 0.0
    assert error(sim, found) < 2e-3
    low, high = found.interval(0.95).T
    assert (high - low).sum() < 0.01 * found.total
    assert np.mean((low <= sim.truth.energy) & (sim.truth.energy <= high)) >= 0.7


def test_a_clock_that_was_lost_is_looked_for_again():
    # Of these rates, as those of the first six seconds have them, another path explains as much.
    sim = pj.simulate.run("faults", SENSOR, duration_s=600.0, seed=13, edges=20e-6)
    found = pj.attribute(**sim.arguments(), **sim.priors(0.2))
    assert found.noise["clock_rate_ppm"] == pytest.approx(20.0, abs=0.5)
    assert error(sim, found) < 2e-3
