"""Clocks, throttling and GPM beside energy, from a scripted NVML, by default."""

from __future__ import annotations

import pytest

SCRIPT = "wave=const;hi=300;sm_mhz=1980;throttled=74:0.25,269:0,270:0,271:0;gpm_values=5:70,10:40"

STATE = """
with pj.profile("state") as prof:
    time.sleep(0.55)
    configure("keep=1;sm_mhz=1410;celsius=71;throttled=74:0.25,269:0,270:0,271:0")
    time.sleep(0.55)
found = prof.counters
clock, tensor = found["gpu:0/sm_clock"], found["gpu:0/tensor_util"]
say(
    names=list(found), energies=list(prof.energy), counted=prof.result.counted,
    clocks=[clock.least, clock.most], clock_mean=clock.mean, known_s=clock.known_s,
    capped_s=found["gpu:0/throttled_power_cap_ns"].delta * 1e-9, duration_s=prof.duration_s,
    tensor=tensor.mean, tensor_known_s=tensor.known_s,
    celsius=[found["gpu:0/temperature"].least, found["gpu:0/temperature"].most],
    energy=compare(prof), text=str(prof), gaps=len(prof.result.gaps),
)
"""


def test_what_the_board_did_stands_beside_its_energy(nvml):
    said = nvml(STATE, SCRIPT)
    assert "gpu:0/clock_event_reasons" in said.names
    assert set(said.energies) >= {"gpu:0", "gpu:0/memory"}
    assert all("clock" not in d and "util" not in d for d in said.energies)
    assert said.energy["low"] <= said.energy["truth"] <= said.energy["high"]
    assert said.clocks == [1410e6, 1980e6]
    # The change is known to a tenth of a second or so, of 1.1 s.
    assert said.clock_mean == pytest.approx(1695e6, abs=0.2 * 570e6)
    assert said.known_s == pytest.approx(said.duration_s, rel=1e-6)
    assert said.capped_s == pytest.approx(0.25 * said.duration_s, rel=0.02)
    assert said.tensor == pytest.approx(0.7, rel=1e-5)
    assert 0.5 < said.tensor_known_s <= said.duration_s * 1.000001
    assert "clocks held: 1.41-1.98 GHz, power-capped 25" in said.text
    assert said.celsius == [40.0, 71.0]
    assert "temperature: 40-71 °C, memory 45 °C" in said.text
    assert said.gaps == 0


def test_an_older_board_tells_no_utilisation_and_says_why(nvml):
    code = """
    with pj.profile() as prof:
        time.sleep(0.2)
    say(names=list(prof.counters),
        findings=[f for f in prof.result.findings if f["meter"] == "nvml_state"])
    """
    said = nvml(code, "arch=8")
    assert "gpu:0/sm_clock" in said.names
    assert not any(n.endswith("_util") for n in said.names)
    assert [f["state"] for f in said.findings] == ["works", "absent"]
    assert "Hopper" in said.findings[1]["why"]


def test_a_recorded_run_has_them_too(nvml):
    code = """
    with pj.profile("run", output="run.pj") as prof:
        time.sleep(0.6)
    prof.result
    again = pj.load("run.pj")
    say(same=[
        name for name, c in again.counters.items()
        if c.delta == prof.counters[name].delta or c.mean == prof.counters[name].mean
        or c.quantity == "flags"
    ], names=list(prof.counters))
    """
    said = nvml(code, SCRIPT)
    assert len(said.names) > 8
    assert said.same == said.names
