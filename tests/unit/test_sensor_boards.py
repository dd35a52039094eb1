"""Sensors of real boards are what the literature says of them, or better known than that."""

import numpy as np
import pytest
from power_traces import load, phases

import picojoule as pj

MS = 1e-3
S = 10**9


def by_meter(trace, column, **more):
    return pj.identify_sensor(
        trace.poll_ns, trace.said_w[column], power_ns=trace.true_ns, power_w=trace.true_w, **more
    )


@pytest.fixture(scope="module")
def rtx3090():
    return load("rtx3090_square_50ms")


@pytest.fixture(scope="module")
def sensor_of_3090(rtx3090):
    return by_meter(rtx3090, "instant", device="NVIDIA GeForce RTX 3090")


@pytest.mark.parametrize("device", ["", "NVIDIA GeForce RTX 3090"])
def test_the_rtx_3090_sees_all_of_its_100_ms(rtx3090, sensor_of_3090, device):
    found = sensor_of_3090 if device else by_meter(rtx3090, "instant")
    assert found.shape == "boxcar" and found.shape_odds > 50
    assert found.period_s == pytest.approx(0.09996, abs=0.05 * MS)
    assert found.window_s == pytest.approx(0.100, abs=1 * MS)
    assert found.window_std_s < 1 * MS
    assert found.gain == pytest.approx(0.955, abs=0.01)
    assert found.noise_w < 0.7
    assert found.basis == "fitted" and found.tabled == ()


def test_its_average_is_one_of_a_second(rtx3090):
    found = by_meter(rtx3090, "average", device="NVIDIA GeForce RTX 3090", field="average")
    assert found.shape == "boxcar"
    assert found.window_s == pytest.approx(1.075, abs=0.030)


def test_the_contrast_of_two_50_ms_phases_through_a_100_ms_window(rtx3090):
    """The load's period, 99.6 ms, and the window hide nearly all: shares vary by 0.6 %."""
    # Gain and offset of the load's range: idle before and after it is on another line (0.5 %).
    loaded = (rtx3090.poll_ns > 0.9 * S) & (rtx3090.poll_ns < 9.9 * S)
    sensor_of_3090 = pj.identify_sensor(
        rtx3090.poll_ns[loaded], rtx3090.said_w["instant"][loaded], power_ns=rtx3090.true_ns,
        power_w=rtx3090.true_w, device="NVIDIA GeForce RTX 3090",
    )  # fmt: skip
    assert sensor_of_3090.noise_w < 0.4
    begin, end, cls = phases(rtx3090, 300.0)
    ticks = pj.find_ticks(
        rtx3090.poll_ns, rtx3090.said_w["instant"], period_s=sensor_of_3090.period_s
    )
    some = (ticks.time_ns > 1.2 * S) & (ticks.time_ns < 9.6 * S)
    windows = pj.sensor_windows(sensor_of_3090, *(a[some] for a in (ticks.time_ns, ticks.value)),
                                ticks.std_ns[some])  # fmt: skip
    found = pj.attribute(
        *windows[:3], begin, end, cls, n_classes=2, baseline=False, **windows.options
    )
    inside = (rtx3090.true_ns >= windows.begin_ns[0]) & (rtx3090.true_ns < windows.end_ns[-1])
    high = cls[np.searchsorted(begin, rtx3090.true_ns, "right") - 1] == 1
    truth = [rtx3090.true_w[inside & ~high].mean(), rtx3090.true_w[inside & high].mean()]
    assert 158 < truth[0] < 160 and 447 < truth[1] < 450
    np.testing.assert_allclose(found.rate, truth, rtol=0.005)
    assert found.rate[1] / found.rate[0] == pytest.approx(truth[1] / truth[0], rel=0.005)
    # That is better than what the edges of these ticks, polled every 7 ms, let us promise.
    assert 0.005 < found.rate_std[0] / found.rate[0] < 0.01
    # Each value as if it were the power at its tick: what it is worth without all this.
    at_tick = np.searchsorted(begin, ticks.time_ns[some], "right") - 1
    naive = [ticks.value[some][cls[at_tick] == c].mean() for c in (0, 1)]
    assert max(abs(naive[i] / truth[i] - 1) for i in (0, 1)) > 0.3


@pytest.fixture(scope="module")
def a100_square():
    return load("a100_square_52ms")


def by_load(trace, **more):
    off = trace.load_ns[1::2]
    on = trace.load_ns[0::2][: len(off)]  # one more time stands behind the last pause
    return pj.identify_sensor(
        trace.poll_ns,
        trace.said_w["instant"],
        span_begin_ns=on,
        span_end_ns=off,
        span_class=np.zeros(len(on), "i4"),
        **more,
    )


def test_the_a100_taken_for_a_boxcar_has_25_of_101_ms(a100_square):
    """By nothing but when the load ran: as published, from external meters."""
    found = by_load(a100_square, shape="boxcar")
    assert found.period_s == pytest.approx(0.1012, abs=0.2 * MS)
    assert found.window_s == pytest.approx(0.025, abs=2 * MS)
    assert found.noise_w > 4  # and that is not what it is


def test_the_a100_is_a_lag_of_half_of_that(a100_square):
    found = by_load(a100_square)
    assert found.shape == "lag" and found.shape_odds > 50
    assert 2 * found.tau_s == pytest.approx(0.025, abs=2 * MS)
    assert found.tau_std_s < 1 * MS
    assert found.noise_w < 1.0
    assert {"gain", "offset_w"} <= set(found.tabled)  # nobody knew the watts
    # Another recording, with a meter beside it, says the same.
    slow = by_meter(load("a100_steps_6s"), "instant", device="A100-PCIE-40GB")
    assert slow.shape == "lag" and slow.shape_odds > 3
    assert slow.tau_s == pytest.approx(found.tau_s, abs=2 * MS)
    assert slow.gain == pytest.approx(0.958, abs=0.003)
    assert slow.offset_w == pytest.approx(-2.0, abs=0.5)
    assert slow.noise_w < 0.3


@pytest.mark.parametrize("device", ["", "Tesla K40m"])
def test_the_k40m_is_a_lag_and_no_boxcar(device):
    trace = load("k40m_steps_6s")
    found = by_meter(trace, "draw", device=device)
    assert found.shape == "lag" and found.shape_odds > 100
    assert found.period_s == pytest.approx(0.0154, abs=0.1 * MS)
    assert found.gain == pytest.approx(1.02, abs=0.01)
    assert found.noise_w < 0.3
    # The tail after the load's end, by itself: what is left falls by the same factor each tick.
    ticks = pj.find_ticks(trace.poll_ns, trace.said_w["draw"], period_s=found.period_s)
    tail = (ticks.time_ns > 7.03 * S) & (ticks.time_ns < 7.17 * S)
    rest = np.log(ticks.value[tail] - 60.3)
    slope = np.polyfit(ticks.time_ns[tail] * 1e-9, rest, 1)[0]
    assert -1 / slope == pytest.approx(found.tau_s, abs=3 * MS)
    assert found.tau_s == pytest.approx(0.054, abs=2 * MS)
