"""``pj.identify_sensor``, ``pj.sensor_windows`` and ``pj.attribute_series`` against known truth."""

import math
from dataclasses import replace

import numpy as np
import pytest

import picojoule as pj
from picojoule import _core

S = 10**9
IDLE_W = 80.0


class Board:
    """Spans at random with known power, and what sensors say of it, exact but for their noise."""

    def __init__(self, rng, watts, seconds, mean_ms=30.0, idle=0.2):
        n = int(seconds * 1e3 / mean_ms / (1 + idle))
        self.watts = np.asarray(watts, float)
        self.cls = rng.integers(0, len(watts), n)
        length = rng.gamma(2.0, mean_ms / 2, n) * 1e6 + 2e6
        gap = rng.exponential(idle * mean_ms * 1e6, n)
        self.end = np.cumsum(length + gap)
        self.begin = self.end - length
        self.at = np.r_[0.0, np.stack([self.begin, self.end], 1).ravel()]
        power = np.stack([np.full(n, IDLE_W), self.watts[self.cls]], 1).ravel()
        self.power = np.r_[power, IDLE_W]
        self.sum = np.r_[0.0, np.cumsum(power * np.diff(self.at))] * 1e-9

    def joules(self, t):
        t = np.asarray(t, float)
        more = np.where(t > self.at[-1], (t - self.at[-1]) * IDLE_W * 1e-9, 0.0)
        return np.interp(t, self.at, self.sum) + more

    @property
    def spans(self):
        return {
            "span_begin_ns": np.rint(self.begin).astype("i8"),
            "span_end_ns": np.rint(self.end).astype("i8"),
            "span_class": self.cls,
        }

    def samples(self, step_ns=100_000):
        t = np.arange(0, int(self.end[-1]), step_ns)
        mean = np.diff(self.joules(np.r_[t - step_ns / 2, t[-1] + step_ns / 2])) / step_ns * 1e9
        return {"power_ns": t, "power_w": mean}

    def gauge(self, rng, period_ms=100.1, window_ms=25.0, delay_ms=2.0, gain=1.0, offset=0.0,
              noise=0.3):  # fmt: skip
        """Ticks and values of a boxcar."""
        first = (window_ms + delay_ms + 1) * 1e6
        ticks = np.arange(first, self.end[-1], period_ms * 1e6)
        to = ticks - delay_ms * 1e6
        mean = (self.joules(to) - self.joules(to - window_ms * 1e6)) / (window_ms * 1e-3)
        return ticks, gain * mean + offset + rng.normal(0, noise, len(ticks))


def polled(rng, ticks, values, every_ms=3.1):
    n = int(ticks[-1] / 1e6 / every_ms)
    polls = np.cumsum(rng.uniform(0.8, 1.2, n)) * every_ms * 1e6
    polls = np.rint(polls[(polls > ticks[0]) & (polls < ticks[-1])]).astype("i8")
    return polls, values[np.searchsorted(ticks, polls, "right") - 1]


def test_a_simulated_h100_by_a_meter_and_by_its_spans():
    rng = np.random.default_rng(1)
    board = Board(rng, [150.0, 400.0, 600.0], 30)
    polls, said = polled(rng, *board.gauge(rng, window_ms=23.5, gain=0.97, offset=-3.0))
    device = "NVIDIA H100 80GB HBM3"
    met = pj.identify_sensor(polls, said, **board.samples(), device=device)
    assert met.shape == "boxcar" and met.basis == "fitted" and met.tabled == ()
    for value, std, truth, floor in (
        (met.period_s, met.period_std_s, 0.1001, 2e-6),
        (met.window_s, met.window_std_s, 0.0235, 2e-4),
        (met.delay_s, met.delay_std_s, 0.002, 2e-4),
        (met.gain, met.gain_std, 0.97, 1e-3),
        (met.offset_w, met.offset_std_w, -3.0, 0.3),
        (met.noise_w, met.noise_std_w, 0.3, 0.1),
    ):
        assert abs(value - truth) < 4 * std + floor
        assert std < 20 * floor
    own = pj.identify_sensor(polls, said, **board.spans, device=device)
    assert own.shape == "boxcar"
    assert own.window_s == pytest.approx(0.0235, abs=5e-4)
    assert set(own.tabled) == {"gain", "offset_w"}
    table = pj.known_sensor(device)
    assert (own.gain, own.offset_w) == (table.gain, table.offset_w)


def test_where_readings_say_nothing_the_table_answers_or_nobody():
    polls = np.arange(100) * 7_000_000
    spans = {"span_begin_ns": [0], "span_end_ns": [S], "span_class": [0]}
    table = pj.identify_sensor(polls, np.full(100, 250.0), **spans, device="NVIDIA H100 PCIe")
    assert table.basis == "table" and table.ticks == 0
    assert table.window_s == pytest.approx(0.0226) and table.window_std_s == pytest.approx(0.001)
    assert "(table)" in table.describe() and "2312.02741" in table.describe()
    nobody = pj.identify_sensor(polls, np.full(100, 250.0), **spans)
    assert math.isnan(nobody.window_s) and nobody.window_std_s == math.inf
    assert "window: unknown" in nobody.describe()
    with pytest.raises(ValueError, match="model: window_s of this sensor is not known"):
        pj.sensor_windows(nobody, [1, 2], [1.0, 2.0])
    assert pj.known_sensor("abacus") is None
    assert math.isnan(pj.known_sensor("NVIDIA B200").window_s)


def test_every_row_of_the_table_can_be_asked_for():
    for row in _core.sensor_table():
        model = pj.known_sensor(row["family"], row["field"])
        assert model.shape == row["shape"] and model.basis == "table"
        assert model.source and model.describe()


def test_duty_cycled_windows_give_the_rates():
    rng = np.random.default_rng(5)
    board = Board(rng, [150.0, 420.0, 600.0], 60)
    ticks, values = board.gauge(rng)
    polls, said = polled(rng, ticks, values)
    model = pj.identify_sensor(polls, said, **board.spans, device="NVIDIA H100 80GB HBM3")
    found = pj.find_ticks(polls, said, period_s=model.period_s)
    true = ticks[np.searchsorted(ticks, found.time_ns + 2e6, "right") - 1]
    assert np.sqrt(np.mean((found.time_ns - true) ** 2)) < 0.3e6
    w = pj.sensor_windows(model, found.time_ns, found.value, found.std_ns)
    assert w.shifted and w.lag_s == 0
    np.testing.assert_allclose((w.end_ns - w.begin_ns) * 1e-9, model.window_s, rtol=1e-6)
    rates = pj.attribute(*w[:3], *board.spans.values(), **w.options)
    np.testing.assert_allclose(rates.rate, board.watts, rtol=0.01)
    assert rates.baseline_rate == pytest.approx(IDLE_W, rel=0.02)
    z = (rates.rate - board.watts) / rates.rate_std
    assert np.abs(z).max() < 4.5
    # Edges that err independently are what a counter has: their errors, taken for that, would have
    # to be smaller than they are.
    blunt = pj.attribute(*w[:3], *board.spans.values(), **{**w.options, "shifted": False},
                         contiguous=False)  # fmt: skip
    assert blunt.noise["edge_std_ns"] < 0.8 * rates.noise["edge_std_ns"]


def test_a_lag_gives_the_rates_too():
    rng = np.random.default_rng(6)
    board = Board(rng, [150.0, 420.0, 600.0], 40, mean_ms=20.0)
    tau, step = 13e6, 2e4
    t = np.arange(0, board.end[-1], step)
    power = np.diff(board.joules(np.r_[t, t[-1] + step])) / step * 1e9
    state = np.empty(len(t) + 1)
    state[0] = IDLE_W
    fade = math.exp(-step / tau)
    for i, p in enumerate(power):
        state[i + 1] = p + (state[i] - p) * fade
    ticks = np.arange(50e6, board.end[-1], 101.2e6)
    values = np.interp(ticks, np.r_[t, t[-1] + step], state) + rng.normal(0, 0.3, len(ticks))
    polls, said = polled(rng, ticks, values, every_ms=1.3)
    model = pj.identify_sensor(polls, said, **board.spans, device="NVIDIA A100-SXM4-40GB")
    assert model.shape == "lag"
    assert model.tau_s == pytest.approx(0.013, abs=6e-4)
    found = pj.find_ticks(polls, said, period_s=model.period_s)
    w = pj.sensor_windows(model, found.time_ns, found.value, found.std_ns)
    assert w.lag_s == model.tau_s
    rates = pj.attribute(*w[:3], *board.spans.values(), **w.options)
    np.testing.assert_allclose(rates.rate, board.watts, rtol=0.03)


def test_counter_windows_are_differences_less_the_delay():
    model = pj.known_sensor("NVIDIA H100 PCIe", "energy")
    model = replace(model, delay_s=0.002, period_s=0.1)
    w = pj.sensor_windows(model, [10**8, 2 * 10**8, 4 * 10**8], [math.nan, 30.0, 70.0], 1e5)
    assert w.begin_ns.tolist() == [98_000_000, 198_000_000]
    assert w.end_ns.tolist() == [198_000_000, 398_000_000]
    assert w.value.tolist() == [30.0, 70.0] and not w.shifted


@pytest.fixture(scope="module")
def scene():
    """A coarse counter and a gauge with a gain of its own, of one board."""
    rng = np.random.default_rng(11)
    board = Board(rng, [150.0, 300.0, 420.0, 600.0], 40, mean_ms=8.0)
    edges = np.arange(20e6, board.end[-1], 100e6)
    true = edges + rng.normal(0, 3e5, len(edges))
    joules = np.diff(board.joules(true))
    at = np.rint(edges).astype("i8")
    n = len(joules)
    counter = pj.SensorWindows(at[:-1], at[1:], joules, np.full(n, 3e5), np.zeros(n), 0.0, False)
    ticks, watts = board.gauge(rng, gain=0.94, offset=6.0, noise=0.3)
    end = np.rint(ticks - 2e6).astype("i8")
    begin = end - 25_000_000
    m = len(watts)
    gauge = pj.SensorWindows(begin, end, watts * 0.025, np.full(m, 2e4), np.full(m, 0.3 * 0.025),
                             0.0, True)  # fmt: skip
    return board, counter, gauge


def test_series_of_one_board_know_more_together(scene):
    board, counter, gauge = scene
    spans = board.spans.values()
    alone = pj.attribute(*counter[:3], *spans, **counter.options)
    both = pj.attribute_series({"instant": gauge, "energy": counter}, *spans)
    assert both.reference == "energy" and both.gain["energy"] == (1.0, 0.0)
    gain, std = both.gain["instant"]
    assert gain == pytest.approx(0.94, abs=max(4 * std, 0.005))
    assert both.offset_w["instant"][0] == pytest.approx(6.0, abs=3.0)
    error = np.abs(both.board.rate / board.watts - 1)
    assert error.max() < 0.02
    assert error.mean() < 0.7 * np.abs(alone.rate / board.watts - 1).mean()
    assert (both.board.rate_std < alone.rate_std).all()
    assert np.abs((both.board.rate - board.watts) / both.board.rate_std).max() < 4.5
    # All adds up to the counter, whatever the gauge says of scale.
    whole = both.board.energy.sum() + both.board.baseline_energy
    assert whole == pytest.approx(counter.value.sum(), rel=1e-9)
    assert both.memory is None


def test_memory_is_attributed_to_the_same_spans_by_itself(scene):
    board, counter, gauge = scene
    memory = gauge._replace(value=0.3 * gauge.value)
    found = pj.attribute_series({"energy": counter}, *board.spans.values(), memory=memory)
    only = pj.attribute(*memory[:3], *board.spans.values(), **memory.options)
    np.testing.assert_array_equal(found.memory.energy, only.energy)
    alone = pj.attribute_series({"energy": counter}, *board.spans.values())
    np.testing.assert_array_equal(found.board.energy, alone.board.energy)


def test_one_series_is_what_attribute_says(scene):
    board, counter, _ = scene
    one = pj.attribute_series({"energy": counter}, *board.spans.values()).board
    plain = pj.attribute(*counter[:3], *board.spans.values(), **counter.options)
    np.testing.assert_allclose(one.rate, plain.rate, rtol=1e-3)


SPANS = {"span_begin_ns": [0], "span_end_ns": [5], "span_class": [0]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"poll_ns": [], "value": []}, "poll_ns is empty"),
        ({"poll_ns": [0, 3, 2]}, r"poll_ns\[2\] is before poll_ns\[1\]: 2 < 3"),
        ({"value": [1.0, math.nan, 2.0]}, r"value\[1\] is not a finite number"),
        ({"value": [1.0]}, "value has 1 elements, poll_ns has 3"),
        ({"quantity": "heat"}, "quantity must be"),
        ({"field": "best"}, "field must be"),
        ({"field": "energy"}, "field 'energy' is no series of quantity 'power'"),
        ({"shape": "integral"}, "shape must be one of"),
        ({"span_class": None}, "must be given together"),
        ({"span_end_ns": [-1]}, r"span_end_ns\[0\] is before span_begin_ns\[0\]"),
        ({"power_ns": [0], "power_w": [1.0]}, "one reference, not two or none"),
        (dict.fromkeys(SPANS), "one reference, not two or none"),
        ({**dict.fromkeys(SPANS), "power_ns": [0, 1]}, "power_ns and power_w must be given"),
        ({**dict.fromkeys(SPANS), "power_ns": [0, 1], "power_w": [1.0, math.inf]},
         r"power_w\[1\] is not a finite"),
        ({name: [] for name in SPANS}, "no spans"),
    ],
)  # fmt: skip
def test_what_cannot_be_identified_is_named(arguments, message):
    given = {"poll_ns": [0, 1, 2], "value": [1.0, 1.0, 2.0], **SPANS, **arguments}
    with pytest.raises(ValueError, match=message):
        pj.identify_sensor(given.pop("poll_ns"), given.pop("value"), **given)


def test_windows_series_and_ticks_name_what_is_wrong(scene):
    board, counter, gauge = scene
    spans = board.spans.values()
    model = pj.known_sensor("NVIDIA H100 PCIe")
    with pytest.raises(ValueError, match=r"tick_ns\[1\] is not after tick_ns\[0\]"):
        pj.sensor_windows(model, [5, 5], [1.0, 2.0])
    with pytest.raises(ValueError, match="tick_std_ns must be finite"):
        pj.sensor_windows(model, [5, 6], [1.0, 2.0], -1.0)
    with pytest.raises(ValueError, match="period_s must be"):
        pj.find_ticks([0, 1], [1.0, 2.0], period_s=0.0)
    with pytest.raises(ValueError, match="series is empty"):
        pj.attribute_series({}, *spans)
    with pytest.raises(ValueError, match="same lag_s"):
        pj.attribute_series({"a": counter, "b": gauge._replace(lag_s=0.01)}, *spans)
    with pytest.raises(ValueError, match=r"series\[2\] is 0 again"):
        pj.attribute([0, 0, 0], [1, 1, 1], [1.0] * 3, [0], [1], [0], series=[0, 1, 0])
    with pytest.raises(ValueError, match=r"in order of their begin: begin_ns\[1\]"):
        pj.attribute([5, 0], [6, 1], [1.0] * 2, [0], [1], [0])
    pj.attribute([5, 0], [6, 1], [1.0] * 2, [0], [1], [0], series=[0, 1])
