"""Energies and their intervals against exact truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import synthetic as syn
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule._build import build

S = syn.S


def measure(wave, begin, length, **sensor):
    t = syn.trace(begin, begin + length, syn.ticks(wave, begin, begin + length, **sensor))
    return build(t), float(wave(begin + length) - wave(begin))


@pytest.mark.parametrize("period", [0.02, 0.1])
@pytest.mark.parametrize("length", [0.25, 1.0, 5.0])
def test_constant_power_is_exact_to_the_tick_times(period, length):
    profile, truth = measure(syn.constant, 100.003, length, period=period, bracket=1e-4)
    estimate = profile.energy["gpu:0"]
    assert estimate.joules == pytest.approx(truth, abs=300 * 1e-4)
    assert estimate.std_j < 300 * 1e-4
    assert estimate.provenance == "measured"
    assert estimate.resolved


# The bars of the accuracy benchmark, on synthetic sensors: (tick, length, median relative error).
BARS = [
    (0.02, 0.2, 0.01),
    (0.02, 1.0, 0.003),
    (0.02, 5.0, 0.001),
    (0.1, 1.0, 0.03),
    (0.1, 5.0, 0.006),
]


@pytest.mark.parametrize(("period", "length", "bar"), BARS)
@pytest.mark.parametrize("wave", [syn.square, syn.constant])
def test_median_error_and_coverage(wave, period, length, bar):
    rng = np.random.default_rng(round(1000 * period + length))
    errors, covered = [], 0
    windows = 200
    for _ in range(windows):
        begin = rng.uniform(100, 200)
        profile, truth = measure(
            wave, begin, length, period=period, phase=rng.uniform(0, period), jitter=5e-5,
            bracket=1.2e-4, rng=rng, lookback=rng.uniform(0, 2),
        )  # fmt: skip
        low, high = profile.total.interval(0.95)
        errors.append(abs(profile.energy_j / truth - 1))
        covered += low <= truth <= high
    assert np.median(errors) <= bar
    assert covered / windows >= 0.90  # 93 % within the noise of 200 windows
    if wave is syn.constant:
        assert covered < windows  # intervals that always cover are too wide to be of use


def test_interval_grows_with_what_the_tick_hides():
    """A wave faster than the ticks may do anything inside one; constant power may not."""
    square, _ = measure(syn.square, 100.03, 1.0, period=0.1)
    steady, _ = measure(syn.constant, 100.03, 1.0, period=0.1)
    assert square.total.std_j > 100 * steady.total.std_j


def test_shorter_than_a_tick_says_so():
    profile, truth = measure(syn.constant, 100.03, 0.004, period=0.1)
    estimate = profile.total
    assert not estimate.resolved
    assert estimate.joules > 0
    assert estimate.provenance == "modelled"  # a share by time is no measurement
    low, high = estimate.interval()
    assert low <= truth <= high
    assert high - low > estimate.joules
    assert "shorter than the meter can see" in estimate.basis


def test_no_ticks_is_unknown_not_zero():
    profile = build(syn.trace(100, 101, np.zeros(0, dtype=syn._core.record_dtype())))
    assert math.isnan(profile.energy_j)
    assert math.isnan(profile.total.interval()[0])


def test_no_channels_is_unknown_and_says_so():
    t = syn.trace(100, 101, np.zeros(0, dtype=syn._core.record_dtype()), channels=[])
    profile = build(t)
    assert math.isnan(profile.energy_j)
    assert any("no meter worked" in w for w in profile.warnings)


def test_first_held_value_is_placed_one_period_before_the_next_tick():
    begin, length = 100.03, 1.0
    rows = syn.ticks(syn.square, begin, begin + length, lookback=0.0)
    first = rows[0].copy()
    # The sampler woke up 30 ms after the tick and only saw that the value was there.
    rows["flags"][0] = 1
    rows["a"][0] = first["a"] + 20_000_000
    rows["b"][0] = first["a"] + 19_900_000
    profile = build(syn.trace(begin, begin + length, rows))
    truth = float(syn.square(begin + length) - syn.square(begin))
    reference, _ = measure(syn.square, begin, length, lookback=0.0)
    assert profile.energy_j == pytest.approx(reference.energy_j, rel=1e-3)
    low, high = profile.total.interval()
    assert low <= truth <= high


def test_missed_ticks_leave_the_sum_right():
    rows = syn.ticks(syn.square, 100.0, 105.0)
    keep = np.ones(len(rows), dtype=bool)
    keep[[15, 16, 30]] = False
    profile = build(syn.trace(100.0, 105.0, rows[keep]))
    truth = float(syn.square(105.0) - syn.square(100.0))
    assert profile.energy_j == pytest.approx(truth, rel=0.01)


@pytest.mark.parametrize("missed", [1, 2])
def test_a_tick_missed_just_before_the_first_look(missed):
    # The first value seen is older than a period, which nobody saw: two or three periods' joules
    # fall between it and the first change.
    rows = syn.ticks(syn.constant, 100.0, 103.0, lookback=0.4)
    first = int(np.argmax(rows["a"] > 100.0 * syn.S))
    seen = rows[first - 1 - missed].copy()
    seen["flags"] = 1
    seen["a"], seen["b"] = round(99.99999 * syn.S), round(99.99995 * syn.S)
    kept = np.concatenate([[seen], rows[first:]])
    profile = build(syn.trace(100.0, 103.0, kept))
    low, high = profile.total.interval(0.95)
    assert low <= 900 <= high
    assert profile.energy_j == pytest.approx(900, rel=2e-3)


def test_a_reset_is_a_hole_not_a_negative():
    rows = syn.ticks(syn.constant, 100.0, 103.0)
    rows["flags"][20] = 4
    lost = rows["c"][20] - rows["c"][19]
    rows["c"][20:] -= lost  # the increment over a reset is unknown
    profile = build(syn.trace(100.0, 103.0, rows))
    assert any("reset" in w for w in profile.warnings)
    assert profile.energy_j == pytest.approx(300 * 2.9, rel=0.01)  # of the rest
    assert np.isnan(profile.power[0].watts).any()


def test_a_late_bracket_is_carried_by_the_clock():
    """A sampler held up knows little about that one tick; the sensor's clock knows more."""
    rows = syn.ticks(syn.constant, 100.0, 103.0)
    rows["a"][15] += 60_000_000
    rows["b"][15] -= 30_000_000
    profile = build(syn.trace(100.0, 103.0, rows))
    r = profile.readings
    widths = np.diff(r["end_ns"]) * 1e-9
    assert np.all(np.abs(widths - 0.1) < 0.005)


def test_gauges_are_integrated_and_called_modelled():
    gauge = syn.channel(field="power_instant", quantity="power", unit=1e-3, window_ns=25_000_000)
    rows = syn.ticks(syn.constant, 100.0, 103.0, value=lambda t: np.full(len(t), 300.0))
    profile = build(syn.trace(100.0, 103.0, rows, channels=[gauge]))
    assert profile.energy_j == pytest.approx(900, rel=1e-3)
    assert profile.total.provenance == "modelled"


def test_counter_is_preferred_to_gauge_and_domains_do_not_add_twice():
    channels = [
        syn.channel(),
        syn.channel(field="power_instant", quantity="power", in_total=False),
        syn.channel(domain="cpu:0/package", meter="rapl"),
        syn.channel(domain="cpu:0/core", meter="rapl", in_total=False),
        syn.channel(domain="cpu", meter="cpu_estimate", provenance="estimated", latched=False),
    ]
    rows = [
        syn.ticks(
            syn.constant,
            100,
            102,
            index=i,
            value=(lambda t: np.full(len(t), 300.0)) if i == 1 else None,
        )
        for i in range(5)
    ]
    rows = np.sort(np.concatenate(rows), order="a")
    profile = build(syn.trace(100, 102, rows, channels=channels))
    assert profile.counted == ("gpu:0", "cpu:0/package")
    assert profile.energy_j == pytest.approx(1200, rel=1e-3)
    assert set(profile.energy) == {"gpu:0", "cpu:0/package", "cpu:0/core", "cpu"}
    assert profile.total.provenance == "measured"


def test_estimates_alone_are_estimated_everywhere():
    c = syn.channel(
        domain="cpu", meter="cpu_estimate", provenance="estimated", latched=False, gain_std=0.5
    )
    rows = syn.ticks(syn.constant, 100, 102)
    t = syn.trace(
        100, 102, rows, channels=[c],
        cells_=syn.cells((101 * S, 1, S, 1, 0), (102 * S, 1, S, 0, 1)), paths=[(0, "r")],
    )  # fmt: skip
    profile = build(t)
    assert profile.total.provenance == "estimated"
    assert profile.regions["r"].total.provenance == "estimated"
    assert profile.power[0].provenance == "estimated"
    low, high = profile.total.interval()
    assert low < 600 / 2 < 600 * 2 < high  # the model's scale is in the interval


# ---- regions ----


def two_regions(split):
    """Region 1 from begin to ``split``, region 2 from there to the end, snapshots every 100 ms."""
    entries = []
    begin, end = 100.0, 104.0
    for i in range(1, 41):
        at = begin + 0.1 * i
        for path, (a, b) in {1: (begin, split), 2: (split, end)}.items():
            inside = max(0.0, min(at, b) - max(at - 0.1, a))
            if inside > 0:
                starts = at - 0.1 <= a < at
                stops = at - 0.1 < b <= at
                entries.append((round(at * S), path, round(inside * S), int(starts), int(stops)))
    return syn.cells(*entries)


def test_regions_longer_than_a_tick_get_their_own_energy():
    split = 101.73

    def wave(t):
        t = np.asarray(t)
        return 100 * t + 400 * np.maximum(0, t - split)

    rows = syn.ticks(wave, 100.0, 104.0)
    t = syn.trace(100.0, 104.0, rows, cells_=two_regions(split), paths=[(0, "one"), (0, "two")])
    profile = build(t)
    one, two = profile.regions["one"], profile.regions["two"]
    assert one.total.resolved
    assert two.total.resolved
    for region, truth in ((one, 173.0), (two, 2.27 * 500)):
        low, high = region.total.interval()
        assert low <= truth <= high
        assert region.energy_j == pytest.approx(truth, abs=8)
    assert one.energy_j + two.energy_j == pytest.approx(profile.energy_j, rel=1e-9)


def test_regions_that_share_every_tick_are_unresolved_and_wide():
    # Two regions alternate every few ms: half of each snapshot's time each, many calls.
    entries = []
    for i in range(1, 41):
        entries += [(round((100 + 0.1 * i) * S), path, S // 20, 10, 10) for path in (1, 2)]
    rows = syn.ticks(syn.constant, 100.0, 104.0)
    t = syn.trace(100.0, 104.0, rows, cells_=syn.cells(*entries), paths=[(0, "one"), (0, "two")])
    profile = build(t)
    assert sum(r.energy_j for r in profile.regions) == pytest.approx(profile.energy_j, rel=1e-9)
    for region in profile.regions:
        assert not region.total.resolved
        assert region.total.provenance == "modelled"
        assert "do not tell it apart" in region.total.basis
        assert region.energy_j == pytest.approx(600, rel=0.1)
        low, high = region.total.interval()
        assert low < 400
        assert high > 800  # half as much again either way is quite possible


def test_regions_much_shorter_than_a_tick_are_solved_where_their_shares_vary():
    """Five watts levels inside every tick; the readings see only sums, of which shares differ."""
    rng = np.random.default_rng(5)
    watts = {1: 450.0, 2: 150.0, 0: 60.0}
    steps, joules, entries, truth = [100.0], [0.0], [], {1: 0.0, 2: 0.0}
    for i in range(200):  # ticks of 100 ms, each with both regions, then neither
        first = 0.1 * rng.uniform(0.2, 0.6)
        second = 0.1 * rng.uniform(0.1, 0.35)
        at = 100.0 + 0.1 * (i + 1)
        for path, length in ((1, first), (2, second), (0, 0.1 - first - second)):
            steps.append(steps[-1] + length)
            joules.append(joules[-1] + watts[path] * length)
            if path:
                truth[path] += watts[path] * length
                entries.append((round(at * S), path, round(length * S), 1, 1))
    wave = lambda t: np.interp(t, steps, joules)  # noqa: E731
    rows = syn.ticks(wave, 100.0, 120.0, phase=0.0, bracket=2e-5)
    t = syn.trace(100.0, 120.0, rows, cells_=syn.cells(*entries), paths=[(0, "one"), (0, "two")])
    profile = build(t)
    for region, path in (("one", 1), ("two", 2)):
        total = profile.regions[region].total
        assert total.joules == pytest.approx(truth[path], rel=0.02)  # by time it is off by a third
        low, high = total.interval(0.999, absolute=False)
        assert low <= truth[path] <= high
        assert total.resolved and "solved" in total.basis and total.provenance == "modelled"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3.0))
def test_intervals_add_up(seed, length):
    """E[a, c) = E[a, b) + E[b, c), whatever the wave: nothing is lost at an inner edge."""
    rng = np.random.default_rng(seed)
    begin = rng.uniform(100, 110)
    middle = begin + rng.uniform(0.1, 0.9) * length
    end = begin + length
    rows = syn.ticks(syn.square, begin, end, rng=rng, period=0.05)

    def part(a, b):
        return build(syn.trace(a, b, rows)).energy_j

    whole = part(begin, end)
    assert part(begin, middle) + part(middle, end) == pytest.approx(whole, rel=1e-6, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 10.0))
def test_twice_the_power_is_twice_the_energy(factor):
    one, _ = measure(syn.square, 100.0, 1.0)
    many, _ = measure(lambda t: factor * syn.square(t), 100.0, 1.0)
    assert many.energy_j == pytest.approx(factor * one.energy_j, rel=1e-3)


def test_short_regions_after_a_silence_are_not_spread_over_it():
    """Snapshots at which nothing had changed leave a mark: what follows happened after them."""
    rows = syn.ticks(lambda t: 10 * t + 500 * np.maximum(0, t - 103.0), 100.0, 104.0)
    quiet = (103 * S, 0, 0, 0, 0)
    busy = (round(103.1 * S), 1, S // 50, 3, 3)
    t = syn.trace(100.0, 104.0, rows, cells_=syn.cells(quiet, busy), paths=[(0, "r")])
    region = build(t).regions["r"]
    low, high = region.total.interval()
    assert low <= 0.02 * 510 <= high
    assert region.energy_j == pytest.approx(0.02 * 510, rel=0.2)


def _waiting_and_computing(unknown=()):
    """One thread waits all the time, another computes in part of every tick.

    Of ticks in ``unknown`` the CPU time of the second is not known.
    """
    rng = np.random.default_rng(3)
    steps, joules, entries, flags = [100.0], [0.0], [], []
    active_s = 0.0
    for i in range(100):
        at = 100.0 + 0.1 * (i + 1)
        busy = 0.1 * rng.uniform(0.2, 0.8)
        active_s += busy
        for length, watts in ((busy, 50.0), (0.1 - busy, 10.0)):
            steps.append(steps[-1] + length)
            joules.append(joules[-1] + watts * length)
        first, last = int(i == 0), int(i == 99)
        entries.append((round(at * S), 1, S // 10, first, last))  # waits
        entries.append((round(at * S), 2, S // 10, first, last))  # computes for part of it
        flags += [1, 0 if i in unknown else 1 + round(254 * busy / 0.1)]
    cells = syn.cells(*entries)
    cells["flags"] = flags
    wave = lambda t: np.interp(t, steps, joules)  # noqa: E731
    rows = syn.ticks(wave, 100.0, 110.0, phase=0.0, bracket=2e-5)
    c = syn.channel(domain="cpu:0/package", meter="rapl")
    paths = [(0, "waits"), (0, "computes")]
    profile = build(syn.trace(100.0, 110.0, rows, channels=[c], cells_=cells, paths=paths))
    # Idle power is of both while they wait: 10 s of one, the rest of the other's time.
    idle_j = 10.0 * (10.0 - active_s)
    share = 10.0 / (10.0 + 10.0 - active_s)
    truth = {"waits": idle_j * share, "computes": 50.0 * active_s + idle_j * (1 - share)}
    return profile, truth


def test_cpu_joules_go_to_who_computed():
    profile, truth = _waiting_and_computing()
    waits, computes = profile.regions["waits"], profile.regions["computes"]
    assert waits.energy_j == pytest.approx(truth["waits"], rel=0.05)
    assert computes.energy_j == pytest.approx(truth["computes"], rel=0.02)
    assert waits.energy_j + computes.energy_j == pytest.approx(profile.energy_j, rel=1e-6)
    assert "not known" not in waits.total.basis + computes.total.basis


def test_cpu_time_that_is_not_known_for_a_while_is_neither_all_nor_nothing():
    profile, truth = _waiting_and_computing(unknown=range(20, 32))
    waits, computes = profile.regions["waits"], profile.regions["computes"]
    assert computes.energy_j == pytest.approx(truth["computes"], rel=0.05)
    assert "CPU time is not known for 12%" in computes.total.basis
    assert "not known" not in waits.total.basis
    assert waits.energy_j + computes.energy_j == pytest.approx(profile.energy_j, rel=1e-6)


def test_cpu_time_that_is_mostly_unknown_leaves_wall_time_and_says_so():
    profile, _ = _waiting_and_computing(unknown=range(30, 100))
    waits, computes = profile.regions["waits"], profile.regions["computes"]
    for region in (waits, computes):
        assert "by wall time, since how long threads computed is not known" in region.total.basis
    # Two that are open at once all the time: nothing but their sum is known.
    low, high = computes.total.interval(0.95)
    assert high - low > 0.5 * computes.energy_j
    assert waits.energy_j + computes.energy_j == pytest.approx(profile.energy_j, rel=1e-6)


def test_cpu_time_survives_the_file(tmp_path):
    import picojoule as pj
    from picojoule import _trace

    cells = syn.cells((101 * S, 1, S, 1, 0), (102 * S, 1, S, 0, 1))
    cells["flags"] = [128, 1]
    rows = syn.ticks(syn.constant, 100.0, 102.0)
    trace = syn.trace(100.0, 102.0, rows, cells_=cells, paths=[(0, "r")])
    _trace.save(tmp_path / "x.pj", trace)
    assert pj.load(tmp_path / "x.pj").regions["r"].duration_s == pytest.approx(2.0)
    assert list(_trace.read(tmp_path / "x.pj").cells["flags"]) == [128, 1]
