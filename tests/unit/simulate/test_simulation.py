"""The result: ready for ``pj.attribute``, and as a trace for ``pj.load``."""

import math

import numpy as np
import pytest

import picojoule as pj
from picojoule.errors import UsageError
from picojoule.simulate import SENSORS, Faults, run

S = 1_000_000_000


def off(sim, **more):
    """Energy-weighted error of the estimate."""
    found = pj.attribute(**sim.arguments(), **more)
    return np.abs(found.energy - sim.truth.energy).sum() / sim.truth.energy.sum()


@pytest.mark.parametrize(
    ("sensor", "within"),
    [
        ("gh100_instant", 2e-3),
        ("ga10x_ad10x_instant", 2e-3),
        ("nvml_energy", 1e-3),
        ("nvml_energy_sampled", 2e-3),
        ("rapl", 2e-3),
        ("kepler_k40", 2e-2),
    ],
)
def test_the_estimator_finds_the_truth_of_a_plain_workload(sensor, within):
    sim = run("steps", sensor, duration_s=30.0, step_s=0.173, watts=(150.0, 420.0, 270.0))
    assert off(sim) < within
    found = pj.attribute(**sim.arguments())
    if sim.contiguous:
        assert found.total == pytest.approx(sim.truth.total, rel=1e-4)
    np.testing.assert_allclose(found.time_s, sim.truth.time_s, rtol=1e-6)


def test_truth_is_of_the_accounted_interval():
    sim = run("layered", "gh100_instant", duration_s=5.0)
    truth = sim.truth_between(int(sim.begin_ns[0]), int(sim.end_ns[-1]))
    assert sim.truth.total == truth.total == float(sim.energy(sim.begin_ns[0], sim.end_ns[-1]))
    assert math.fsum([*truth.energy, truth.baseline_energy]) == pytest.approx(truth.total)


def test_arguments_are_what_attribute_asks_for():
    sim = run("layered", "gh100_instant", duration_s=2.0)
    told = sim.arguments()
    assert told["contiguous"] is False and run("layered", "nvml_energy", duration_s=2.0).contiguous
    assert all(len(told[n]) == len(told["value"]) for n in ("begin_ns", "end_ns", "edge_std_ns"))
    found = pj.attribute(**told, **sim.priors(0.25))
    assert len(found.energy) == sim.n_classes == 10


def test_priors_are_off_by_what_they_say_and_always_the_same():
    sim = run("layered", duration_s=1.0, n_classes=80)
    told = sim.priors(0.2)
    ratio = np.log(told["prior_rate"] / sim.work.watts)
    assert told["prior_cv"] == 0.2
    assert ratio.std() == pytest.approx(0.2, rel=0.25)
    assert (sim.priors(0.2)["prior_rate"] == told["prior_rate"]).all()
    wrong = run("wrong_prior", duration_s=1.0, n_classes=80)
    assert np.median(wrong.priors(0.01)["prior_rate"] / wrong.work.watts) == pytest.approx(2, 0.02)
    assert sim.priors(0.2, told_cv=0.5)["prior_cv"] == 0.5


def test_a_reader_with_a_wrong_idea_of_the_sensor():
    right = run("steps", "gh100_instant", duration_s=5.0)
    wrong = run("wrong_sensor", "gh100_instant", duration_s=5.0)
    length = np.unique(wrong.end_ns - wrong.begin_ns)
    assert abs(length - 1.2 * 22.6e6).max() <= 1
    assert abs((right.end_ns - right.begin_ns) - 22.6e6).max() <= 1
    lag = run("steps", "kepler_k40", duration_s=5.0, assumed=SENSORS["kepler_k40"].but(tau_s=0.02))
    assert lag.lag_s == 0.02 and lag.sensor.tau_s == 0.041
    naive = run("steps", "nvml_energy_sampled", duration_s=5.0, assumed="nvml_energy")
    assert naive.contiguous
    assert naive.value.sum() == pytest.approx(naive.truth.total, rel=0.02)


def test_a_reset_costs_its_reading_and_no_more():
    sim = run("steps", "nvml_energy", duration_s=10.0, faults=Faults(resets_s=(4.05,)))
    gap = np.flatnonzero(sim.begin_ns[1:] > sim.end_ns[:-1])
    assert len(gap) == 1
    assert sim.end_ns[gap[0]] < 4.05 * S < sim.begin_ns[gap[0] + 1]
    np.testing.assert_allclose(sim.value, sim.energy(sim.begin_ns, sim.end_ns), atol=2e-3)
    assert sim.contiguous is None


def test_missed_ticks_of_a_gauge_are_missing_readings():
    sensor = SENSORS["ga10x_ad10x_instant"].but(noise_w=0.0, missed=0.2)
    sim = run("steps", sensor, duration_s=30.0)
    assert 200 < len(sim.value) < 280
    np.testing.assert_allclose(sim.value, sim.energy(sim.begin_ns, sim.end_ns), rtol=1e-4)


def test_clocks_of_spans_that_jump_and_run_fast():
    faults = Faults(clock_steps=((5.0, 0.003), (8.0, -0.001)), clock_ppm=100.0)
    sim = run("steps", duration_s=10.0, step_s=0.1, faults=faults)
    apart = sim.span_begin_ns - sim.work.begin_ns
    at = sim.work.begin_ns * 1e-9
    known = 1e-4 * at + np.where(at >= 5, 3e-3, 0) + np.where(at >= 8, -1e-3, 0)
    np.testing.assert_allclose(apart * 1e-9, known, atol=1e-9)
    assert sim.truth.energy == pytest.approx(run("steps", duration_s=10.0, step_s=0.1).truth.energy)


def test_what_cannot_be_is_refused():
    for message, more in (
        ("duration_s must be", {"duration_s": 0.0}),
        ("duration_s must be", {"duration_s": math.inf}),
        ("no sensor 'x'; there are: gh100", {"sensor": "x"}),
        ("sensor must be", {"sensor": 5}),
        ("board must be", {"board": "mine"}),
        ("slow_share must be", {"slow_share": 2.0}),
    ):
        with pytest.raises(UsageError, match=message):
            run("steps", **{"duration_s": 1.0, **more})
    with pytest.raises(UsageError, match="spans of your own take no parameters: x"):
        run(run("steps", duration_s=1.0).work, duration_s=1.0, x=1)


@pytest.mark.parametrize("sensor", ["nvml_energy", "rapl", "ga10x_ad10x_instant"])
def test_as_a_trace_it_is_a_profile(sensor, tmp_path):
    sim = run("steps", sensor, duration_s=4.0, edges="locked", seed=2)
    sim.save(tmp_path / "x.pj")
    profile = pj.load(tmp_path / "x.pj")
    total = profile.total
    low, high = total.interval(0.9999)
    truth = float(sim.energy(0, sim.duration_ns))
    assert low <= truth <= high and total.joules == pytest.approx(truth, rel=1e-2)
    assert total.provenance == "simulated" and "simulated" in total.basis
    assert "measured" not in str(profile) and "modelled" not in str(profile)
    assert {k.calls for k in profile.kernels} == {1}
    assert {k.energy.provenance for k in profile.kernels} == {"simulated"}
    kernels = {k.name: k.energy_j for k in profile.kernels}
    assert kernels["class 1"] == pytest.approx(300, rel=0.02)  # each step is a second long


def test_a_trace_has_the_ticks_and_all_spans():
    sim = run("layered", "nvml_energy", duration_s=2.0, edges="poll")
    trace = sim.trace()
    assert len(trace.kernels) == len(sim.span_class)
    rows = trace.ticks
    assert rows["a"].min() < trace.begin_ns and rows["a"].max() >= trace.end_ns
    assert (rows["b"] < rows["a"]).all()
    joules = rows["c"].astype(float) * 1e-3
    covered = float(sim.energy(sim.ticks.tick_ns[0], sim.ticks.tick_ns[len(rows) - 1]))
    assert joules[-1] == pytest.approx(covered, abs=2e-3)


def test_wraps_and_resets_are_flagged_in_a_trace():
    sensor = SENSORS["nvml_energy"].but(wrap_at=100_000)
    sim = run("constant", sensor, duration_s=5.0, faults=Faults(resets_s=(3.0,)))
    flags = sim.trace().ticks["flags"]
    assert np.count_nonzero(flags & 2) >= 14  # 300 W: every third of a second
    assert np.count_nonzero(flags & 4) == 1


def test_a_million_spans_of_ten_minutes():
    sim = run("layered", duration_s=600.0, edges="locked")
    assert len(sim.span_class) > 10**6
    truth = sim.truth
    assert math.fsum([*truth.energy, truth.baseline_energy]) == pytest.approx(
        truth.total, rel=1e-10
    )
