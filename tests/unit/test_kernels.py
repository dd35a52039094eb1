"""Kernels: the joules of a device fall to what ran on it, and add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import synthetic as syn
from hypothesis import given, settings
from hypothesis import strategies as st

import picojoule as pj
from picojoule import _core, _trace
from picojoule._build import build
from picojoule.kernels import short_name


def made(kernels, begin=100.0, end=102.0, wave=syn.constant, paths=((0, "step"),), **more):
    more.setdefault("kernel_classes", [syn.kernel_class("a"), syn.kernel_class("b")])
    more.setdefault("tracks", [syn.track(stream=7), syn.track(stream=13)])
    rows = syn.ticks(wave, begin, end)
    return syn.trace(begin, end, rows, paths=list(paths), kernels=kernels, **more)


def test_energy_follows_time_at_constant_power():
    profile = build(made(syn.kernels((100.2, 100.7, 1, 0), (101.0, 101.1, 1, 1))))
    a, b = profile.kernels
    assert (a.name, b.name) == ("a", "b")
    assert a.energy_j == pytest.approx(150, rel=1e-3) and b.energy_j == pytest.approx(30, rel=1e-3)
    assert a.time_s == pytest.approx(0.5) and a.calls == 1 and a.region == ("step",)
    assert a.watts == pytest.approx(300, rel=1e-3)
    assert a.energy.provenance == "modelled" and "solved" in a.energy.basis
    (device,) = profile.kernels.devices
    assert device.busy_s == pytest.approx(0.6) and device.idle_s == pytest.approx(1.4)
    whole = device.busy.joules + device.idle.joules
    assert whole == pytest.approx(profile.energy["gpu:0"].joules, rel=1e-12)


def test_what_runs_at_once_shares():
    profile = build(made(syn.kernels((100.2, 101.2, 1, 0, 0), (100.7, 101.7, 1, 1, 1))))
    a, b = sorted(profile.kernels, key=lambda k: k.name)
    assert a.energy_j == pytest.approx(150 + 75, rel=1e-3)
    assert b.energy_j == pytest.approx(75 + 150, rel=1e-3)
    assert profile.kernels.devices[0].busy_s == pytest.approx(1.5)


def test_power_that_moves_is_followed_at_the_ticks():
    wave = lambda t: 100 * np.minimum(t, 101.013) + 500 * np.maximum(0, t - 101.013)  # noqa: E731
    profile = build(
        made(syn.kernels((100.113, 100.913, 1, 0), (101.113, 101.913, 1, 1)), wave=wave)
    )
    b, a = profile.kernels
    # Idle power moved as well, which one rate for it cannot follow: the interval has it.
    assert a.watts == pytest.approx(100, rel=0.03)
    assert b.watts == pytest.approx(500, rel=0.01)
    for kernel, joules in ((a, 80), (b, 400)):
        low, high = kernel.energy.interval()
        assert low <= joules <= high


def test_only_what_lies_in_the_profile_counts():
    profile = build(made(syn.kernels((99.5, 100.5, 1, 0), (101.8, 103.0, 1, 1))))
    joules = {k.name: k.energy_j for k in profile.kernels}
    assert joules["a"] == pytest.approx(150, rel=1e-3)
    assert joules["b"] == pytest.approx(60, rel=1e-3)
    # Watts are of the time whose joules they are; the kernel's own time is all of it.
    assert [k.watts for k in profile.kernels] == pytest.approx([300, 300], rel=1e-3)
    assert {k.name: k.time_s for k in profile.kernels} == pytest.approx({"a": 1.0, "b": 1.2})
    assert profile.kernels.by("kernel")[0].watts == pytest.approx(300, rel=1e-3)


def test_sums_alone_share_the_busy_time():
    cells = np.zeros(2, dtype=_core.kernel_cell_dtype())
    cells["kernel_class"] = [0, 1]
    cells["path"] = 1
    cells["count"] = [10, 5]
    cells["time_ns"] = [1_000_000_000, 500_000_000]
    profile = build(made(None, kernel_cells=cells))
    a, b = profile.kernels
    assert a.energy_j == pytest.approx(2 * b.energy_j)
    (device,) = profile.kernels.devices
    assert device.spread == "sums" and device.idle_s == pytest.approx(0.5)
    assert a.energy_j + b.energy_j + device.idle.joules == pytest.approx(profile.energy_j)
    assert "not kept one by one" in a.energy.basis


def test_without_a_meter_energy_is_unknown_not_zero():
    profile = build(made(syn.kernels((100.2, 100.7, 1, 0)), tracks=[syn.track("gpu:3")]))
    (a,) = profile.kernels
    assert math.isnan(a.energy_j) and a.time_s == pytest.approx(0.5)


def test_copies_have_bytes_and_no_flops():
    classes = [syn.kernel_class("memcpy HtoD", "memcpy", (0, 0, 0), (0, 0, 0), 4096)]
    profile = build(
        made(
            syn.kernels((100.2, 100.3, 1, 0), (100.4, 100.5, 1, 0)),
            kernel_classes=classes,
            tracks=[syn.track()],
        )
    )
    (copy,) = profile.kernels
    assert copy.bytes == 8192 and copy.flops == 0
    assert math.isnan(profile.kernels.coverage)


def test_profile_without_kernels_has_an_empty_table():
    profile = build(made(None))
    assert len(profile.kernels) == 0 and profile.kernels.energy_j == 0
    assert math.isnan(profile.kernels.flops)


intervals = st.lists(
    st.tuples(
        st.integers(0, 2_000_000_000), st.integers(0, 700_000_000), st.integers(0, 1),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(intervals)
def test_parts_and_idle_add_up_to_the_meter(entries):
    rows = syn.kernels(
        *((100 + b * 1e-9, 100 + (b + n) * 1e-9, 1, what, where) for b, n, what, where in entries)
    )
    profile = build(made(rows, wave=syn.square))
    (device,) = profile.kernels.devices
    parts = sum(k.energy_j for k in profile.kernels) + device.idle.joules
    assert parts == pytest.approx(profile.energy["gpu:0"].joules, rel=1e-9)
    assert all(k.energy_j >= -1e-9 for k in profile.kernels)
    assert device.busy_s + device.idle_s == pytest.approx(2.0)
    assert sum(k.calls for k in profile.kernels) == len(entries)


def test_round_trip_through_the_file(tmp_path):
    rows = syn.kernels((100.2, 100.7, 1, 0, 1, 1), (101.0, 101.1, 0, 1, 0, 2))
    rows["c"][0] |= np.uint64(5 << 32)
    trace = made(rows)
    _trace.save(tmp_path / "run.pj", trace)
    again = _trace.read(tmp_path / "run.pj")
    assert np.array_equal(again.kernels, trace.kernels)
    assert np.array_equal(again.kernel_cells, trace.kernel_cells)
    assert again.kernel_classes == trace.kernel_classes and again.tracks == trace.tracks
    stored, live = pj.load(tmp_path / "run.pj").kernels, build(trace).kernels
    assert list(stored) == list(live)
    assert stored["a"][0].captured and stored["b"][0].unmatched and stored["b"][0].region == ()


def test_arrow_and_merging():
    table = build(
        made(
            syn.kernels((100.2, 100.3, 1, 0), (100.4, 100.5, 0, 0), (100.6, 100.7, 1, 1)),
            kernel_classes=[syn.kernel_class(f"void f<{t}>(int*)") for t in ("int", "float")],
        )
    ).kernels
    import nanoarrow as na

    names = na.Array(na.c_array(na.ArrayStream(table).read_all())).schema
    assert [f.name for f in names.fields][:4] == ["name", "kind", "region", "domain"]
    (merged,) = table.by("kernel")
    assert merged.name == "f" and merged.calls == 3 and merged.region == ()
    assert merged.energy_j == pytest.approx(table.energy_j)
    assert {k.name: k.calls for k in table.by("region")} == {"step": 2, "(no region)": 1}
    with pytest.raises(ValueError, match="not by 'colour'"):
        table.by("colour")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("vecadd", "vecadd"),
        ("void ns::gemm<float, 4>(float*, int)", "ns::gemm"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::F<(int)3>>(int, X)",
         "at::native::vectorized_elementwise_kernel"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32", "sm90_xmma_gemm_bf16bf16_bf16f32"),
        ("memcpy HtoD", "memcpy HtoD"),
        ("(anonymous namespace)::softmax_warp_forward<float>(float*)",
         "(anonymous namespace)::softmax_warp_forward"),
    ],
)  # fmt: skip
def test_short_names(name, short):
    assert short_name(name) == short


@pytest.mark.parametrize(
    ("kernels", "what"),
    [
        (syn.kernels((100.2, 100.1, 0, 0)), "ends before"),
        (syn.kernels((100.1, 100.2, 9, 0)), "unknown path"),
        (syn.kernels((100.1, 100.2, 0, 9)), "unknown class"),
        (syn.kernels((100.1, 100.2, 0, 0, 9)), "unknown track"),
    ],
)
def test_bad_records_are_refused(kernels, what):
    with pytest.raises(ValueError, match=what):
        made(kernels)


def test_gaps_belong_to_the_region_that_was_open():
    # "load" is open for 0.4 s of the 1.4 s in which nothing ran, "step" around all of it.
    rows = syn.kernels((100.2, 100.7, 1, 0), (101.0, 101.1, 1, 1))
    entries = []
    for i in range(1, 21):
        at = 100.0 + 0.1 * i
        entries.append((round(at * syn.S), 1, syn.S // 10, int(i == 1), int(i == 20)))
        if 12 < i <= 16:
            entries.append((round(at * syn.S), 2, syn.S // 10, int(i == 13), int(i == 16)))
    cells = syn.cells(*entries)
    profile = build(made(rows, paths=[(0, "step"), (1, "load")], cells_=cells))
    (device,) = profile.kernels.devices
    gaps = {gap.region: gap for gap in device.idle_in}
    assert gaps["step", "load"].time_s == pytest.approx(0.4, abs=1e-6)
    assert gaps["step",].time_s == pytest.approx(1.0, abs=1e-6)
    assert sum(gap.time_s for gap in device.idle_in) == pytest.approx(device.idle_s)
    assert sum(gap.energy_j for gap in device.idle_in) == pytest.approx(device.idle.joules)
    text = str(profile)
    assert "gpu:0 (idle)" in text and "step / load" in text


def alternating(begin, end, each=5e-6):
    """Two kernels that take turns, much faster than any edge of a reading is known."""
    count = round((end - begin) / each)
    return [(begin + i * each, begin + (i + 1) * each, 1, i % 2) for i in range(count)]


def test_kernels_that_always_run_together_are_told_as_one():
    runs = [run for t in (100.0, 101.0, 102.0, 103.0) for run in alternating(t, t + 0.5)]
    watts = np.where(np.arange(16) % 2 == 0, 50.0, 200.0)  # from 99.0 on; idle, then busy, ...
    edges = np.arange(99.0, 107.01, 0.5)
    joules = np.concatenate([[0.0], np.cumsum(0.5 * np.roll(watts, 1))])
    profile = build(made(syn.kernels(*runs), end=104.0, wave=lambda t: np.interp(t, edges, joules)))
    a, b = profile.kernels
    assert a.group == b.group == "gpu:0#1" and not a.identified and not b.identified
    (device,) = profile.kernels.devices
    together = device.groups["gpu:0#1"]
    assert together.joules == pytest.approx(a.energy_j + b.energy_j)
    assert together.joules == pytest.approx(400.0, rel=0.01)
    assert together.std_j < 0.1 * a.energy.std_j
    assert "only the sum of a, b is known" in " ".join(str(profile).split())


def test_what_a_kernel_is_expected_to_draw_helps_where_readings_do_not():
    trace = made(syn.kernels(*alternating(100.0, 102.0)))
    found = trace.analyse([400.0, 200.0], [0.05, 0.05])
    (device,) = found["devices"]
    watts = device["joules"] / device["inside_s"]
    assert watts == pytest.approx([400.0, 200.0], rel=0.06)
    whole = found["channels"][0]["joules"]
    assert whole == pytest.approx(600.0, rel=1e-4)
    assert sum(device["joules"]) + device["idle_j"] == pytest.approx(whole, rel=1e-9)
    with pytest.raises(ValueError, match="one for each kernel class"):
        trace.analyse([1.0], [1.0])
