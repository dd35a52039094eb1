"""Rates that depend on what ran before: noticed, told, and in the intervals."""

from __future__ import annotations

import numpy as np
import pytest

import picojoule as pj
from picojoule import _core, _trace


def without_clock(trace):
    kept = _core.Trace(
        name=trace.name,
        begin_ns=trace.begin_ns,
        end_ns=trace.end_ns,
        begin_wall_ns=0,
        channels=trace.channels[:1],
        paths=trace.paths,
        ticks=trace.ticks[trace.ticks["id"] == 0],
        cells=trace.cells,
        spans=trace.spans,
        gaps=[],
        overhead={},
        warnings=[],
        kernels=trace.kernels,
        kernel_classes=trace.kernel_classes,
        tracks=trace.tracks,
    )
    kept.environment = {"host": "simulated"}
    return kept


def solved(workload, sensor, seed, **parameters):
    sim = pj.simulate.run(
        workload, sensor, duration_s=60.0, seed=seed, edges=20e-6, **parameters
    )  # fmt: skip
    return sim, pj.attribute(**sim.arguments())


def held(sim, found):
    low, high = found.interval(0.95).T
    return (low <= sim.truth.energy) & (sim.truth.energy <= high)


@pytest.mark.parametrize("sensor", ["gh100_instant", "nvml_energy"])
def test_a_power_cap_is_noticed_and_in_the_intervals(sensor):
    hits, seen = [], 0
    for seed in range(8):
        sim, found = solved("drift", sensor, seed, cap_w=380.0)
        hits.append(held(sim, found).mean())
        seen += found.noise["context"] > 0.0
    assert seen >= 4  # in the others the mean is below the cap
    assert np.mean(hits) >= 0.85  # 80 intervals; 42 % before the context was looked at


def test_a_sensor_that_is_not_as_told_is_noticed():
    hits = []
    for seed in range(8):
        sim, found = solved("wrong_sensor", "gh100_instant", seed)
        assert found.noise["context"] > 0.005
        hits.append(held(sim, found).mean())
    assert np.mean(hits) >= 0.85


@pytest.mark.parametrize("sensor", ["gh100_instant", "nvml_energy", "ga10x_ad10x_instant"])
@pytest.mark.parametrize("workload", ["layered", "drift", "streams", "faults", "decode"])
def test_no_context_is_seen_where_there_is_none(workload, sensor):
    for seed in range(3):
        assert solved(workload, sensor, seed)[1].noise["context"] == 0.0


def test_a_rate_held_at_0_is_in_doubt_where_rates_depend_on_context():
    sim, found = solved("drift", "gh100_instant", 1, cap_w=340.0)
    assert found.noise["context"] > 0.0
    # Some of ten are found to have drawn hardly anything; none did, and no interval says so.
    least = found.energy < 0.1 * sim.truth.energy
    assert least.any()
    assert np.all(found.energy_std[least] > 0.2 * sim.truth.energy[least])


def test_parts_add_up_all_the_same():
    _, found = solved("drift", "nvml_energy", 1, cap_w=340.0)
    assert found.noise["context"] > 0.0
    parts = found.energy.sum() + found.baseline_energy
    assert parts == pytest.approx(found.total, rel=1e-9)
    w = np.linalg.eigvalsh(found.cov)
    assert w.min() > -1e-9 * w.max()


def test_clocks_that_were_recorded_explain_what_moved(tmp_path):
    off = {}
    for told in (True, False):
        errors = []
        for seed in range(3):
            sim = pj.simulate.run(
                "drift", "gh100_instant", duration_s=60.0, seed=seed, edges="locked",
                clock_std=0.03,
            )  # fmt: skip
            path = tmp_path / f"{told}{seed}.pj"
            _trace.save(path, sim.trace() if told else without_clock(sim.trace()))
            profile = pj.load(path)
            assert ("gpu:0/sm_clock" in profile.counters) == told
            truth = sim.truth_between(0, sim.duration_ns).energy
            found = {k.name: k.energy.joules for k in profile.kernels}
            errors.append(
                sum(abs(found[n] - j) for n, j in zip(sim.work.names, truth, strict=True))
                / truth.sum()
            )
        off[told] = np.mean(errors)
    assert off[True] < 0.012
    assert off[False] > 3.0 * off[True]


def test_a_profile_at_its_power_cap_warns(tmp_path):
    for cap_w, warns in ((380.0, True), (np.inf, False)):
        sim = pj.simulate.run(
            "drift", "gh100_instant", duration_s=60.0, seed=0, edges="locked", cap_w=cap_w
        )
        sim.save(tmp_path / f"{warns}.pj")
        profile = pj.load(tmp_path / f"{warns}.pj")
        (device,) = profile.kernels.devices
        assert (device.context > 0.0) == warns
        assert any("depending on what ran before" in w for w in profile.warnings) == warns
