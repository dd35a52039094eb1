"""``pj.LiveAttribution`` against the batch estimator, exact sums and known truth."""

import itertools
import math

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from test_attribution import Load, counter

import picojoule as pj
from picojoule._runs import profile_of


def feed(live, windows, spans, cuts=(), **how):
    """Tell windows in batches cut after the given numbers of windows, each span when it must be."""
    begin, end, value = windows
    span_begin, span_end, cls = spans
    bounds = [0, *sorted(cuts), len(begin)]
    told = 0
    for lo, hi in itertools.pairwise(bounds):
        until = end[hi - 1] if hi else begin[0]
        upto = max(told, int(np.searchsorted(span_begin, until)))
        live.update(
            begin[lo:hi], end[lo:hi], value[lo:hi],
            span_begin[told:upto], span_end[told:upto], cls[told:upto], **how,
        )  # fmt: skip
        told = upto
    live.update(
        span_begin_ns=span_begin[told:], span_end_ns=span_end[told:], span_class=cls[told:],
        complete_until_ns=int(end[-1]) + 10**12,
    )  # fmt: skip
    return live


def every(n, step):
    return range(step, n, step)


@pytest.mark.parametrize(("seconds", "edge_std"), [(4, 0.0), (40, 0.0), (40, 1e5)])
def test_energies_are_those_of_the_batch(seconds, edge_std):
    rng = np.random.default_rng(3)
    watts = rng.uniform(150, 600, 8)
    load = Load(rng, watts, seconds)
    windows = counter(load, seconds, 20e6, edge_std=edge_std, rng=rng, regular=False)
    how = {"edge_std_ns": edge_std} if edge_std else {}
    batch = pj.attribute(*windows, *load.spans, **how)
    live = feed(pj.LiveAttribution(), windows, load.spans, every(len(windows[0]), 50), **how)
    found = live.result()
    assert found.total == pytest.approx(batch.total, rel=1e-9)
    # The batch may move the ends by microseconds, where it finds a clock that explains rounding.
    np.testing.assert_allclose(found.time_s, batch.time_s, rtol=1e-9, atol=1e-5)
    assert found.idle_s == pytest.approx(batch.idle_s, rel=1e-9, abs=1e-5)
    scale = np.maximum(batch.energy_std, 1e-3 * batch.energy)
    assert np.abs((found.energy - batch.energy) / scale).max() < 0.5
    assert found.energy_std == pytest.approx(batch.energy_std, rel=0.5, abs=1e-3 * batch.total)
    truth = load.of_class(windows[0][0], windows[1][-1])
    np.testing.assert_allclose(found.energy, truth, rtol=0.03)


@pytest.mark.parametrize("prior_cv", [0.02, 0.3])
def test_what_rests_on_a_prior_is_not_called_identified(prior_cv):
    """Two kernels that always run in turns, two that do not; priors for three of the four."""
    rng = np.random.default_rng(8)
    watts = np.array([300.0, 500.0, 400.0, 200.0])
    idle_w, window_ns, ms = 80.0, 100_000_000, 1_000_000
    begin, end, cls, value = [], [], [], []
    for k in range(300):
        at = k * window_ns
        pairs, third, fourth = rng.integers(5, 25), rng.integers(2, 20), rng.integers(2, 20)
        runs = [(0, ms), (1, ms)] * pairs + [(2, third * ms), (3, fourth * ms)]
        joules = idle_w * 0.1
        for c, length in runs:
            begin.append(at)
            end.append(at := at + length)
            cls.append(c)
            joules += (watts[c] - idle_w) * length * 1e-9
        value.append(joules + rng.normal(0.0, 0.05))
    edges = np.arange(301) * window_ns
    windows = edges[:-1], edges[1:], np.array(value)
    spans = np.array(begin), np.array(end), np.array(cls)
    told = {"prior_rate": [310.0, 480.0, 400.0, math.nan], "prior_cv": prior_cv}
    batch = pj.attribute(*windows, *spans, value_std=0.05, edge_std_ns=1e3, **told)
    live = feed(
        pj.LiveAttribution(4, **told), windows, spans, every(300, 50),
        value_std=0.05, edge_std_ns=1e3,
    ).result()  # fmt: skip
    assert list(live.identified) == list(batch.identified) == [False, False, True, True]
    assert [list(g) for g in live.groups] == [list(g) for g in batch.groups] == [[0, 1]]
    # However well the priors say that they know it.
    assert (live.energy_std[0] < 0.03 * live.energy[0]) == (prior_cv < 0.03)
    assert live.energy_std[:2] == pytest.approx(batch.energy_std[:2], rel=0.2)


def test_rates_follow_and_their_sums_are_exact():
    rng = np.random.default_rng(5)
    watts = rng.uniform(150, 600, 120)  # too many to be solved exactly each time
    load = Load(rng, watts, 60, mean_ns=1e6)
    windows = counter(load, 60)
    live = pj.LiveAttribution()
    for lo in range(0, len(windows[0]), 50):
        feed_some = [w[lo : lo + 50] for w in windows]
        inside = (load.begin >= windows[0][lo]) & (load.begin < feed_some[1][-1])
        if lo == 0:
            inside |= load.begin < windows[0][0]
        live.update(*feed_some, *(s[inside] for s in load.spans))
        now = live.rates()
    result = live.result()
    assert now.readings + now.waiting == len(windows[0])
    assert now.total == pytest.approx(windows[2][: now.readings].sum(), rel=1e-12)
    np.testing.assert_allclose(now.time_s, result.time_s, rtol=1e-12)
    assert np.median(np.abs(now.rate / watts - 1)) < 0.03
    assert np.median(np.abs(now.rate / result.rate - 1)) < 0.02


def test_parts_add_up_and_covariance_knows_it():
    rng = np.random.default_rng(7)
    load = Load(rng, rng.uniform(150, 600, 12), 30)
    windows = counter(load, 30)
    found = feed(pj.LiveAttribution(), windows, load.spans, every(len(windows[0]), 37)).result()
    parts = found.energy.sum() + found.baseline_energy
    assert parts == pytest.approx(windows[2].sum(), rel=1e-9)
    assert abs(found.unattributed) < 1e-9 * found.total
    given_total = 1.01 * windows[2].sum()
    live = feed(pj.LiveAttribution(), windows, load.spans)
    found = live.result(given_total)
    assert found.energy.sum() + found.baseline_energy == pytest.approx(given_total, rel=1e-9)
    assert found.residual == pytest.approx(0.01 * windows[2].sum(), rel=0.05)


def test_a_class_that_appears_late_is_learned():
    rng = np.random.default_rng(11)
    watts = np.array([300.0, 200.0, 550.0, 120.0])
    load = Load(rng, watts, 40)
    late = (load.begin < 25e9) & (load.cls >= 2)
    keep = ~late
    # What is left out did not run: its time is idle, at the idle rate.
    power = load.power.copy()
    power[1::2][late] = 80.0
    load.sum = np.concatenate([[0.0], np.cumsum(power * np.diff(load.at))]) * 1e-9
    windows = counter(load, 40)
    spans = tuple(s[keep] for s in load.spans)
    live = feed(pj.LiveAttribution(), windows, spans, every(len(windows[0]), 50))
    found = live.result()
    assert len(found.rate) == 4
    np.testing.assert_allclose(found.rate, watts, rtol=0.02)
    assert found.baseline_rate == pytest.approx(80.0, rel=0.05)


def test_what_runs_at_once_is_told_apart():
    rng = np.random.default_rng(13)
    a = np.sort(rng.choice(3_000, 1200, replace=False)) * 10_000_000
    b = np.sort(rng.choice(3_000, 1200, replace=False)) * 10_000_000 + 4_000_000
    begin, cls = np.concatenate([a, b]), np.repeat([0, 1], 1200)
    order = np.argsort(begin, kind="stable")
    begin, cls = begin[order], cls[order]
    end = begin + 9_000_000
    edges = np.arange(0, 30_000_000_001, 25_000_000)
    watts = np.array([200.0, 120.0])  # above a baseline of 80 W; powers add up

    def joules(t):
        inside = np.clip(t[:, None] - begin, 0, end - begin)
        return 80e-9 * t + (inside * watts[cls]).sum(1) * 1e-9

    at = joules(edges)
    spans = begin, end, cls
    live = feed(
        pj.LiveAttribution(), (edges[:-1], edges[1:], np.diff(at)), spans, every(1200, 40)
    ).result()
    batch = pj.attribute(edges[:-1], edges[1:], np.diff(at), *spans)
    np.testing.assert_allclose(live.time_s, batch.time_s, rtol=1e-9)
    np.testing.assert_allclose(live.energy, batch.energy, rtol=0.02)
    assert live.noise["sharing"] < 0.2


N_CUT = 700
CUT_RNG = np.random.default_rng(17)
CUT_LOAD = Load(CUT_RNG, CUT_RNG.uniform(100, 600, 5), N_CUT * 0.02 + 1, mean_ns=15e6)
CUT_WINDOWS = tuple(
    w[:N_CUT] for w in counter(CUT_LOAD, N_CUT * 0.02 + 1, edge_std=5e4, rng=CUT_RNG)
)
CUT_WHOLE = feed(pj.LiveAttribution(), CUT_WINDOWS, CUT_LOAD.spans, edge_std_ns=5e4)


@given(st.lists(st.integers(1, N_CUT - 1), max_size=40, unique=True))
@settings(max_examples=15, deadline=None)
def test_how_it_is_cut_does_not_matter(cuts):
    live = feed(pj.LiveAttribution(), CUT_WINDOWS, CUT_LOAD.spans, cuts, edge_std_ns=5e4)
    one, other = CUT_WHOLE.result(), live.result()
    np.testing.assert_allclose(other.time_s, one.time_s, rtol=1e-12)
    assert other.total == pytest.approx(one.total, rel=1e-12)
    a, b = CUT_WHOLE._core.information(), live._core.information()
    np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9 * np.abs(a).max())
    np.testing.assert_allclose(other.energy, one.energy, rtol=1e-6)


def test_energies_follow_drift():
    """All rates swing together by 5 %; how often each class runs changes as well, in other ways."""
    rng = np.random.default_rng(19)
    n = 12_000
    begin = np.arange(n) * 5_000_000
    end = begin + rng.integers(2_000_000, 5_000_000, n)
    block = rng.random(n // 20) < 0.3 + 0.4 * (np.arange(n // 20) > n // 40)
    cls = np.repeat(block, 20).astype(int)
    factor = 1 + 0.05 * np.sin(2 * np.pi * begin / 17e9)
    joules = (end - begin) * 1e-9 * np.array([500.0, 300.0])[cls] * factor
    joules += (5e6 - (end - begin)) * 1e-9 * 80 * factor
    edges = np.arange(0, n + 1, 8) * 5_000_000
    value = np.add.reduceat(joules, np.arange(0, n, 8))
    found = feed(
        pj.LiveAttribution(), (edges[:-1], edges[1:], value), (begin, end, cls), every(1500, 25)
    ).result()
    truth = np.bincount(cls, (end - begin) * 1e-9 * np.array([500.0, 300.0])[cls] * factor)
    np.testing.assert_allclose(found.energy, truth, rtol=0.01)
    assert found.energy.sum() + found.baseline_energy == pytest.approx(value.sum(), rel=1e-9)


def test_ten_minutes_keep_memory_bounded():
    """What is kept at the end is what was kept after one minute."""
    rng = np.random.default_rng(23)
    live = pj.LiveAttribution(20)
    kept = []
    for second in range(600):
        t0 = second * 10**9
        edges = t0 + np.arange(11) * 10**8
        begin = t0 + np.arange(200) * 5_000_000
        # The last of each second reaches into the next.
        end = begin + 4_500_000
        end[-1] += 700_000
        live.update(
            edges[:-1], edges[1:], rng.uniform(20, 40, 10), begin, end, np.arange(200) % 20,
            edge_std_ns=1e5,
        )  # fmt: skip
        kept.append((live.rates().spans_kept, live.rates().waiting))
    assert max(kept[60:]) == max(kept[2:60])
    assert kept[-1][0] < 100 and kept[-1][1] <= 1
    found = live.result()
    assert found.time_s.sum() + found.idle_s > 599.8


def test_gaps_and_no_baseline():
    rng = np.random.default_rng(29)
    load = Load(rng, np.array([300.0, 500.0]), 20)
    begin, end, value = counter(load, 20)
    keep = np.arange(len(begin)) % 5 != 0
    windows = begin[keep], end[keep], value[keep]
    batch = pj.attribute(*windows, *load.spans)
    found = feed(pj.LiveAttribution(), windows, load.spans, every(keep.sum(), 30)).result()
    np.testing.assert_allclose(found.time_s, batch.time_s, rtol=1e-9)
    np.testing.assert_allclose(found.energy, batch.energy, rtol=0.02)
    alone = feed(pj.LiveAttribution(baseline=False), windows, load.spans).result()
    assert math.isnan(alone.baseline_rate)
    assert alone.baseline_energy == 0.0


def test_a_stalled_reading_is_set_aside():
    rng = np.random.default_rng(31)
    watts = np.array([300.0, 500.0, 150.0])
    load = Load(rng, watts, 40)
    begin, end, value = counter(load, 40)
    value = value + rng.normal(0, 0.02, len(value))
    for k in (900, 1300):  # 30 J went into the next reading
        value[k] -= 3.0
        value[k + 1] += 3.0
    live = feed(pj.LiveAttribution(), (begin, end, value), load.spans, every(len(begin), 50))
    found = live.result()
    assert 2 <= found.noise["outliers"] <= 8
    np.testing.assert_allclose(found.rate, watts, rtol=0.01)


BAD = [
    ({"begin_ns": [50], "end_ns": [60], "value": [1]}, r"begin_ns\[0\] is before that of the last"),
    ({"begin_ns": [300], "end_ns": [300], "value": [1]}, r"end_ns\[0\] is not after begin_ns\[0\]"),
    ({"begin_ns": [300], "end_ns": [310], "value": [math.nan]}, r"value\[0\]"),
    ({"begin_ns": [300], "end_ns": [310], "value": [1, 2]}, r"value has 2 elements"),
    (
        {"begin_ns": [300], "end_ns": [310], "value": [1], "contiguous": True},
        r"begin_ns\[0\] is not",
    ),
    ({"begin_ns": [300], "end_ns": [310], "value": [1], "edge_std_ns": [-1]}, r"edge_std_ns\[0\]"),
    ({"span_begin_ns": [50_000], "span_end_ns": [60], "span_class": [0]}, r"span_end_ns\[0\]"),
    (
        {"span_begin_ns": [900, 150], "span_end_ns": [950, 160], "span_class": [0, 0]},
        r"span_begin_ns\[1\] is 150, but readings up to 200 are folded",
    ),
    ({"span_begin_ns": [900], "span_end_ns": [950], "span_class": [-1]}, r"span_class\[0\]"),
    (
        {"span_begin_ns": [900], "span_end_ns": [950], "span_class": [9000]},
        r"span_class\[0\] is 9000",
    ),
]


@pytest.mark.parametrize(("wrong", "words"), BAD)
def test_what_is_wrong_is_named_and_not_taken(wrong, words):
    live = pj.LiveAttribution(1)
    live.update([100], [200], [5.0], [110], [190], [0], complete_until_ns=10_000)
    before = live.rates()
    with pytest.raises(ValueError, match=words):
        live.update(**wrong)
    after = live.rates()
    assert (after.readings, after.waiting, after.spans_kept) == (
        before.readings, before.waiting, before.spans_kept,
    )  # fmt: skip
    assert after.total == before.total


def test_of_nothing_there_is_no_result():
    live = pj.LiveAttribution(prior_rate=[100.0, math.nan])
    with pytest.raises(ValueError, match="no reading is folded yet"):
        live.result()
    assert live.rates().readings == 0
    live.update([0], [100], [1.0])
    assert live.rates().waiting == 1  # something may still run at its end
    live.update(complete_until_ns=10**9)
    with pytest.raises(ValueError, match="total is not a finite number"):
        live.result(math.inf)
    with pytest.raises(ValueError, match=r"prior_rate\[1\]"):
        pj.LiveAttribution(prior_rate=[100.0, -1.0])
    with pytest.raises(ValueError, match="n_classes"):
        pj.LiveAttribution(-1)


def fold(live, classes, prof, told_until_ns):
    """As in the README, word for word."""
    runs, rows = prof.kernels.runs, prof.readings
    rows = rows[(rows["channel"] == 0) & (rows["end_ns"] <= prof.end_ns)]
    if told_until_ns is None:
        rows = rows[rows["begin_ns"] >= prof.begin_ns]
    else:
        runs = runs[runs["begin_ns"] >= told_until_ns]
        rows = rows[rows["begin_ns"] + rows["end_ns"] > 2 * live.last_end_ns]
        rows["begin_ns"][:1] = live.last_end_ns  # the same tick, placed a little differently
    live.update(
        rows["begin_ns"],
        rows["end_ns"],
        rows["joules"],
        runs["begin_ns"],
        runs["end_ns"],
        [classes.setdefault(prof.kernels[int(i)].name, len(classes)) for i in runs["kernel"]],
        edge_std_ns=rows["edge_std_ns"],
        complete_until_ns=prof.end_ns,
    )


def test_profiles_in_a_row_as_in_the_readme():
    """The README's recipe: overlapping profiles, of each what is new in it."""
    rng = np.random.default_rng(37)
    n = 4000
    cls = np.repeat(rng.integers(0, 3, n // 10), 10)
    length = rng.uniform(4e-3, 9e-3, n)
    begin = 100 + np.cumsum(length + 1e-3) - length
    end = begin + length
    watts = np.array([400.0, 250.0, 600.0])
    at = np.concatenate([[0.0], np.stack([begin, end], 1).ravel(), [end[-1] + 100]])
    power = np.full(len(at) - 1, 80.0)
    power[1::2] = watts[cls]
    power[0] = 80.0
    joules = np.concatenate([[0.0], np.cumsum(power * np.diff(at))])
    stretches = [(t, t + 5.5) for t in np.arange(100.0, end[-1] - 6, 5.0)]

    live = pj.LiveAttribution()
    classes: dict = {}
    told = None
    for lo, hi in stretches:
        mine = (begin >= lo) & (begin < hi)
        rows = synthetic.kernels(
            *zip(begin[mine], end[mine], cls[mine] * 0, cls[mine], strict=True)
        )
        prof = profile_of(
            synthetic.trace(
                lo,
                hi,
                synthetic.ticks(lambda t: np.interp(t, at, joules), lo, hi, period=0.05),
                kernels=rows,
                kernel_classes=[synthetic.kernel_class(f"k{i}") for i in range(3)],
                tracks=[synthetic.track()],
            )
        )
        fold(live, classes, prof, told)
        told = prof.end_ns
    found = live.result()
    assert live.rates().readings == pytest.approx((stretches[-1][1] - 100) / 0.05, abs=3)
    parts = found.energy.sum() + found.baseline_energy
    assert parts == pytest.approx(found.total, rel=1e-9)  # no reading is missing, none is double
    for i, w in enumerate(watts):
        assert found.rate[classes[f"k{i}"]] == pytest.approx(w, rel=0.01)
