"""``simulate:...`` as text: what it stands for, and the truth of its waveform."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import picojoule as pj
from picojoule.cli.run import _names
from picojoule.errors import NoMeterError, UsageError
from picojoule.simulate import SENSORS, live

S = 1_000_000_000


def test_waveforms_have_closed_forms():
    square = live("simulate:rapl,workload=square,low_w=100,high_w=300,period_s=2,duty=0.25")
    assert square.energy(0, 2 * S) == pytest.approx(300)
    assert square.energy(0.25 * S, 0.75 * S) == pytest.approx(75 + 25)
    assert square.power([0, 0.6 * S, 2 * S]).tolist() == [300, 100, 300]
    steps = live("simulate:rapl,watts=100/200/400,step_s=0.5")
    assert steps.energy(0, 1.5 * S) == pytest.approx(350)
    assert steps.energy(-0.5 * S, 0) == pytest.approx(200)
    assert live("simulate:rapl,workload=constant,watts=250").energy(5, 5 + S) == pytest.approx(250)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.0, 900.0), min_size=1, max_size=6),
    st.floats(1e-3, 3.0),
    st.integers(0, 10**15),
    st.integers(1, 10**10),
)
def test_energy_is_the_integral_of_power(watts, step_s, begin, length):
    meter = live(f"simulate:rapl,watts={'/'.join(map(repr, watts))},step_s={step_s!r}")
    turn = int(meter.length_ns.sum())
    cuts = [begin, begin + length]
    edges = np.concatenate([[0], np.cumsum(meter.length_ns)])
    first = begin - begin % turn
    # Level by level over at most a few turns, else whole turns are left out on both sides.
    whole, rest = divmod(length, turn)
    cuts = np.unique(
        np.clip([first + k * turn + e for k in (0, 1, 2) for e in edges], begin, begin + rest)
    )
    parts = meter.power(cuts[:-1]) * np.diff(cuts) if len(cuts) > 1 else np.zeros(1)
    known = whole * float(np.sum(meter.watts * meter.length_ns)) + parts.sum()
    assert meter.energy(begin, begin + length) == pytest.approx(known * 1e-9, rel=1e-9, abs=1e-7)


def test_the_sensor_is_ideal_unless_its_board_is_typical():
    assert live("simulate:ga100").sensor.gain == 1.0
    assert live("simulate:ga100,board=typical").sensor.gain == SENSORS["ga100"].gain
    changed = live("simulate:rapl,noise_w=2,wrap_at=1000,domain=cpu:1,seed=4,phase_s=0.01")
    assert changed.sensor.noise_w == 2.0 and changed.sensor.wrap_at == 1000
    assert (changed.domain, changed.seed, changed.phase_s) == ("cpu:1", 4, 0.01)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("simulate:", "needs a sensor"),
        ("simulate:nothing", "no sensor 'nothing'; there are: gh100"),
        ("simulate:rapl,workload=saw", "no waveform 'saw'; there are: constant, square, steps"),
        ("simulate:rapl,high_w=3", "there is no 'high_w' here; there are: workload"),
        ("simulate:rapl,watts", "expected NAME=VALUE"),
        ("simulate:rapl,seed=1,seed=2", "expected NAME=VALUE once each"),
        ("simulate:rapl,watts=a", "watts must be a number, got 'a'"),
        ("simulate:rapl,watts=-1", "watts must not be negative"),
        ("simulate:rapl,step_s=0", "times above 0"),
        ("simulate:rapl,step_s=nan", "step_s must be a number"),
        ("simulate:rapl,workload=square,duty=1", "duty must be between"),
        ("simulate:rapl,seed=0.5", "seed must be a whole number"),
        ("simulate:rapl,domain=", "domain must be a name"),
        ("simulate:rapl,period_s=0", "period_s must be above 0"),
        ("simulate:blackwell", "window of blackwell is not known"),
        ("simulate:ga100,board=drawn", "board must be ideal or typical"),
    ],
)
def test_a_source_that_cannot_be_is_refused_before_anything_runs(source, message):
    with pytest.raises(UsageError, match=message), pj.profile(sources=[source]):
        raise AssertionError


def test_the_native_half_takes_what_is_written_for_every_sensor():
    for name, sensor in SENSORS.items():
        window = ",window_s=0.03" if np.isnan(sensor.window_s) else ""
        source = f"simulate:{name}{window},workload=constant,watts=200"
        try:
            with pj.profile(sources=source) as prof:
                pass
        except NoMeterError as error:
            pytest.fail(f"{name}: {error}")
        (channel,) = prof.result.channels
        assert channel.provenance == "simulated" and channel.meter == "simulate"
        assert channel.quantity == ("energy" if sensor.counter else "power")
        assert channel.device == f"simulated {name}"


def test_commas_of_a_simulated_source_are_its_own_on_the_command_line():
    assert _names("nvml, simulate:rapl,workload=steps,watts=1/2,rapl") == [
        "nvml", "simulate:rapl,workload=steps,watts=1/2", "rapl",
    ]  # fmt: skip
    two = _names("simulate:rapl,seed=1,simulate:ga100,seed=2")
    assert two == ["simulate:rapl,seed=1", "simulate:ga100,seed=2"]
