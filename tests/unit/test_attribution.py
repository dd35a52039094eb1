"""``pj.attribute`` against known truth."""

import math

import numpy as np
import pytest
from attribution_twin import twin
from hypothesis import given, settings
from hypothesis import strategies as st

import picojoule as pj
from picojoule import _core

IDLE_W = 80.0


class Load:
    """Spans one after the other with known power, and the exact energy up to any instant."""

    def __init__(self, rng, watts, seconds, mean_ns=2e6, block=20, idle=0.15):
        k = len(watts)
        n = int(seconds * 1e9 / mean_ns / (1 + idle) * 1.2) + 50
        favourite = rng.integers(0, k, n // block + 1)[np.arange(n) // block]
        self.cls = np.where(rng.random(n) < 0.5, favourite, rng.integers(0, k, n)).astype("i8")
        length = rng.lognormal(0, 0.7, k)[self.cls]
        length = np.rint(length / length.mean() * mean_ns)
        gap = np.rint(rng.exponential(idle * mean_ns, n))
        self.end = np.cumsum(length + gap)
        self.begin = self.end - length
        self.watts = np.asarray(watts, dtype=float)
        self.at = np.empty(2 * n + 1)
        self.at[0], self.at[1::2], self.at[2::2] = 0.0, self.begin, self.end
        power = np.empty(2 * n)
        power[0::2], power[1::2] = IDLE_W, self.watts[self.cls]
        self.power = power
        self.sum = np.concatenate([[0.0], np.cumsum(power * np.diff(self.at))]) * 1e-9

    def joules(self, t):
        return np.interp(t, self.at, self.sum)

    def of_class(self, lo, hi):
        inside = np.clip(np.minimum(self.end, hi) - np.maximum(self.begin, lo), 0, None)
        return np.bincount(self.cls, inside * 1e-9, len(self.watts)) * self.watts

    @property
    def spans(self):
        return self.begin.astype("i8"), self.end.astype("i8"), self.cls


def counter(load, seconds, period_ns=20e6, edge_std=0.0, rng=None, regular=True):
    """Windows of a counter: (begins, ends, joules)."""
    edges = np.rint(np.arange(3e6, seconds * 1e9, period_ns))
    if not regular:
        edges = np.sort(edges + np.rint(rng.uniform(-0.3, 0.3, len(edges)) * period_ns))
    true = edges + (rng.normal(0, edge_std, len(edges)) if edge_std else 0.0)
    edges = edges.astype("i8")
    return edges[:-1], edges[1:], np.diff(load.joules(true))


def covered(result, truth, level=0.95):
    low, high = result.interval(level).T
    return (truth >= low) & (truth <= high)


def test_without_noise_the_rates_are_exact():
    rng = np.random.default_rng(1)
    watts = [150.0, 300.0, 450.0, 600.0]
    load = Load(rng, watts, 5.0)
    begins, ends, joules = counter(load, 5.0)
    found = pj.attribute(begins, ends, joules, *load.spans, value_std=1e-6, edge_std_ns=1e-3)
    np.testing.assert_allclose(found.rate, watts, rtol=1e-5)
    assert found.baseline_rate == pytest.approx(IDLE_W, rel=1e-4)
    np.testing.assert_allclose(found.energy, load.of_class(begins[0], ends[-1]), rtol=1e-5)
    assert found.identified.all()
    assert found.groups == []


def test_native_is_the_numpy_twin():
    rng = np.random.default_rng(2)
    watts = np.array([150.0, 300.0, 450.0, 600.0])
    load = Load(rng, watts, 2.0)
    begins, ends, joules = counter(load, 2.0, edge_std=2e5, rng=rng, regular=False)
    prior = watts * np.array([1.2, 0.8, 1.1, 0.9])
    found = pj.attribute(
        begins,
        ends,
        joules,
        *load.spans,
        edge_std_ns=2e5,
        value_std=1e-3,
        prior_rate=prior,
        prior_cv=0.2,
    )
    kept = load.begin < ends[-1] + 1e8
    spans = np.stack([load.begin, load.end], axis=1)[kept]
    rates, post, rows = twin(
        begins, ends, joules, spans, load.cls[kept], 2e5, 1e-3, found.noise, prior, 0.2
    )
    # Reconciled with the sum of the readings, as the native one does it.
    time = rows.sum(axis=0)
    missing = joules.sum() - time @ rates
    moved = rates + post @ time * missing / (time @ post @ time)
    assert found.noise["drift_terms"] == 0
    np.testing.assert_allclose(found.rate, moved[:4], rtol=2e-3)
    assert found.residual == pytest.approx(missing, abs=2e-2)
    left = post - np.outer(post @ time, post @ time) / (time @ post @ time)
    np.testing.assert_allclose(found.rate_std, np.sqrt(np.diag(left))[:4], rtol=1e-2)


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m, k = draw(st.integers(1, 30)), draw(st.integers(0, 60)), draw(st.integers(1, 5))
    contiguous = draw(st.booleans())
    edges = np.cumsum(rng.integers(1, 10**8, 2 * n + 1))
    begins, ends = (edges[:n], edges[1 : n + 1]) if contiguous else (edges[0:-1:2], edges[1::2])
    span_begins = rng.integers(-(10**8), int(edges[-1]) + 10**8, m)
    span_ends = span_begins + rng.integers(0, 10**8, m) * rng.integers(0, 2, m)
    values = rng.uniform(0, 1e-7, n) * (ends - begins)
    total = None
    if draw(st.booleans()):
        total = (int(begins[0]) - 5, int(ends[-1]) + 7, float(values.sum() * 1.3 + 1.0))
    options = {
        "edge_std_ns": draw(st.sampled_from([0.0, 1e3, 1e6])),
        "value_std": draw(st.sampled_from([0.0, 1e-2])),
        "lag_s": draw(st.sampled_from([0.0, 0.02])),
        "baseline": draw(st.booleans()),
        "total": total,
    }
    return (begins, ends, values, span_begins, span_ends, rng.integers(0, k, m)), k, options


@settings(max_examples=150, deadline=None)
@given(problems())
def test_parts_add_up_to_the_total(problem):
    arrays, k, options = problem
    found = pj.attribute(*arrays, n_classes=k, **options)
    parts = math.fsum([*found.energy, found.baseline_energy, found.unattributed])
    assert abs(parts - found.total) <= 1e-3 + 1e-9 * abs(found.total)
    if options["total"] is not None:
        assert found.total == options["total"][2]
    assert (found.energy >= 0).all()
    assert np.isfinite(found.energy).all()
    assert np.isfinite(found.energy_std).all()
    assert found.rate.shape == found.rate_std.shape == found.energy_std.shape == (k,)
    assert found.cov.shape == (k, k)
    assert found.interval().shape == (k, 2)
    for group in found.groups:
        assert len(group) > 1
        assert not found.identified[group].any()


@settings(max_examples=25, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_spans_does_not_matter(problem, random):
    (begins, ends, values, span_begins, span_ends, cls), k, options = problem
    # Spans that begin at once are summed in the order given, hence not to the last bit.
    order = list(range(len(cls)))
    random.shuffle(order)
    one = pj.attribute(begins, ends, values, span_begins, span_ends, cls, n_classes=k, **options)
    other = pj.attribute(
        begins, ends, values, span_begins[order], span_ends[order], cls[order], n_classes=k,
        **options,
    )  # fmt: skip
    np.testing.assert_allclose(one.time_s, other.time_s, rtol=1e-12, atol=1e-15)


def test_the_same_bytes_for_any_number_of_threads():
    rng = np.random.default_rng(3)
    k = 150
    load = Load(rng, rng.uniform(100, 600, k), 40.0, mean_ns=3e5)
    begins, ends, joules = counter(load, 40.0, edge_std=2e4, rng=rng)
    n = len(joules)
    arguments = (
        begins, ends, joules, *load.spans[:2], load.cls.astype("i4"), k,
        np.full(n, 2e4), np.full(n, 1e-3), 0.0, -1, np.full(k, np.nan), np.full(k, 0.3),
        None, 0.05, True, np.zeros(n, "u1"), np.zeros(n, "i4"), [],
    )  # fmt: skip
    one, two, five = (_core.attribute(*arguments, threads) for threads in (1, 2, 5))
    for name in ("energy", "energy_std", "cov"):
        assert one[name].tobytes() == two[name].tobytes() == five[name].tobytes()


def test_classes_that_always_run_together_are_one_group():
    rng = np.random.default_rng(4)
    n = 40_000
    # 0 and 1 alternate every 5 us; 2 comes and goes in stretches of its own.
    cls = np.tile([0, 1], n // 2)
    stretch = np.repeat(rng.integers(0, 2, n // 400), 400)
    cls = np.where(stretch == 1, 2, cls)
    begin = np.arange(n) * 50_000
    end = begin + 50_000
    watts = np.array([500.0, 300.0, 200.0])
    edges = np.arange(0, n * 50_000 + 1, 100_000_000)
    sums = np.concatenate([[0.0], np.cumsum(watts[cls] * 50_000e-9)])
    joules = np.diff(np.interp(edges, np.arange(n + 1) * 50_000, sums))
    joules += rng.normal(0, 0.05, len(joules))
    found = pj.attribute(
        edges[:-1], edges[1:], joules, begin, end, cls, value_std=0.05, edge_std_ns=1e3,
        prior_rate=[400.0, 400.0, 400.0], prior_cv=0.4,
    )  # fmt: skip
    assert [g.tolist() for g in found.groups] == [[0, 1]]
    assert found.identified.tolist() == [False, False, True]
    truth = np.bincount(cls, minlength=3) * 50_000e-9 * watts
    pair = truth[:2].sum()
    assert found.energy[:2].sum() == pytest.approx(pair, rel=2e-3)
    assert found.energy_std[:2].min() > 0.05 * pair  # the split is only the priors'
    assert found.rate[2] == pytest.approx(200.0, rel=5e-3)
    assert covered(found, truth).all()


def test_intervals_hold_the_truth_as_often_as_they_say():
    hits = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        watts = rng.uniform(120, 600, 8)
        load = Load(rng, watts, 12.0)
        begins, ends, joules = counter(load, 12.0, edge_std=5e4, rng=rng)
        found = pj.attribute(
            begins, ends, joules, *load.spans, edge_std_ns=5e4, value_std=1e-3,
            prior_rate=watts * np.exp(rng.normal(0, 0.2, 8)), prior_cv=0.2,
        )  # fmt: skip
        hits.extend(covered(found, load.of_class(begins[0], ends[-1])))
    # 320 classes; not all independent
    assert 0.91 <= np.mean(hits) <= 0.985


def test_intervals_of_what_readings_do_not_tell_are_those_of_the_prior():
    # Steps that repeat with the sensor: nine of ten classes are not determined. The truths are
    # drawn as is assumed of rates of which nothing is known.
    hits, known = [], []
    for seed in range(60):
        sim = pj.simulate.run(
            "aliasing", "gh100_instant", duration_s=6.0, seed=seed, edges=20e-6, power_cv=0.5,
            ratio=(2 / 3, 1.0, 5 / 4)[seed % 3],
        )  # fmt: skip
        found = pj.attribute(**sim.arguments())
        hits.extend(covered(found, sim.truth.energy))
        known.extend(found.identified)
    assert np.mean(known) < 0.3
    assert 0.88 < np.mean(hits) < 0.98  # 600 classes


def test_edge_errors_that_were_not_told_are_found():
    rng = np.random.default_rng(5)
    load = Load(rng, [150.0, 300.0, 450.0, 600.0], 30.0)
    begins, ends, joules = counter(load, 30.0, edge_std=1e5, rng=rng)
    found = pj.attribute(begins, ends, joules, *load.spans)
    assert found.noise["edge_std_ns"] == pytest.approx(1e5, rel=0.15)
    np.testing.assert_allclose(found.rate, load.watts, rtol=0.02)


def test_edges_of_a_regular_clock_are_known_better_together():
    rng = np.random.default_rng(6)
    load = Load(rng, [150.0, 300.0, 450.0, 600.0], 60.0)
    tick = 7e6 + 100.1e6 * np.arange(590)
    seen = tick + rng.normal(0, 2e5, 590)  # errors of the reader, not of the sensor
    joules = load.joules(tick + 25e6) - load.joules(tick)
    windows = np.rint(seen).astype("i8"), np.rint(seen + 25e6).astype("i8"), joules
    told = {"edge_std_ns": 2e5, "value_std": 1e-4}
    found = pj.attribute(*windows, *load.spans, **told)
    assert found.noise["edge_std_ns"] < 6e4
    np.testing.assert_allclose(found.rate, load.watts, rtol=0.01)


@pytest.mark.parametrize("amount", [0.0, 0.05])
def test_warming_up(amount):
    rng = np.random.default_rng(7)
    load = Load(rng, rng.uniform(120, 600, 10), 60.0)
    factor = 1 - amount * np.exp(-load.at / 20e9)
    load.sum = np.concatenate(
        [[0.0], np.cumsum(load.power * factor[:-1] * np.diff(load.at))]
    ) * 1e-9  # fmt: skip
    begins, ends, joules = counter(load, 60.0, edge_std=5e4, rng=rng)
    found = pj.attribute(begins, ends, joules, *load.spans, edge_std_ns=5e4, value_std=1e-3)
    middle = 1 - amount * np.exp(-0.5e-9 * (load.begin + load.end) / 20)
    inside = np.clip(np.minimum(load.end, ends[-1]) - np.maximum(load.begin, begins[0]), 0, None)
    truth = np.bincount(load.cls, inside * 1e-9 * middle) * load.watts
    assert np.abs(found.energy - truth).sum() / truth.sum() < 0.015
    assert (found.noise["drift_terms"] > 0) == (amount > 0)


def heated(seed, seconds=60.0, amount=0.03, classes=8, mean_ns=2e7):
    """Power that follows a temperature which something else decides, and a thermometer."""
    rng = np.random.default_rng(seed)
    load = Load(rng, rng.uniform(120, 600, classes), seconds, mean_ns=mean_ns)
    at_ns = np.arange(0, int(seconds * 1e9) + 1, 500_000_000)
    celsius = np.cumsum(rng.normal(0, 1.0, len(at_ns)))
    celsius = 60 + 5 * (celsius - celsius.mean()) / celsius.std()
    factor = 1 + amount * (np.interp(load.at, at_ns, celsius) - 60) / 5
    load.sum = np.concatenate(
        [[0.0], np.cumsum(load.power * factor[:-1] * np.diff(load.at))]
    ) * 1e-9  # fmt: skip
    begins, ends, joules = counter(load, seconds, edge_std=5e4, rng=rng)
    middle = 1 + amount * (np.interp(0.5 * (load.begin + load.end), at_ns, celsius) - 60) / 5
    inside = np.clip(np.minimum(load.end, ends[-1]) - np.maximum(load.begin, begins[0]), 0, None)
    truth = np.bincount(load.cls, inside * 1e-9 * middle, classes) * load.watts
    noise = {"edge_std_ns": 5e4, "value_std": 1e-3}
    return (begins, ends, joules, *load.spans), noise, (at_ns, np.round(celsius)), truth


def test_a_temperature_that_is_given_explains_what_rates_do():
    blind, told, hits = [], [], []
    for seed in range(12):
        arguments, noise, thermometer, truth = heated(seed)
        without = pj.attribute(*arguments, **noise)
        found = pj.attribute(*arguments, **noise, drift=[thermometer])
        blind.append(np.abs(without.energy - truth).sum() / truth.sum())
        told.append(np.abs(found.energy - truth).sum() / truth.sum())
        assert found.noise["drift_terms"] >= 1
        assert found.noise["drift"] == pytest.approx(0.03, rel=0.35)
        assert found.energy.sum() + found.baseline_energy == pytest.approx(found.total)
        hits.extend(covered(found, truth))
    assert np.mean(told) < 0.6 * np.mean(blind)
    assert np.mean(hits) >= 0.9  # 96 classes


def test_a_series_that_explains_nothing_does_no_harm():
    for seed in range(3):
        arguments, noise, thermometer, truth = heated(seed, amount=0.0)
        other = (thermometer[0], np.full(len(thermometer[0]), 55.0))
        found = pj.attribute(*arguments, **noise, drift=[thermometer, other])
        without = pj.attribute(*arguments, **noise)
        assert found.noise["drift"] < 0.005
        # Of the doubt there is: nobody knows which of the two is nearer.
        assert np.abs((found.energy - without.energy) / without.energy_std).max() < 3
        assert np.mean(covered(found, truth)) >= 0.75
    # All rates move with it by one factor: whatever its unit and offset.
    scaled = (thermometer[0], 1e3 * thermometer[1] + 273.15)
    again = pj.attribute(*arguments, **noise, drift=[scaled, other])
    np.testing.assert_allclose(again.energy, found.energy, rtol=1e-6)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ([([0, 1], [1.0])], r"drift\[0\] values has 1 elements"),
        ([([0, 1], [1.0, 2.0]), ([5, 5], [1.0, 2.0])], r"drift\[1\] times must ascend"),
        ([([0, 1], [1.0, np.nan])], r"drift\[0\] values\[1\] is nan"),
        ([([], [])], r"drift\[0\] is empty"),
        ([7], r"drift\[0\] must be a pair"),
    ],
)
def test_a_wrong_series_of_drift_is_named(series, words):
    with pytest.raises(ValueError, match=words):
        pj.attribute([0], [10], [1.0], [0], [5], [0], drift=series)


@pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0])
def test_streams_share_by_the_stated_rule(exponent):
    rng = np.random.default_rng(8)
    one, two = (Load(rng, rng.uniform(200, 500, 3), 30.0, mean_ns=m, idle=0.5) for m in (2e6, 3e6))
    begin = np.concatenate([one.begin, two.begin])
    end = np.concatenate([one.end, two.end])
    cls = np.concatenate([one.cls, two.cls + 3])
    above = np.concatenate([one.watts, two.watts]) - IDLE_W
    at = np.concatenate([begin, end])
    order = np.argsort(at, kind="stable")
    at = np.concatenate([[0.0], at[order]])
    step = np.concatenate([above[cls], -above[cls]])[order]
    count = np.concatenate([[0], np.cumsum(np.repeat([1, -1], len(cls))[order])])
    draws = np.concatenate([[0.0], np.cumsum(step)])
    scale = np.where(count > 0, np.maximum(count, 1.0) ** -exponent, 0.0)
    power = IDLE_W + scale * draws
    sums = np.concatenate([[0.0], np.cumsum(power[:-1] * np.diff(at))]) * 1e-9
    own = np.concatenate([[0.0], np.cumsum(scale[:-1] * np.diff(at))]) * 1e-9
    base = np.concatenate(
        [[0.0], np.cumsum(np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0)[:-1] * np.diff(at))]
    ) * 1e-9  # fmt: skip
    edges = np.arange(0, 30e9, 20e6)
    joules = np.diff(np.interp(edges, at, sums)) + rng.normal(0, 1e-3, len(edges) - 1)
    edges = edges.astype("i8")
    found = pj.attribute(
        edges[:-1], edges[1:], joules, begin.astype("i8"), end.astype("i8"), cls,
        edge_std_ns=100.0, value_std=1e-3,
    )  # fmt: skip

    def between(curve):
        late, early = (np.interp(np.minimum(x, edges[-1]), at, curve) for x in (end, begin))
        return late - early

    truth = np.bincount(cls, between(own) * above[cls] + between(base) * IDLE_W)
    assert found.noise["sharing"] == pytest.approx(exponent, abs=0.02)
    np.testing.assert_allclose(found.energy, truth, rtol=0.01)


def test_a_sensor_that_lags():
    rng = np.random.default_rng(9)
    load = Load(rng, [150.0, 300.0, 450.0, 600.0], 20.0, mean_ns=4e6)
    lag = 0.010
    # The exact response to a step function, segment by segment.
    state, lagged = IDLE_W, [0.0]
    for watts, length in zip(load.power, np.diff(load.at) * 1e-9, strict=True):
        new = watts + (state - watts) * math.exp(-length / lag)
        lagged.append(lagged[-1] + watts * length - lag * (new - state))
        state = new
    # Sums at segment ends only; windows therefore end there.
    ends_at = np.searchsorted(load.at, np.arange(20e6, 20e9, 20e6))
    edges, sums = load.at[ends_at].astype("i8"), np.array(lagged)[ends_at]
    told = {"edge_std_ns": 10.0, "value_std": 1e-3}
    with_lag = pj.attribute(edges[:-1], edges[1:], np.diff(sums), *load.spans, lag_s=lag, **told)
    without = pj.attribute(edges[:-1], edges[1:], np.diff(sums), *load.spans, **told)
    np.testing.assert_allclose(with_lag.rate, load.watts, rtol=0.01)
    assert np.abs(without.rate / load.watts - 1).max() > 0.05


def test_a_few_wrong_readings_do_not_spoil_the_rest():
    rng = np.random.default_rng(10)
    load = Load(rng, [150.0, 300.0, 450.0, 600.0], 30.0)
    begins, ends, joules = counter(load, 30.0, edge_std=2e4, rng=rng)
    joules[[100, 700, 701]] += [40.0, -3.0, 9.0]
    found = pj.attribute(begins, ends, joules, *load.spans, edge_std_ns=2e4, value_std=1e-3)
    assert found.noise["outliers"] >= 3
    np.testing.assert_allclose(found.rate, load.watts, rtol=0.01)


def test_priors_fill_in_for_what_hardly_ran():
    rng = np.random.default_rng(11)
    load = Load(rng, [200.0, 400.0], 10.0)
    begins, ends, joules = counter(load, 10.0, edge_std=5e4, rng=rng)
    spans = [np.append(a, b) for a, b in zip(load.spans, (5, 1_005, 2), strict=True)]
    found = pj.attribute(
        begins, ends, joules, *spans, edge_std_ns=5e4, value_std=1e-3,
        prior_rate=[math.nan, math.nan, 700.0], prior_cv=0.25,
    )  # fmt: skip
    assert found.rate[2] == pytest.approx(700.0)  # ran before the first reading
    assert found.energy[2] == 0.0
    assert not found.identified[2]


@pytest.mark.parametrize("baseline", [True, False])
def test_nothing_ran(baseline):
    found = pj.attribute([0, 10], [10, 20], [1.0, 2.0], [], [], [], baseline=baseline)
    assert found.energy.shape == (0,)
    assert found.cov.shape == (0, 0)
    assert found.total == 3.0
    assert found.baseline_energy == (pytest.approx(3.0) if baseline else 0.0)
    assert found.unattributed == pytest.approx(0.0 if baseline else 3.0)


def test_one_window_and_one_class():
    found = pj.attribute([0], [10**9], [100.0], [0], [10**9], [0])
    assert found.energy == pytest.approx([100.0])
    assert found.rate == pytest.approx([100.0])


def test_no_readings_but_a_total():
    found = pj.attribute(
        [], [], [], [0, 10**9], [10**9, 2 * 10**9], [0, 1], total=(0, 2 * 10**9, 600.0),
        prior_rate=[100.0, 200.0], prior_cv=0.1, baseline=False,
    )  # fmt: skip
    assert found.energy == pytest.approx([200.0, 400.0], rel=0.02)
    assert found.energy.sum() == pytest.approx(600.0)


def test_absolute_interval_holds_the_gain():
    found = pj.attribute([0], [10**9], [100.0], [0], [10**9], [0], value_std=0.1, gain_std=0.05)
    low, high = found.interval(absolute=True)[0]
    assert high - low > 2 * 1.9 * 5.0
    with pytest.raises(ValueError, match="level"):
        found.interval(1.0)


GOOD = {
    "begin_ns": [0, 10, 20],
    "end_ns": [10, 20, 30],
    "value": [1.0, 1.0, 1.0],
    "span_begin_ns": [0, 5],
    "span_end_ns": [5, 9],
    "span_class": [0, 1],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end_ns": [10, 20]}, r"end_ns has 2 elements, begin_ns has 3"),
        ({"value": [1.0, math.nan, 1.0]}, r"value\[1\] is not a finite"),
        ({"value": [1.0, 1.0]}, r"value has 2"),
        ({"begin_ns": [0, 10, 30]}, r"end_ns\[2\] is not after begin_ns\[2\]"),
        ({"begin_ns": [10, 0, 20], "end_ns": [20, 10, 30]}, r"begin_ns\[1\] is before begin_ns\[0"),
        (
            {"begin_ns": [0, 8, 20], "contiguous": True},
            r"begin_ns\[1\] is not end_ns\[0\].*overlap",
        ),
        ({"begin_ns": [0, 12, 20], "contiguous": True}, r"begin_ns\[1\] is not end_ns\[0\].*gap"),
        ({"begin_ns": [0, math.nan, 20]}, r"begin_ns\[1\] is nan"),
        ({"span_end_ns": [5, 4]}, r"span_end_ns\[1\] is before span_begin_ns\[1\]"),
        ({"span_end_ns": [5]}, r"span_end_ns has 1"),
        ({"span_class": [0, -1]}, r"span_class\[1\] is -1"),
        ({"span_class": [0, 7], "n_classes": 3}, r"span_class\[1\] is 7, not one of 0\.\.2"),
        ({"span_class": [0, 0.5]}, r"span_class\[1\] is 0.5"),
        ({"edge_std_ns": [1.0, -1.0, 1.0]}, r"edge_std_ns\[1\]"),
        ({"edge_std_ns": [1.0]}, r"edge_std_ns must be scalar or"),
        ({"value_std": -1.0}, r"value_std\[0\]"),
        ({"prior_rate": [1.0, -2.0]}, r"prior_rate\[1\]"),
        ({"prior_rate": [1.0]}, r"prior_rate must be one for each class: 2"),
        ({"prior_rate": [1.0, 2.0], "prior_cv": 0.0}, r"prior_cv\[0\]"),
        ({"lag_s": -1.0}, r"lag_s"),
        ({"gain_std": math.inf}, r"gain_std"),
        ({"n_classes": -1}, r"n_classes"),
        ({"total": (5, 5, 1.0)}, r"total: its end"),
        ({"total": (0, 5, math.nan)}, r"total: its value"),
        ({"total": 5.0}, r"total must be"),
        ({"begin_ns": [[0], [1], [2]]}, r"begin_ns must have one dimension"),
        ({"begin_ns": [], "end_ns": [], "value": []}, r"value: no readings"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        pj.attribute(**{**GOOD, **change})


@pytest.mark.parametrize("sensor", ["kepler_k40", "kepler_k80", "maxwell_gm"])
def test_sensors_that_lag_far_longer_than_a_kernel_runs(sensor):
    hits = []
    for seed in range(4):
        sim = pj.simulate.run("layered", sensor, duration_s=60.0, seed=seed, edges=20e-6)
        found = pj.attribute(**sim.arguments())
        assert found.noise["outliers"] <= 2  # the first readings hold what ran before anything did
        hits.extend(covered(found, sim.truth.energy))
    assert np.mean(hits) >= 0.85  # 40 classes


def test_edges_off_by_less_than_a_kernel_launch_move_no_energy():
    sim = pj.simulate.run("layered", "gh100_instant", duration_s=30.0, seed=1, edges=20e-6)
    given = sim.arguments()
    solved = []
    for std_ns in (1e-3, 1.0, 50.0):
        given["edge_std_ns"] = std_ns
        solved.append(pj.attribute(**given).energy)
    np.testing.assert_allclose(solved[1], solved[0], rtol=1e-3)
    np.testing.assert_allclose(solved[2], solved[0], rtol=2e-2)
