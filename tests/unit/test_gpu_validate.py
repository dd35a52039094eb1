"""What validation on a GPU makes of its measurements, on made-up ones with known answers."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"
pytestmark = pytest.mark.skipif(not GPU.is_dir(), reason="benchmarks are not part of this copy")
sys.path.insert(0, str(GPU))


@pytest.fixture(scope="module")
def analysis():
    import analysis

    return analysis


@pytest.fixture(scope="module")
def harness():
    import harness

    return harness


def test_the_period_of_a_sensor_with_jitter_and_missed_ticks(analysis):
    rng = np.random.default_rng(1)
    at = np.arange(200) * 101.3e6 + rng.normal(0, 3e4, 200)
    at = np.delete(at, [20, 21, 90])
    found = analysis.ticks(at - 2e5, at + 2e5)
    assert found["period_ns"] == pytest.approx(101.3e6, rel=1e-5)
    assert found["missed"] == 3 and 5e3 < found["jitter_ns"] < 1e5
    assert math.isnan(analysis.ticks([1, 2], [2, 3])["period_ns"])


@pytest.mark.parametrize(("swing", "integral"), [(0.0, True), (0.3, False)])
def test_a_counter_that_samples_is_told_from_one_that_integrates(analysis, swing, integral):
    rng = np.random.default_rng(2)
    phase = (np.arange(80) * 0.381966) % 1
    joules = 20 * (1 + swing * np.cos(2 * np.pi * (phase - 0.2))) + rng.normal(0, 0.2, 80)
    found = analysis.duty_cycle(phase, joules)
    assert (found["z"] < 3) == integral
    assert found["amplitude"] == pytest.approx(swing, abs=0.01)


def test_the_ratio_of_pairs_and_its_doubt(analysis):
    rng = np.random.default_rng(3)
    off = rng.normal(1, 0.01, 40)
    found = analysis.ratio_of_pairs(off * rng.normal(1.02, 0.005, 40), off)
    assert found["low"] < 1.02 < found["high"] and found["high"] - found["low"] < 0.01
    assert math.isnan(analysis.ratio_of_pairs([], [])["ratio"])


def test_delay_from_an_edge_to_the_next_change(analysis):
    edges = [1_000_000_000 * i for i in range(1, 10)]
    changes = [e + 130_000_000 for e in edges] + [5]
    assert analysis.delay(edges, changes) == 130e6


def test_two_lists_of_kernels(analysis):
    ours = {"a": (10, 1.0), "b": (5, 0.5), "only": (1, 0.1)}
    theirs = {"a": (10, 1.02), "b": (6, 0.5), "lost": (2, 0.48)}
    found = analysis.compare_kernels(ours, theirs)
    assert found["missing"] == ["lost"] and found["extra"] == ["only"]
    assert found["other_count"] == {"b": [5, 6]}
    assert found["share_of_time_matched"] == pytest.approx(1.02 / 2.0)
    assert found["median_time_difference"] == pytest.approx(1 - 1 / 1.02)


def test_time_is_dealt_by_wishes_and_never_more_than_there_is(harness):
    now = [0.0]
    deadline = harness.Deadline(100, clock=lambda: now[0])
    assert deadline.share(10, [10]) == 10
    assert deadline.share(100, [100]) == pytest.approx(45)
    now[0] = 99
    assert deadline.share(100, []) == pytest.approx(0.9)
    now[0] = 101
    assert deadline.share(100, []) == 0


def test_a_step_that_fails_or_hangs_is_a_finding(harness, tmp_path):
    entry = tmp_path / "entry.py"
    entry.write_text(
        "import os, sys\n"
        "name = sys.argv[sys.argv.index('--step') + 1]\n"
        "if name == 'crash': os.abort()\n"
        "if name == 'raise': raise RuntimeError('no such device')\n",
        encoding="utf-8",
    )
    results = {}
    for name in ("crash", "raise"):
        step = harness.Step(name, "", 1, lambda *a: {})
        results[name] = harness.run_step(step, 1, False, tmp_path, entry)
    assert "no such device" in results["raise"]["failed"]
    assert results["crash"]["failed"].startswith("ended with -6")
    assert json.loads((tmp_path / "crash.json").read_text())["failed"]
    assert "raise  FAILED" in harness.table(results)


def test_a_missing_package_is_no_failure(harness):
    assert harness.Step("a", "", 1, lambda *a: {}, ("json", "no_such_package")).lacks() == (
        "no_such_package"
    )
    assert harness.Step("a", "", 1, lambda *a: {}, ("json",)).lacks() == ""


def test_a_step_never_outlasts_the_whole(harness, tmp_path):
    entry = tmp_path / "entry.py"
    entry.write_text(
        "import pathlib, sys, time\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "(out / 'hang.json').write_text('{\"so far\": 1}')\n"
        "print('hanging', flush=True)\ntime.sleep(600)\n",
        encoding="utf-8",
    )
    step = harness.Step("hang", "", 100, lambda *a: {})
    found = harness.run_step(step, 100, False, tmp_path, entry, 5.0)
    assert found["failed"] == "did not end within 5 s: hanging"
    assert found["so far"] == 1  # what was written before stays


def test_nsight_computes_table():
    import steps_counters

    report = (
        "==PROF== Connected\n"
        '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"\n'
        '"0","fill","fadd","inst","10"\n'
        '"1","gemm","ffma","inst","1,000"\n'
        '"1","gemm","fadd","inst","500"\n'
        '"2","gemm","fadd","inst","n/a"\n'
    )
    assert steps_counters.largest(report, {"ffma": 2, "fadd": 1}) == 2500
    assert math.isnan(steps_counters.largest("==ERROR== no permission\n", {"ffma": 2}))


def test_our_overhead_as_a_part_of_torchs():
    import steps_overhead

    out = {"picojoule": {"ratio": 1.005}, "torch.profiler": {"ratio": 1.2}}
    assert steps_overhead.compared(out)["of_torch_profilers"] == pytest.approx(0.025)
    assert steps_overhead.compared({**out, "torch.profiler": {"failed": "refused"}}) == {}
    assert steps_overhead.compared({**out, "torch.profiler": {"ratio": 0.99}}) == {}
    words = steps_overhead.said(
        {"loading_s": 3.0, **out, "Zeus": {"failed": "no"}}
        | {
            "picojoule": {"ratio": 1.005, "low": 1.0, "high": 1.01},
            "torch.profiler": {"ratio": 1.2, "low": 1.1, "high": 1.3},
        }
    )
    assert words.startswith("picojoule +0.50% [+0.00%, +1.00%]; torch.profiler +20.00%")
    assert words.endswith("Zeus failed")


def test_the_wishes_of_all_steps_fit_the_time():
    done = subprocess.run(
        [sys.executable, str(GPU / "validate"), "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    wishes = [float(line.rpartition("(")[2].split()[0]) for line in done.stdout.splitlines()]
    assert len(wishes) >= 12 and sum(wishes) <= 8 * 60


def test_nan_is_null_in_the_files(harness, tmp_path):
    harness.write(tmp_path, "x", {"a": math.nan, "b": np.arange(2), "c": (1.5,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [0, 1], "c": [1.5]}


def test_without_a_gpu_it_says_so_and_ends():
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")
    done = subprocess.run(
        [sys.executable, str(GPU / "validate")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "no NVIDIA GPU here" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
