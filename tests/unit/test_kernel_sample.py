"""More kernels than are kept one by one: a rate each from a random part of the time."""

from __future__ import annotations

import numpy as np
import pytest

import picojoule as pj
from picojoule import _core, _trace, _trace_kernels
from picojoule._runs import profile_of

S = 1_000_000_000


def kept(since_begin_ns, one_in):
    """What cpp/model/kernel_sample.h keeps, with arithmetic of its own."""
    mask = (1 << 64) - 1

    def holds(stretch):
        x = (stretch + 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return ((x ^ (x >> 31)) & (one_in - 1)) == 0

    stretch = np.asarray(since_begin_ns) // S
    which = {int(s): holds(int(s)) for s in np.unique(stretch)}
    return np.array([which[int(s)] for s in stretch])


def with_kernels(full, kernels, one_in):
    out = _core.Trace(
        name=full.name, begin_ns=full.begin_ns, end_ns=full.end_ns,
        begin_wall_ns=full.begin_wall_ns, channels=full.channels, paths=full.paths,
        ticks=full.ticks, cells=full.cells, spans=full.spans, gaps=full.gaps,
        overhead={_core.KERNEL_SAMPLE_KEY: float(one_in)} if one_in > 1 else {}, warnings=[],
        **{**_trace_kernels.of(full), "kernels": kernels},
    )  # fmt: skip
    out.environment = {"host": "synthetic"}
    return out


def sampled(full, one_in):
    rows = full.kernels
    return with_kernels(full, rows[kept(rows["a"] - full.begin_ns, one_in)], one_in)


@pytest.mark.parametrize(
    ("workload", "sensor"),
    [("layered", "gh100_instant"), ("streams", "gh100_instant"), ("streams", "nvml_energy")],
)
def test_joules_are_near_the_truth_and_intervals_know_how_near(workload, sensor):
    inside, all_of_them, errors = 0, 0, []
    for seed in range(3):
        sim = pj.simulate.run(workload, sensor=sensor, duration_s=120, edges="locked", seed=seed)
        full = sim.trace()
        trace = sampled(full, 8)
        assert 0.02 < len(trace.kernels) / len(full.kernels) < 0.4
        profile = profile_of(trace)
        (device,) = profile.kernels.devices
        assert device.spread == "sample"
        # The board's own gain is no matter of who used what.
        gain = profile.energy_j / float(sim.energy(0, sim.duration_ns))
        assert gain == pytest.approx(1.0, rel=0.06)
        truth = dict(zip(sim.work.names, gain * sim.truth.energy, strict=True))
        found = {k.name: k for k in profile.kernels.by("kernel")}
        errors.append(sum(abs(found[n].energy_j - truth[n]) for n in found) / sum(truth.values()))
        parts = sum(k.energy_j for k in profile.kernels) + device.idle.joules
        assert parts + device.unattributed_j == pytest.approx(profile.energy_j, rel=1e-9)
        assert device.busy_s + device.idle_s == pytest.approx(120)
        for name, row in found.items():
            low, high = row.energy.interval(0.95, absolute=False)
            inside += low <= truth[name] <= high
            all_of_them += 1
    assert max(errors) < 0.02  # by time alone: 0.2 and more
    assert inside / all_of_them > 0.85


def test_sums_and_calls_are_of_all_kernels_and_no_timeline_is_shown():
    sim = pj.simulate.run("layered", sensor="nvml_energy", duration_s=60, edges="locked", seed=1)
    full = sim.trace()
    whole, part = profile_of(full), profile_of(sampled(full, 4))
    calls = {k.name: (k.calls, k.time_s) for k in whole.kernels}
    assert {k.name: (k.calls, k.time_s) for k in part.kernels} == calls
    assert len(part.kernels.runs) == 0 and len(whole.kernels.runs) == len(full.kernels)
    assert any("one second of every 4, drawn at random" in w for w in part.warnings)
    assert not any("one by one" in w for w in whole.warnings)
    assert "taken to hold for all of its time" in part.kernels[0].energy.basis
    (device,) = part.kernels.devices
    assert device.idle_s == pytest.approx(whole.kernels.devices[0].idle_s, rel=0.02, abs=0.05)


def test_a_kernel_that_the_sample_never_saw_has_a_wide_interval_and_is_not_identified():
    sim = pj.simulate.run("layered", sensor="nvml_energy", duration_s=60, edges="locked", seed=1)
    full = sim.trace()
    rows = full.kernels
    rare = int(np.bincount(rows["d"]).argmin())
    keep = kept(rows["a"] - full.begin_ns, 2) & (rows["d"] != rare)
    profile = profile_of(with_kernels(full, rows[keep], 2))
    (row,) = (k for k in profile.kernels if k.name == sim.work.names[rare])
    low, high = row.energy.interval(0.95, absolute=False)
    assert not row.identified
    assert high - low > 0.5 * row.energy_j
    assert row.energy_j > 0


def test_nothing_kept_or_too_few_readings_leave_the_mean_power():
    sim = pj.simulate.run("layered", sensor="nvml_energy", duration_s=20, edges="locked", seed=1)
    full = sim.trace()
    for kernels in (full.kernels[:0], full.kernels[kept(full.kernels["a"] - full.begin_ns, 4096)]):
        profile = profile_of(with_kernels(full, kernels, 4096))
        (device,) = profile.kernels.devices
        assert device.spread == "sums"
        said = "shares of the mean power" if not len(kernels) else "drawn at random"
        assert any(said in w for w in profile.warnings)
        watts = [k.watts for k in profile.kernels]
        assert watts == pytest.approx([watts[0]] * len(watts), rel=1e-9)


def test_the_sample_survives_the_file(tmp_path):
    sim = pj.simulate.run("layered", sensor="nvml_energy", duration_s=60, edges="locked", seed=1)
    trace = sampled(sim.trace(), 4)
    _trace.save(tmp_path / "x.pj", trace)
    again, here = pj.load(tmp_path / "x.pj"), profile_of(trace)
    assert [k.energy_j for k in again.kernels] == [k.energy_j for k in here.kernels]
    assert again.kernels.devices[0].spread == "sample"


def test_the_journal_has_those_that_memory_has_not():
    sim = pj.simulate.run("layered", sensor="nvml_energy", duration_s=20, edges="locked", seed=1)
    full = sim.trace()
    memory = sampled(full, 4)
    joined = _trace._with(full, memory)
    assert len(joined.kernels) == len(full.kernels)
    assert _core.KERNEL_SAMPLE_KEY not in joined.overhead
    # Where the disk was full for long, the sample is what is whole.
    lossy = with_kernels(full, full.kernels[:-5], 1)
    joined = _trace._with(lossy, memory)
    assert len(joined.kernels) == len(memory.kernels)
    assert joined.overhead[_core.KERNEL_SAMPLE_KEY] == 4.0
