"""What each sensor shows, against closed forms; the table of sensors."""

import math

import numpy as np
import pytest

from picojoule.errors import UsageError
from picojoule.simulate import SENSORS, Sensor, Work, run

S = 1_000_000_000
IDLE, BUSY, STEP_S = 100.0, 400.0, 5.0


def span(begin_s, end_s, watts=BUSY):
    """One span; idle before and after."""
    return Work(
        begin_ns=np.array([round(begin_s * S)]),
        end_ns=np.array([round(end_s * S)]),
        span_class=np.zeros(1, dtype=np.int32),
        stream=np.zeros(1, dtype=np.int32),
        watts=np.array([watts]),
        idle_w=IDLE,
    )


def clean(name):
    sensor = SENSORS[name]
    window = 0.03 if math.isnan(sensor.window_s) else sensor.window_s
    return sensor.but(noise_w=0.0, quantum=1e-9, jitter_s=0.0, window_s=window, wrap_at=0)


@pytest.mark.parametrize("name", SENSORS)
def test_a_step_as_each_sensor_shows_it(name):
    sensor = clean(name)
    sim = run(span(STEP_S, 20.0), sensor, duration_s=10.0)
    shown = sim.ticks.count * 1e-9
    t = sim.ticks.tick_ns * 1e-9
    seen = np.maximum(0.0, t - STEP_S)  # seconds of the step so far
    inside = (t > 1.0) & (t < 10.0)
    if sensor.shape == "lag":
        known = IDLE + (BUSY - IDLE) * -np.expm1(-seen / sensor.tau_s)
    elif sensor.shape == "integral":
        known = IDLE * (t - t[0]) + (BUSY - IDLE) * seen
    else:
        share = np.minimum(seen / sensor.window_s, 1.0)
        known = IDLE + (BUSY - IDLE) * share
        if sensor.shape == "sampled":
            known = np.cumsum(known * sensor.period_s)
            known -= known[0]
    np.testing.assert_allclose(shown[inside], known[inside], rtol=1e-7, atol=1e-6)
    assert np.diff(t) == pytest.approx(np.full(len(t) - 1, sensor.period_s), rel=1e-9)


@pytest.mark.parametrize("name", SENSORS)
def test_readings_are_joules_of_their_windows(name):
    sensor = clean(name)
    sim = run("square", sensor, duration_s=6.0, period_s=0.37)
    assert len(sim.value) > 40
    truth = sim.energy(sim.begin_ns, sim.end_ns)
    if sensor.shape == "lag":  # it lags; so its joules are those of lagged power
        truth = sim.board.lagged(sensor.tau_s).energy(sim.begin_ns, sim.end_ns)
    # Times are told in whole nanoseconds.
    np.testing.assert_allclose(sim.value, truth, rtol=1e-4, atol=1e-6)


def test_the_boards_own_rise_comes_before_the_sensor():
    sensor = clean("nvml_energy").but(period_s=0.001)
    sim = run(span(1.0, 2.0), sensor, duration_s=3.0, rise_s=0.3e-3, slow_share=0.2, slow_s=0.15)
    t = sim.ticks.tick_ns
    shown = np.diff(sim.ticks.count) * 1e-9
    fast, slow = sim.load.power.lagged(0.3e-3), sim.load.power.lagged(0.15)
    known = 0.8 * fast.energy(t[:-1], t[1:]) + 0.2 * slow.energy(t[:-1], t[1:])
    np.testing.assert_allclose(shown, known, atol=1e-8)
    assert sim.lag_s == 0.3e-3


def test_a_duty_cycled_counter_is_biased_and_a_true_one_is_not():
    # A load in step with the sensor, busy for the quarter that the sensor looks at.
    spans = span(0.0, 0.025)
    begins = np.arange(100) * 100_000_000 + 75_000_000
    work = Work(
        begins, begins + 25_000_000, np.zeros(100, "i4"), np.zeros(100, "i4"),
        spans.watts, IDLE,
    )  # fmt: skip
    truth = 0.25 * BUSY + 0.75 * IDLE
    for name, watts in (("nvml_energy", truth), ("nvml_energy_sampled", BUSY)):
        sim = run(work, clean(name).but(window_s=0.025), duration_s=10.0, phase_s=0.1)
        t = sim.ticks.tick_ns
        of_work = (t > 0.15 * S) & (t < 9.95 * S)
        shown = sim.ticks.count[of_work] * 1e-9
        assert (shown[-1] - shown[0]) / (np.ptp(t[of_work]) * 1e-9) == pytest.approx(watts)


def test_noise_quantum_gain_and_offset():
    sensor = clean("gh100_instant").but(noise_w=0.5, gain=0.9, offset_w=7.0, quantum=0.01)
    sim = run("constant", sensor, duration_s=400.0, watts=300.0, board="typical")
    inside = sim.ticks.tick_ns > 0.1 * S
    watts = sim.ticks.count[inside & (sim.ticks.tick_ns < 400 * S)] * 0.01
    assert watts.mean() == pytest.approx(0.9 * 300 + 7, abs=4 * 0.5 / math.sqrt(4000))
    assert watts.std() == pytest.approx(0.5, rel=0.05)
    assert np.median(sim.value_std) == pytest.approx(0.5 * sensor.window_s, rel=1e-3)


def test_boards_are_ideal_typical_or_drawn():
    def gain(board, seed=0):
        return run("constant", "ga100", duration_s=1.0, board=board, seed=seed).sensor.gain

    assert gain("ideal") == 1.0
    assert gain("typical") == SENSORS["ga100"].gain
    drawn = np.array([gain("drawn", seed) for seed in range(200)])
    assert drawn.mean() == pytest.approx(0.954, abs=0.01)
    assert drawn.std() == pytest.approx(SENSORS["ga100"].gain_std, rel=0.2)


def test_ticks_jitter_miss_and_skew_as_told():
    sensor = clean("nvml_energy").but(jitter_s=2e-3, missed=0.2, skew_ppm=500.0)
    sim = run("constant", sensor, duration_s=600.0)
    off = sim.ticks.tick_ns - sim.ticks.due_ns
    assert off.std() == pytest.approx(2e6, rel=0.05)
    assert np.mean(np.diff(sim.ticks.index) > 1) == pytest.approx(0.2, abs=0.03)
    period = np.polyfit(sim.ticks.index, sim.ticks.tick_ns, 1)[0]
    assert period == pytest.approx(100e6 * (1 + 500e-6), rel=2e-6)
    # What a missed tick did not tell is in the next one.
    assert sim.value.sum() == pytest.approx(300.0 * (sim.end_ns[-1] - sim.begin_ns[0]) * 1e-9, 1e-4)


def test_latency_is_seen_and_not_meant():
    sim = run("constant", clean("nvml_energy").but(latency_s=0.01), duration_s=60.0)
    late = sim.ticks.seen_ns - sim.ticks.tick_ns
    assert late.min() >= 0 and late.max() <= 1e7
    assert late.mean() == pytest.approx(5e6, rel=0.1)


# The figures of the published measurements that the table stands for: period, window or lag.
TABLE = {
    "gh100_instant": (100, 22.6, 0.226),
    "gh100_average": (100, 1000, 1),
    "gh200_gpu": (100, 20, 0.2),
    "gh200_cpu": (100, 10, 0.1),
    "ga100": (101.2, 24.5, 0.242),
    "ga10x_ad10x_instant": (100, 100, 1),
    "ga10x_ad10x_average": (100, 1050, 1),
    "turing": (100, 100, 1),
    "volta_pascal": (20, 10.6, 0.53),
    "maxwell_m40": (31, 14.5, 0.468),
    "kepler_k40": (15, 41, 1),
    "kepler_k80": (100, 220, 1),
    "maxwell_gm": (100, 156, 1),
    "blackwell": (100, math.nan, math.nan),
    "mi300_energy": (1, 0, 1),
    "mi300_power": (1, math.nan, math.nan),
    "nvml_energy": (100, 0, 1),
    "nvml_energy_sampled": (100, 22.6, 0.226),
    "rapl": (1, 0, 1),
}


def test_the_table_has_every_sensor_and_a_source_for_each():
    assert set(SENSORS) == set(TABLE)
    for name, (period, width, duty) in TABLE.items():
        sensor = SENSORS[name]
        assert sensor.name == name and len(sensor.help) > 20
        assert sensor.period_s * 1e3 == pytest.approx(period)
        told = sensor.tau_s if sensor.shape == "lag" else sensor.window_s
        assert told * 1e3 == pytest.approx(width, nan_ok=True)
        assert sensor.duty == pytest.approx(duty, abs=0.001, nan_ok=True)


def test_an_unknown_window_must_be_given():
    with pytest.raises(UsageError, match=r"window of blackwell is not known.*but\(window_s"):
        run("steps", "blackwell", duration_s=1.0)
    assert len(run("steps", SENSORS["blackwell"].but(window_s=0.05), duration_s=1.0).value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": "round"}, "shape must be"),
        ({"period_s": 0.0}, "period_s must be above 0"),
        ({"window_s": 0.0}, "window_s must be above 0"),
        ({"shape": "lag"}, "tau_s must be above 0"),
        ({"quantum": 0.0}, "quantum must be above 0"),
        ({"missed": 1.0}, r"missed must be in \[0, 1\)"),
        ({"stalled": -0.1}, r"stalled must be in \[0, 1\)"),
    ],
)
def test_a_sensor_that_cannot_be(changes, message):
    with pytest.raises(UsageError, match=message):
        Sensor(**{"name": "mine", "window_s": 0.01, **changes})
