"""Counts of ``picojoule count`` in profiles of the same program."""

from __future__ import annotations

import json
import math

import pytest
import synthetic as syn

import picojoule as pj
from picojoule import _trace
from picojoule._counts import FORMAT, load_counts
from picojoule.cli import main


def entry(name, flops, **more):
    known = {
        "name": name,
        "grid": [8, 1, 1],
        "block": [128, 1, 1],
        "dynamic_shared": 0,
        "flops": flops,
        "flops_total": sum(flops.values()),
        "flops_interval": {},
        "integer_ops": {},
        "uncounted": [],
        "read_bytes": 100.0,
        "write_bytes": 28.0,
        "cycles": 1000.0,
        "time_ns": 500.0,
        "launches": 3,
        "varies": False,
        "why_not": "",
    }
    return {**known, **more}


@pytest.fixture
def counts(tmp_path):
    path = tmp_path / "counts.json"
    document = {
        "format": FORMAT,
        "version": 1,
        "device": "NVIDIA H100 80GB HBM3",
        "date": "2026-11-23",
        "signatures": [
            entry("gemm", {"tensor-bf16": 4000.0, "fp32": 96.0}),
            entry("partly", {"fp32": 10.0}, flops_total=None, uncounted=["tensor-tf32"]),
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path):
    trace = syn.trace(
        100.0, 102.0, syn.ticks(syn.constant, 100.0, 102.0), paths=[(0, "step")],
        kernels=syn.kernels(
            (100.0, 100.1, 1, 0), (100.2, 100.3, 1, 0), (100.4, 100.5, 1, 1), (100.6, 100.7, 1, 2)
        ),
        kernel_classes=[syn.kernel_class(n) for n in ("gemm", "partly", "other")],
        tracks=[syn.track()],
    )  # fmt: skip
    _trace.save(tmp_path / "run.pj", trace)
    return tmp_path / "run.pj"


def test_counts_of_a_launch_times_the_launches(run, counts):
    plain = pj.load(run)
    assert math.isnan(plain.flops.executed)
    found = pj.load(run, counts=counts)
    kernels = {k.name: k for k in found.kernels}
    gemm = kernels["gemm"]
    assert gemm.executed_flops == 2 * 4096 and gemm.bytes == 2 * 128
    assert gemm.flops_type == "tensor-bf16" and gemm.flops_source == "counter"
    assert math.isnan(gemm.flops)  # what the mathematics needs nobody told
    # A part of the work would look like all of it.
    assert math.isnan(kernels["partly"].executed_flops)
    assert math.isnan(kernels["other"].executed_flops)
    assert found.flops.executed == 2 * 4096 and math.isnan(found.flops.model)
    assert found.flops.coverage_time == pytest.approx(0.5)


def test_another_shape_is_another_kernel(counts):
    assert load_counts(counts).find("gemm", (9, 1, 1), (128, 1, 1)) is None


def test_report_with_counts(run, counts, capsys):
    assert main(["report", str(run), "--counts", str(counts), "--width", "200"]) == 0
    assert "executed FLOPs: 8.19 kFLOP" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", '{"format": "picojoule-counts", "version": 99}'])
def test_another_file_is_refused_before_anything_runs(text, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text, encoding="utf-8")
    with pytest.raises(pj.TraceError):
        pj.profile(counts=wrong)
