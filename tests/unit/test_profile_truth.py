"""What a whole profile says, from ticks and kernels as they are recorded, against known truth."""

import numpy as np
import pytest
from synthetic import channel, ticks

import picojoule as pj
from picojoule import _core


def profiled(folder, sensor, seconds, seed, **more):
    """(profile, truth) of a simulated recording; names of the kernels in order of the truth."""
    sim = pj.simulate.run(
        "layered", sensor, duration_s=seconds, seed=seed, **{"edges": "locked", **more}
    )
    sim.save(folder / f"{seed}.pj")
    return pj.load(folder / f"{seed}.pj"), sim.truth_between(0, sim.duration_ns), sim.work.names


@pytest.mark.parametrize("edges", ["locked", "poll"])
@pytest.mark.parametrize(
    ("sensor", "error", "total"),
    [
        ("nvml_energy", 1e-3, 2e-6),
        ("volta_pascal", 3e-3, 1e-4),
        ("gh100_instant", 2e-2, 1e-3),
        ("ga10x_ad10x_instant", 6e-2, 1e-3),
    ],
)
def test_kernels_and_the_total_of_a_minute(sensor, error, total, edges, tmp_path):
    hits = []
    for seed in range(4):
        profile, truth, names = profiled(tmp_path, sensor, 60.0, seed, edges=edges)
        # Work begins and ends between two ticks; what ran there says how the tick is to be split.
        assert profile.total.joules == pytest.approx(truth.total, rel=total)
        low, high = profile.total.interval(0.9999)
        assert low <= truth.total <= high
        found = {k.name: k.energy for k in profile.kernels}
        off = sum(abs(found[n].joules - j) for n, j in zip(names, truth.energy, strict=True))
        assert off / truth.energy.sum() < error
        for name, joules in zip(names, truth.energy, strict=True):
            low, high = found[name].interval(0.95)
            hits.append(low <= joules <= high)
        (device,) = profile.kernels.devices
        parts = device.busy.joules + device.idle.joules + device.unattributed_j
        assert parts == pytest.approx(profile.total.joules, abs=1e-3)
    assert np.mean(hits) >= 0.8  # 40 kernels


def test_a_mean_of_a_second_is_late_and_says_so(tmp_path):
    hits = []
    for seed in range(4):
        profile, truth, names = profiled(tmp_path, "gh100_average", 8.0, seed)
        low, high = profile.total.interval(0.95)
        assert low <= truth.total <= high
        found = {k.name: k.energy for k in profile.kernels}
        for name, joules in zip(names, truth.energy, strict=True):
            low, high = found[name].interval(0.95)
            hits.append(low <= joules <= high)
    assert np.mean(hits) >= 0.85


def test_noise_of_a_gauge_stands_in_the_interval(tmp_path):
    """Even power, so that nothing else is in doubt."""
    for seed in range(6):
        sim = pj.simulate.run(
            "constant",
            "ga10x_ad10x_instant",
            duration_s=20.0,
            seed=seed,
            edges="locked",
            watts=250.0,
        )
        sim.save(tmp_path / f"{seed}.pj")
        total = pj.load(tmp_path / f"{seed}.pj").total
        truth = float(sim.energy(0, sim.duration_ns))
        low, high = total.interval(0.9999)
        assert low <= truth <= high
        # 0.5 W a reading, 200 readings of 0.1 s.
        assert 0.8 * 0.5 * 0.1 * 200**0.5 < total.std_j < 10.0


@pytest.mark.parametrize("sensor", ["nvml_energy", "ga10x_ad10x_instant"])
@pytest.mark.parametrize(
    ("workload", "more"),
    [("steps", {"step_s": 0.37}), ("square", {"period_s": 0.73}), ("square", {"period_s": 0.13})],
)
def test_the_total_of_work_that_begins_and_ends_with_the_profile(sensor, workload, more, tmp_path):
    """No kernels are known, and nothing is seen after the end: power stepped there all the same."""
    hits = []
    for seed in range(8):
        sim = pj.simulate.run(workload, sensor, duration_s=6.0, seed=seed, edges="locked", **more)
        known = sim.trace()
        trace = _core.Trace(
            name=known.name, begin_ns=known.begin_ns, end_ns=known.end_ns, begin_wall_ns=0,
            channels=known.channels, paths=[(0, "")], ticks=known.ticks, cells=known.cells,
            spans=known.spans, gaps=[], overhead={}, warnings=[],
        )  # fmt: skip
        (found,) = trace.analyse()["channels"]
        truth = float(sim.energy(0, sim.duration_ns))
        hits.append(abs(found["joules"] - truth) <= 1.96 * found["std_j"])
    assert np.mean(hits) >= 0.75


@pytest.mark.parametrize("done_s", [5.02, 5.06, 5.3])
def test_work_that_is_done_before_its_profile(done_s):
    """The last tick holds little: not because power fell at the profile's very end."""
    begin, end = 0.5, 5.103  # the last window begins at 5.013 or 5.113 s

    def joules(t):
        return 300.0 * np.minimum(t, done_s) + 8.0 * np.maximum(0.0, t - done_s)

    rows = ticks(joules, begin, end)
    found = analyse(rows, begin, end)
    truth = float(joules(end) - joules(begin))
    assert abs(found["joules"] - truth) <= 1.96 * found["std_j"] + 2e-3
    # No more than the last tick had counted.
    assert found["joules"] <= float(joules(rows["a"][-1] * 1e-9) - joules(begin)) + 0.1


def analyse(rows, begin_s, end_s):
    trace = _core.Trace(
        name="t", begin_ns=round(begin_s * 1e9), end_ns=round(end_s * 1e9), begin_wall_ns=0,
        channels=[channel()], paths=[(0, "")], ticks=rows, cells=rows[:0], spans=rows[:0],
        gaps=[], overhead={}, warnings=[],
    )  # fmt: skip
    (found,) = trace.analyse()["channels"]
    return found


@pytest.mark.parametrize("sensor", ["kepler_k40", "kepler_k80", "maxwell_gm"])
def test_a_value_that_lags_is_late_and_says_so(sensor, tmp_path):
    hits = []
    for seed in range(6):
        sim = pj.simulate.run(
            "steps", sensor, duration_s=4.0, seed=seed, edges="locked", step_s=0.31 + 0.01 * seed
        )
        sim.save(tmp_path / f"{seed}.pj")
        low, high = pj.load(tmp_path / f"{seed}.pj").total.interval(0.95)
        hits.append(low <= float(sim.energy(0, sim.duration_ns)) <= high)
    assert np.mean(hits) >= 0.8  # 10 to 70 % when the lag was not in the interval
