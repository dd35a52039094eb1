"""The workloads: spans that can be, the same for the same seed, and as they are described."""

import itertools

import numpy as np
import pytest

from picojoule.errors import UsageError
from picojoule.simulate import WORKLOADS, Drift, run

ALL = list(WORKLOADS)


def bytes_of(sim):
    parts = [sim.begin_ns, sim.end_ns, sim.value, sim.edge_std_ns, sim.value_std]
    parts += [sim.span_begin_ns, sim.span_end_ns, sim.span_class, sim.span_stream]
    return [part.tobytes() for part in (*parts, sim.truth.energy, sim.old_ns, sim.new_ns)]


@pytest.mark.parametrize("name", ALL)
def test_spans_can_be(name):
    sim = run(name, "gh100_instant", duration_s=3.0, seed=3)
    begin, end = sim.work.begin_ns, sim.work.end_ns
    assert len(begin) and begin.dtype == end.dtype == np.int64
    assert (np.diff(begin) >= 0).all() and (begin <= end).all()
    assert begin[0] >= 0 and end.max() <= sim.duration_ns
    assert end.max() > 0.9 * sim.duration_ns
    assert set(np.unique(sim.span_class)) <= set(range(sim.n_classes))
    for stream in np.unique(sim.span_stream):
        of_it = sim.span_stream == stream
        assert (begin[of_it][1:] >= end[of_it][:-1]).all()
    assert len(sim.work.names) == sim.n_classes
    assert (sim.work.watts > 0).all()


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_bytes(name):
    one, same = (run(name, "gh100_instant", duration_s=1.0, seed=5, edges="poll") for _ in "ab")
    other = run(name, "gh100_instant", duration_s=1.0, seed=6, edges="poll")
    assert bytes_of(one) == bytes_of(same)
    assert bytes_of(one) != bytes_of(other)


def test_another_reader_or_sensor_leaves_the_work_as_it_was():
    base = run("layered", "gh100_instant", duration_s=1.0)
    for changed in (
        run("layered", "gh100_instant", duration_s=1.0, edges=1e-4),
        run("layered", "rapl", duration_s=1.0, board="drawn"),
    ):
        assert changed.span_begin_ns.tobytes() == base.span_begin_ns.tobytes()
        assert changed.truth_between(0, 10**9).total == base.truth_between(0, 10**9).total


def test_layered_runs_its_classes_in_steps():
    sim = run("layered", duration_s=5.0, n_classes=20, step_s=0.1, spread=0.0, seed=2)
    assert set(sim.span_class) == set(range(20))
    # One step is like the next.
    first = sim.span_class[sim.span_begin_ns < 100_000_000]
    again = sim.span_class[: 2 * len(first)][len(first) :]
    assert (first == again).all()
    lasts = sim.span_begin_ns[sim.span_class == 19]
    assert np.ptp(np.diff(lasts[::6])) <= 4  # ns of rounding
    low, high = sim.work.watts.min(), sim.work.watts.max()
    assert low >= 205 and high <= 640 and high > 2 * low


def test_rates_may_be_drawn_by_chance_for_the_same_spans():
    even = run("layered", "gh100_instant", duration_s=1.0, seed=2, n_classes=400)
    drawn = run("layered", "gh100_instant", duration_s=1.0, seed=2, n_classes=400, power_cv=0.2)
    assert even.work.begin_ns.tobytes() == drawn.work.begin_ns.tobytes()
    assert even.work.watts.std() / even.work.watts.mean() == pytest.approx(0.297, abs=0.005)
    assert drawn.work.watts.mean() == pytest.approx(422.5, rel=0.04)
    assert drawn.work.watts.std() / drawn.work.watts.mean() == pytest.approx(0.2, rel=0.15)
    wide = run("layered", "gh100_instant", duration_s=1.0, seed=2, n_classes=400, power_cv=0.8)
    assert (wide.work.watts > 0.0).all()


def test_layers_of_several_kinds_differ_and_identical_ones_do_not():
    def shares(name):
        sim = run(name, "nvml_energy", duration_s=5.0, layers=6, step_s=0.6)
        edges = np.arange(0, 5_000_000_000, 50_000_000)
        rows = []
        for a, b in itertools.pairwise(edges):
            rows.append(sim.truth_between(a, b).time_s[:4])  # of the forward pass
        rows = np.array(rows)
        busy = rows.sum(axis=1) > 0.045
        return rows[busy] / rows[busy].sum(axis=1, keepdims=True)

    assert shares("layered").std(axis=0).max() > 3 * shares("identical").std(axis=0).max()


def test_decode_has_short_kernels_and_attention_that_grows():
    sim = run("decode", duration_s=10.0, seed=1)
    length = sim.span_end_ns - sim.span_begin_ns
    assert 5e3 <= np.median(length) <= 50e3
    assert len(length) > 100_000
    attention = length[sim.span_class == 1]
    other = length[sim.span_class == 2]
    tokens = np.percentile(attention, [5, 95]), np.percentile(other, [5, 95])
    assert tokens[0][1] > 1.4 * tokens[0][0]
    assert tokens[1][1] < 1.2 * tokens[1][0]


@pytest.mark.parametrize("period_s", [10e-6, 1e-3, 1.0])
def test_alternate_takes_turns(period_s):
    sim = run("alternate", duration_s=2.0, period_s=period_s, share=0.25)
    assert (sim.span_class == np.arange(len(sim.span_class)) % 2).all()
    truth = sim.truth_between(0, 2_000_000_000)
    assert truth.time_s == pytest.approx([0.5, 1.5], rel=1e-3)
    assert truth.energy == pytest.approx([250, 450], rel=1e-3)


def test_drift_comes_with_all_it_is_made_of():
    plain = run("layered", duration_s=30.0, seed=4)
    drifting = run("drift", duration_s=30.0, seed=4)
    ratio = [
        drifting.energy(t, t + 10**9) / plain.energy(t, t + 10**9)
        for t in (0, 10 * 10**9, 28 * 10**9)
    ]
    assert 0.94 < ratio[0] < 0.97 and ratio[0] + 0.02 < ratio[1] < ratio[2]
    capped = run("drift", duration_s=5.0, cap_w=300.0, warmup=0.0, thermal=(), seed=4)
    assert capped.energy(3 * 10**9, 5 * 10**9) < 2 * 303
    assert run("layered", duration_s=1.0, drift=Drift(warmup=0.5)).work.drift.warmup == 0.5


def test_streams_run_at_once_and_draw_less_than_their_sum():
    sim = run("streams", "nvml_energy", duration_s=5.0, n_streams=3, sharing=0.5)
    assert set(sim.span_stream) == {0, 1, 2}
    truth = sim.truth_between(0, sim.duration_ns)
    assert truth.time_s.sum() + truth.idle_s > 5.2  # concurrent spans each count
    alone = (truth.time_s * (sim.work.watts - sim.work.idle_w)).sum() + sim.work.idle_w * 5
    assert truth.total < 0.95 * alone


@pytest.mark.parametrize("ratio", [2 / 3, 1.0, 5 / 4])
def test_aliasing_meets_always_the_same_phases(ratio):
    sim = run("aliasing", "gh100_instant", duration_s=30.0, ratio=ratio)
    step = ratio * 0.1e9
    phases = np.unique(np.rint((sim.end_ns % step) / step * 100) % 100)
    assert len(phases) <= {2 / 3: 4, 1.0: 2, 5 / 4: 10}[ratio]
    usual = run("layered", "gh100_instant", duration_s=30.0, step_s=0.0377)
    assert len(np.unique(np.rint((usual.end_ns % 37.7e6) / 37.7e6 * 100) % 100)) > 50


def test_faults_are_there():
    sim = run("faults", "nvml_energy", duration_s=30.0, missed=0.1, resets=2)
    assert sim.ticks.reset.sum() == 2
    assert np.mean(np.diff(sim.ticks.index) > 1) == pytest.approx(0.1, abs=0.05)
    apart = sim.span_begin_ns - sim.work.begin_ns
    drifted = apart - np.rint(sim.work.begin_ns * 20e-6)
    assert set(drifted) == {0, 100_000}  # one step of 100 us


def test_parameters_are_listed_and_checked():
    assert WORKLOADS["alternate"].parameters["period_s"] == 0.01
    assert "turns" in WORKLOADS["alternate"].help and "period_s=0.01" in WORKLOADS["alternate"].help
    assert "kinds" not in WORKLOADS["identical"].parameters
    assert WORKLOADS["identical"].parameters["layers"] == 24
    with pytest.raises(UsageError, match="no workload 'layer'"):
        run("layer")
    with pytest.raises(UsageError, match="no parameter 'layer'; it has: n_classes"):
        run("layered", layer=3)
    with pytest.raises(UsageError, match="no parameter 'kinds'"):
        run("identical", kinds=3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("layered", {"n_classes": 0}),
        ("layered", {"layers": 1.5}),
        ("layered", {"step_s": 0.0}),
        ("layered", {"power_cv": 0.0}),
        ("layered", {"power_w": (300.0, 200.0)}),
        ("layered", {"kernel_s": (0.0, 1e-3)}),
        ("decode", {"n_classes": 1}),
        ("alternate", {"share": 1.0}),
        ("alternate", {"period_s": 0.0}),
        ("streams", {"busy": 0.0}),
        ("streams", {"n_streams": 9}),
        ("square", {"duty": 0.0}),
        ("steps", {"watts": ()}),
        ("aliasing", {"ratio": 0.0}),
    ],
)
def test_parameters_that_cannot_be(name, parameters):
    with pytest.raises(UsageError, match=f"{next(iter(parameters))}|n_classes"):
        run(name, duration_s=1.0, **parameters)


@pytest.mark.parametrize("n_classes", [1, 2, 3, 5, 40])
def test_any_number_of_classes(n_classes):
    sim = run("layered", duration_s=1.0, n_classes=n_classes)
    assert set(sim.span_class) == set(range(n_classes))
