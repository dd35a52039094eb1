"""Channels that tell no joules: what becomes of them, and that energies do not know of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import synthetic as syn

import picojoule as pj
from picojoule import _core, _trace
from picojoule._build import build
from picojoule._doctor import Doctor, Meter
from picojoule.reports import chrome, html, json_, table

S = syn.S
HELD, RESET, AFTER_GAP = 1, 4, 8


def state(field, quantity, unit, **changes):
    return syn.channel(
        **{
            "meter": "nvml_state",
            "field": field,
            "quantity": quantity,
            "unit": unit,
            "in_total": False,
            "update_period_ns": 100_000_000,
            "gain_std": 0.0,
            **changes,
        }
    )


def rows(index, *looks):
    """Records from (old seen, new seen, raw[, flags]), in seconds."""
    out = np.zeros(len(looks), dtype=_core.record_dtype())
    for row, (old, new, raw, *flags) in zip(out, looks, strict=True):
        row["kind"] = 1
        row["b"], row["a"] = round(old * S), round(new * S)
        row["c"], row["id"] = raw, index
        row["flags"] = flags[0] if flags else 0
    return out


def one(channel, *looks, begin=10.0, end=11.0, gaps=()):
    """The only counter of a trace with this one channel."""
    trace = syn.trace(begin, end, rows(0, *looks), channels=[channel], gaps=gaps)
    (found,) = build(trace).counters.values()
    return found


def seconds(counter):
    return [round(t * 1e-9, 9) for t in counter.time_ns.tolist()]


CLOCK = state("sm_clock", "frequency", 1e6)
TENSOR = state("tensor_util", "ratio", 1e-6, window_ns=100_000_000)
MASK = state("clock_event_reasons", "flags", 1.0)
CAPPED = state("throttled_power_cap_ns", "count", 1.0, provenance="counted")


def together(begin=10.0, end=14.0):
    """A GPU's energy, and beside it every kind of series that is none, of the same domain."""
    energy = syn.ticks(syn.constant, begin, end)
    others = [
        rows(1, (9.9, 9.9, 1980, HELD), (11.9, 12.1, 1410)),
        rows(2, (9.9, 9.9, 500_000, HELD), (11.0, 11.1, 1_000_000)),
        rows(3, (9.9, 9.9, 0, HELD), (12.0, 12.0, 4)),
        rows(4, (9.9, 9.9, 0, HELD), (12.0, 14.1, 1_050_000_000)),
        rows(5, (9.9, 9.9, 10**9, HELD), (11.0, 11.1, 2 * 10**9)),
    ]
    # A gap that hides nothing: to break what holds across silence is tested on its own.
    held = [
        rows(i, *((t, t, raw, HELD) for t in times))
        for i, raw, times in (
            (1, 1410, (13.1, 14.1)),
            (2, 1_000_000, (12.1, 13.1, 14.1)),
            (3, 4, (13.0, 14.0)),
            (5, 2 * 10**9, (12.1, 13.1, 14.1)),
        )
    ]
    channels = [
        syn.channel(),
        CLOCK,
        TENSOR,
        MASK,
        CAPPED,
        state("pcie_tx", "rate", 1.0, window_ns=100_000_000),
    ]
    ticks = np.concatenate([energy, *others, *held])
    return syn.trace(begin, end, ticks[np.argsort(ticks["a"], kind="stable")], channels=channels)


# ---- energy knows nothing of them ----


def test_energy_is_as_if_they_were_not_there():
    trace = together()
    alone = syn.trace(10.0, 14.0, trace.ticks[trace.ticks["id"] == 0])
    with_them, without = build(trace), build(alone)
    assert with_them.energy == without.energy
    assert with_them.total == without.total
    assert with_them.counted == ("gpu:0",)
    assert with_them.total.joules == pytest.approx(1200.0, rel=1e-3)
    assert (with_them.readings == without.readings).all()
    assert [p.domain for p in with_them.power] == ["gpu:0"]
    assert with_them.warnings == without.warnings


@pytest.mark.parametrize("quantity", ["ratio", "rate", "count", "frequency", "flags"])
def test_a_domain_that_has_only_such_channels_has_no_energy(quantity):
    channel = state("x", quantity, 1.0, in_total=True)  # even if its meter says nonsense
    looks = rows(0, (9.9, 9.9, 0, HELD), (10.4, 10.5, 700), (10.9, 11.0, 1500), (11.1, 11.2, 1600))
    found = build(syn.trace(10.0, 11.0, looks, channels=[channel]))
    assert dict(found.energy) == {}
    assert found.counted == ()
    assert math.isnan(found.total.joules)
    assert len(found.readings) == 0
    assert any("no meter worked" in w for w in found.warnings)
    assert list(found.counters) == ["gpu:0/x"]


def test_kernels_get_joules_from_energy_channels_only():
    parts = {
        "kernels": syn.kernels((10.5, 11.5, 0, 0)),
        "kernel_classes": [syn.kernel_class()],
        "tracks": [syn.track()],
    }
    trace = together()
    more = syn.trace(10.0, 14.0, trace.ticks, channels=trace.channels, **parts)
    devices = more.analyse()["devices"]
    assert [d["channel"] for d in devices] == [0]
    (kernel,) = build(more).kernels
    assert kernel.energy_j == pytest.approx(300.0, rel=0.05)


def test_an_unknown_quantity_is_refused():
    with pytest.raises(ValueError, match="charm"):
        syn.trace(10.0, 11.0, rows(0), channels=[state("x", "charm", 1.0)])


def test_they_survive_storing(tmp_path):
    stored = tmp_path / "run.pj"
    trace = together()
    _trace.save(stored, trace)
    again, before = pj.load(stored), build(trace)
    assert list(again.counters) == list(before.counters)
    for name, counter in again.counters.items():
        assert counter.quantity == before.counters[name].quantity
        assert (counter.time_ns == before.counters[name].time_ns).all()
        assert (counter.value == before.counters[name].value).all()
    assert again.energy == before.energy


def test_doctor_promises_nothing_for_them():
    said = {"domain": "gpu:0", "provenance": "measured", "quantity": "frequency", "device": "x"}
    found = Doctor((Meter("nvml_state", "", "yes", (), (said,)),), {})
    assert found.provenances == ()
    assert not found.measured


# ---- values ----


def test_a_clock_changes_in_the_middle_between_two_looks():
    c = one(CLOCK, (9.9, 9.9, 1980, HELD), (10.2, 10.4, 1410), (10.8, 10.9, 1980))
    assert c.name == "gpu:0/sm_clock"
    assert c.unit == "Hz"
    assert seconds(c) == [10.0, 10.3, 10.85]
    assert c.value.tolist() == [1980e6, 1410e6, 1980e6]
    assert c.mean == pytest.approx((0.3 * 1980 + 0.55 * 1410 + 0.15 * 1980) * 1e6)
    assert (c.least, c.most) == (1410e6, 1980e6)
    assert c.known_s == pytest.approx(1.0)
    assert math.isnan(c.delta)
    with pytest.raises(ValueError, match="read-only"):
        c.value[0] = 1


def test_a_mean_covers_the_time_since_the_look_before():
    # 0.2 until 10.5, then 0.6 in the next 0.1 s, 0.2 from there on.
    c = one(TENSOR, (9.9, 9.9, 200_000, HELD), (10.5, 10.6, 600_000), (10.6, 10.7, 200_000))
    assert c.unit == "1"
    assert seconds(c) == [10.0, 10.5, 10.6]
    assert c.value.tolist() == pytest.approx([0.2, 0.6, 0.2])
    assert c.mean == pytest.approx(0.24)


def test_before_the_first_mean_nothing_is_known():
    c = one(TENSOR, (10.3, 10.3, 400_000, HELD), (10.8, 10.9, 0))
    assert seconds(c) == [10.0, 10.2, 10.8]
    assert np.isnan(c.value[0])
    assert c.value[1:].tolist() == pytest.approx([0.4, 0.0])
    assert c.known_s == pytest.approx(0.8)
    assert c.mean == pytest.approx(0.3)


def test_no_look_at_all():
    for channel in (CLOCK, TENSOR, MASK, CAPPED):
        c = one(channel)
        assert np.isnan(c.value).all()
        assert c.known_s == 0.0
        assert math.isnan(c.mean)
        assert math.isnan(c.least)
        assert math.isnan(c.delta)


def test_flags_tell_a_share_of_time_and_no_mean():
    c = one(MASK, (9.9, 9.9, 0, HELD), (10.25, 10.25, 0x24), (10.5, 10.5, 0x20))
    assert c.value.tolist() == [0.0, 36.0, 32.0]
    assert c.share(0x4) == pytest.approx(0.25)
    assert c.share(0x20) == pytest.approx(0.75)
    assert c.share(0x40) == 0.0
    assert math.isnan(c.mean)
    assert math.isnan(c.most)
    with pytest.raises(ValueError, match="not a bit mask"):
        one(CLOCK).share(1)


def test_a_count_is_what_was_added_from_begin_to_end():
    # 0.3e9 between 10.4 and 10.5; the 0.1e9 of [10.9, 11.1] half belongs here.
    looks = [
        (9.8, 9.8, 5, HELD),
        (10.4, 10.5, 5 + 300_000_000),
        (10.9, 11.1, 5 + 400_000_000),
    ]
    c = one(CAPPED, *looks)
    assert c.unit == "ns"
    assert c.provenance == "counted"
    assert c.delta == pytest.approx(350_000_000)
    assert seconds(c) == [10.0, 10.4, 10.5, 10.9, 11.0]
    assert c.value.tolist() == pytest.approx([0.0, 0.0, 3e8, 3e8, 3.5e8])
    assert c.known_s == pytest.approx(1.0)
    assert math.isnan(c.mean)


def test_a_count_that_did_not_move_is_zero_not_unknown():
    c = one(CAPPED, (9.8, 9.8, 7, HELD), (10.8, 10.8, 7, HELD))
    assert c.delta == 0.0


@pytest.mark.parametrize(
    ("looks", "gaps"),
    [
        ([(10.1, 10.1, 5, HELD), (10.9, 11.1, 9)], ()),  # begun too late
        ([(9.8, 9.8, 5, HELD), (10.4, 10.5, 6, RESET), (10.9, 11.1, 9)], ()),
        (
            [(9.8, 9.8, 5, HELD), (11.2, 11.2, 9, HELD | AFTER_GAP)],
            [(0, round(10.5 * S), round(11.2 * S), "no")],
        ),
    ],
)
def test_a_count_that_cannot_be_known(looks, gaps):
    c = one(CAPPED, *looks, gaps=gaps)
    assert math.isnan(c.delta)
    assert c.known_s == 0.0


def test_a_reset_outside_does_not_matter():
    c = one(CAPPED, (9.5, 9.5, 5, HELD), (9.7, 9.8, 5, RESET), (10.4, 10.5, 9), (10.9, 11.1, 9))
    assert c.delta == pytest.approx(4.0)


def test_a_gap_is_unknown():
    looks = [(9.9, 9.9, 1980, HELD), (10.6, 10.6, 1410, HELD | AFTER_GAP)]
    c = one(CLOCK, *looks, gaps=[(0, round(10.2 * S), round(10.6 * S), "it was denied")])
    assert seconds(c) == [10.0, 10.2, 10.6]
    assert np.isnan(c.value[1])
    assert c.known_s == pytest.approx(0.6)
    open_ = one(CLOCK, looks[0], gaps=[(0, round(10.2 * S), 0, "it is gone")])
    assert open_.known_s == pytest.approx(0.2)


def test_a_value_is_not_stretched_over_time_in_which_nobody_looked():
    # The sampler slept from 8 to 12.9, and the profile from a journal that was cut at 13.
    looks = [(7.9, 8.0, 1980, HELD), (12.9, 12.9, 345, HELD), (13.0, 13.0, 345, HELD)]
    c = one(CLOCK, *looks, begin=7.9, end=20.0)
    assert seconds(c) == [7.9, 8.0, 12.9, 13.0]
    assert np.isnan(c.value).tolist() == [False, True, False, True]


@pytest.mark.parametrize("channel", [CLOCK, TENSOR, MASK])
def test_a_held_value_vouches_for_the_time_since_its_old_look(channel):
    # As a log leaves it that was full: what was noted every second is one record now.
    c = one(channel, (9.9, 9.9, 4, HELD), (9.9, 13.9, 4, HELD), (13.9, 14.0, 5), end=14.0)
    assert c.known_s == pytest.approx(4.0)
    assert c.value[0] == 4 * channel["unit"]


def test_a_profile_of_no_time():
    c = one(CLOCK, (9.9, 9.9, 1980, HELD), end=10.0)
    assert c.known_s == 0.0
    assert math.isnan(c.mean)


# ---- views ----


def test_table_and_json_tell_clocks_and_what_held_them():
    profile = build(together())
    text = table.render(profile, color=False, unicode=True, width=100)
    # 1.05 s of throttling between 12.0 and 14.1, of which 1 s lies before the end: a quarter.
    assert "clocks held: 1.41-1.98 GHz, power-capped 25.0 % of the time" in text
    # 0.5 until 11.0, then 1: (0.5 * 1 + 1 * 3) / 4
    assert "busy on average: tensor cores 87.5 %" in text
    told = json.loads(json_.render(profile))
    assert told["counters"]["gpu:0/tensor_util"]["mean"] == pytest.approx(0.875)
    assert told["counters"]["gpu:0/throttled_power_cap_ns"]["delta"] == pytest.approx(1e9)
    assert told["counters"]["gpu:0/sm_clock"]["value"] == [1980e6, 1410e6]
    assert told["counters"]["gpu:0/sm_clock"]["delta"] is None
    assert told["state"][0].startswith("clocks held: 1.41-1.98 GHz")
    assert "1.41-1.98 GHz" in html.render(profile)


def test_without_the_accumulated_time_the_mask_tells():
    channels = [CLOCK, MASK]
    looks = [rows(0, (9.9, 9.9, 1980, HELD)), rows(1, (9.9, 9.9, 4, HELD), (10.9, 10.9, 0))]
    profile = build(syn.trace(10.0, 11.0, np.concatenate(looks), channels=channels))
    text = table.render(profile, color=False, unicode=True, width=100)
    assert "clocks held: 1.98 GHz, power-capped 90.0 % of the time" in text


def test_nothing_known_nothing_said():
    profile = build(syn.trace(10.0, 11.0, syn.ticks(syn.constant, 10.0, 11.0)))
    assert dict(profile.counters) == {}
    text = table.render(profile, color=False, unicode=True, width=100)
    assert "clocks" not in text
    assert json.loads(json_.render(profile))["counters"] == {}


def test_chrome_gets_a_track_each():
    events = json.loads(chrome.render(build(together())))["traceEvents"]
    tracks = {}
    for event in events:
        if event["ph"] == "C":
            tracks.setdefault(event["name"], []).append((event["ts"], *event["args"].items()))
    assert tracks["sm_clock gpu:0 (Hz), measured"] == [
        (0.0, ("sm_clock", 1980e6)),
        (2e6, ("sm_clock", 1410e6)),
    ]
    assert [t for t, _ in tracks["tensor_util gpu:0 (1), measured"]] == [0.0, 1e6]
    assert "throttled_power_cap_ns gpu:0 (ns), counted" in tracks
    assert "pcie_tx gpu:0 (B/s), measured" in tracks
    assert "clock_event_reasons gpu:0 (mask), measured" in tracks
