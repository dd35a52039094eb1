"""Imported timelines as traces: alone, and beside power readings of our own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import picojoule as pj
from picojoule import _core, _trace, importers
from picojoule._build import build
from picojoule.importers.timeline import GRAPH, KERNEL, SPAN, UNMATCHED, ImportedTimeline

S = 1_000_000_000
REAL = Path(__file__).resolve().parents[2] / "data" / "imported"


def kernel_class(name):
    return {
        "kind": "kernel", "name": name, "grid": (1, 1, 1), "block": (32, 1, 1),
        "static_shared": 0, "dynamic_shared": 0, "bytes": 0,
    }  # fmt: skip


def timeline(clock="monotonic", offset=None, shift=0):
    kernels = np.array(
        [
            (100.2 * S + shift, 100.7 * S + shift, 0, 0, 2, 0, 0),
            (101.0 * S + shift, 101.1 * S + shift, 1, 0, 0, 3, GRAPH | UNMATCHED),
        ],
        dtype=KERNEL,
    )
    spans = np.array(
        [
            (100.1 * S + shift, 100.9 * S + shift, 1, 1),
            (100.15 * S + shift, 100.3 * S + shift, 2, 1),
            (100.4 * S + shift, 100.4 * S + shift, 2, 1),
        ],
        dtype=SPAN,
    )
    return ImportedTimeline(
        kernels=kernels,
        classes=[kernel_class("gemm"), kernel_class("softmax")],
        tracks=[{"domain": "gpu:0", "device": "board", "context": 1, "stream": 7}],
        paths=[(0, ""), (0, "step"), (1, "forward")],
        spans=spans,
        clock=clock,
        offset_ns=offset,
        source="a test",
        notes=("one thing was guessed",),
    )


def power(begin=100.0, end=102.0, watts=300.0, regions=False, wall=0):
    at = np.arange(begin - 1.0, end + 0.2, 0.1)
    ticks = np.zeros(len(at), dtype=_core.record_dtype())
    ticks["kind"] = 1
    ticks["a"] = np.rint(at * S).astype("i8") + 50_000
    ticks["b"] = ticks["a"] - 100_000
    ticks["c"] = np.rint(watts * (at - at[0]) * 1000).astype("u8")
    cells = np.zeros(int(regions), dtype=_core.record_dtype())
    cells["kind"], cells["a"], cells["b"] = 2, int(101 * S), S
    cells["c"], cells["d"], cells["id"] = (1 << 32) | 1, 1, 1
    channel = {
        "meter": "nvml", "domain": "gpu:0", "field": "energy", "device": "board", "note": "",
        "quantity": "energy", "provenance": "measured", "in_total": True, "latched": True,
        "update_period_ns": 0, "window_ns": 0, "unit": 1e-3, "wrap_at": 0, "gain_std": 0.05,
    }  # fmt: skip
    trace = _core.Trace(
        name="run", begin_ns=round(begin * S), end_ns=round(end * S), begin_wall_ns=wall,
        channels=[channel], paths=[(0, ""), (0, "mine")] if regions else [(0, "")], ticks=ticks,
        cells=cells, spans=np.zeros(0, dtype=_core.record_dtype()), gaps=[], overhead={},
        warnings=[],
    )  # fmt: skip
    trace.environment = {"host": "synthetic"}
    return trace


def test_alone_it_has_times_and_no_joules():
    profile = build(importers.to_trace(timeline()))
    gemm, softmax = sorted(profile.kernels, key=lambda k: k.name)
    assert gemm.region == ("step", "forward") and gemm.time_s == pytest.approx(0.5)
    assert math.isnan(gemm.energy_j)
    assert softmax.region == () and softmax.unmatched and softmax.captured
    step, forward = profile.regions["step"], profile.regions["step/forward"]
    assert step.duration_s == pytest.approx(0.8) and step.calls == 1
    assert forward.duration_s == pytest.approx(0.15) and forward.calls == 2
    assert not step.concurrent and step.open_at_end == 0
    assert "one thing was guessed" in profile.warnings


def test_with_power_kernels_and_regions_get_joules():
    profile = build(importers.to_trace(timeline(), power()))
    joules = {k.name: k.energy_j for k in profile.kernels}
    assert joules["gemm"] == pytest.approx(150, rel=0.01)
    assert joules["softmax"] == pytest.approx(30, rel=0.01)
    assert profile.regions["step"].energy_j == pytest.approx(240, rel=0.02)
    assert profile.energy_j == pytest.approx(600, rel=0.01)


def test_regions_of_the_run_stay_and_imported_ones_name_kernels():
    profile = build(importers.to_trace(timeline(), power(regions=True)))
    assert [r.name for r in profile.regions] == ["mine"]
    assert {k.region for k in profile.kernels} == {("step", "forward"), ()}


@pytest.mark.parametrize(
    ("clock", "offset", "wall"),
    [("realtime", None, 100 * S + 5_000 * S), ("relative", -5_000 * S, 0)],
)
def test_clocks_meet(clock, offset, wall):
    found = importers.to_trace(timeline(clock, offset, shift=5_000 * S), power(wall=wall))
    assert found.kernels["a"].tolist() == [round(100.2 * S), round(101.0 * S)]


def test_times_of_no_known_origin_are_refused():
    with pytest.raises(pj.UsageError, match="no known origin"):
        importers.to_trace(timeline("relative"), power())


def test_another_run_is_refused():
    with pytest.raises(pj.UsageError, match="do not overlap"):
        importers.to_trace(timeline(shift=50 * S), power())


def test_sums_alone():
    sums = [
        {"path": 1, "class": 0, "track": None, "count": 4, "time_ns": 4e6, "flops": math.nan,
         "bytes": math.nan},
        {"path": 1, "class": None, "track": None, "count": 1, "time_ns": 0.0, "flops": 5.0,
         "bytes": math.nan},
    ]  # fmt: skip
    one = timeline()
    empty = ImportedTimeline(
        kernels=one.kernels[:0], classes=one.classes, tracks=[], paths=one.paths,
        spans=one.spans[:0], clock="relative", offset_ns=None, source="a test", cells=sums,
    )  # fmt: skip
    (kernel,) = build(importers.to_trace(empty)).kernels
    assert (kernel.calls, kernel.region) == (4, ("step",))
    assert kernel.mean_s == pytest.approx(1e-3)


@pytest.mark.parametrize("file", sorted(p.name for p in REAL.glob("*.*") if p.suffix != ".py"))
def test_real_files_become_runs(file, tmp_path, capsys):
    from picojoule.cli import main

    assert main(["import", str(REAL / file), "-o", str(tmp_path / "run.pj")]) == 0
    assert "run.pj" in capsys.readouterr().err
    profile = pj.load(tmp_path / "run.pj")
    assert len(profile.regions) > 0
    assert all(r.duration_s >= 0 and r.calls > 0 for r in profile.regions)
    assert _trace.read(tmp_path / "run.pj").channels == []
