"""Peaks of devices and positions below the roof."""

from __future__ import annotations

import math

import profiles
import pytest

from picojoule.flops.peaks import mfu, peaks_of, position
from picojoule.reports import html, table

H100 = "NVIDIA H100 80GB HBM3 (GPU-fa4e0000-0000-4000-8000-000000000000)"


@pytest.mark.parametrize(
    ("driver", "meant"),
    [
        (H100, "NVIDIA H100 SXM5 80GB"),
        ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe 80GB"),
        ("NVIDIA H100 NVL", "NVIDIA H100 NVL 94GB"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM4 80GB"),
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100 SXM4 40GB"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100 PCIe 80GB"),
        ("Tesla V100-SXM2-32GB", "NVIDIA Tesla V100 SXM2 32GB"),
        ("Tesla T4", "NVIDIA Tesla T4"),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX 6000 Ada"),
        ("Quadro RTX 6000", "NVIDIA Quadro RTX 6000"),
        ("NVIDIA H200", "NVIDIA H200 SXM 141GB"),
    ],
)
def test_the_names_that_drivers_give(driver, meant):
    found = peaks_of(driver)
    assert found is not None and found.device == meant


@pytest.mark.parametrize(
    "name",
    [
        *("", "NVIDIA", "synthetic board", "NVIDIA H100", "NVIDIA GeForce RTX 3080"),
        *("Tesla V100-PCIE-32GB", "NVIDIA H100 80GB HBM2e", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"),
        *("NVIDIA A100-SXM-64GB", "NVIDIA H200 NVL", "NVIDIA H20-3e", "NVIDIA GH200 144G HBM3e"),
        *("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090 D", "Tesla K80"),
        "NVIDIA GeForce RTX 4070 Ti",
    ],
)
def test_none_rather_than_a_likely_one(name):
    assert peaks_of(name) is None


def test_figures_are_dense_and_fp32_is_not_tf32():
    h100 = peaks_of(H100)
    assert h100.flops_per_s("fp32") == 66.91e12
    assert h100.flops_per_s("tensor-tf32") == 494.7e12
    assert h100.flops_per_s("tensor-bf16") == 989.4e12
    assert h100.bytes_per_s == 3350e9 and h100.tdp_w == 700
    assert math.isnan(h100.flops_per_s("bf16"))


def test_what_no_document_was_read_for_is_not_known():
    assert math.isnan(peaks_of("Tesla T4").flops_per_s("tensor-fp16"))
    assert not math.isnan(peaks_of("Tesla T4").flops_per_s("fp32"))


def test_positions_below_the_roof():
    h100 = peaks_of(H100)
    # 1000 FLOP a byte: above the knee at 989.4e12 / 3350e9 = 295.
    there = position(989.4e12 / 2, 989.4e9 / 2, 1.0, h100, "tensor-bf16")
    assert there.bound == "compute" and there.share == pytest.approx(0.5)
    below = position(3350e9, 3350e9, 2.0, h100, "tensor-bf16")
    assert below.bound == "memory" and below.attainable == 3350e9 and below.share == 0.5
    # Half the clock halves the peak of arithmetic, not that of memory.
    slow = position(989.4e12 / 2, 989.4e9 / 2, 1.0, h100, "tensor-bf16", clock_share=0.5)
    assert slow.share == pytest.approx(1.0)
    assert math.isnan(position(1.0, math.nan, 1.0, h100, "fp32").share)
    assert math.isnan(position(1.0, 1.0, 1.0, h100, "").share)
    assert mfu(989.4e12, 2.0, h100, "tensor-bf16") == pytest.approx(0.5)


def test_the_views_know_the_device():
    from dataclasses import replace

    from picojoule.flops.summary import summarise
    from picojoule.kernels import KernelTable

    plain = profiles.kernels()
    channel = replace(plain.channels[0], device=H100)
    rows = [replace(k, flops_type="tensor-bf16") if k.flops > 0 else k for k in plain.kernels]
    table_of = KernelTable(rows, plain.kernels.devices, plain.kernels.runs)
    found = replace(plain, channels=(channel,), kernels=table_of)
    found = replace(found, flops=summarise(found))
    # 1501 TFLOP in 10 s: 150.1 TFLOP/s.
    assert "MFU 15.2 %: of the dense tensor-bf16 peak of NVIDIA H100 SXM5 80GB" in " ".join(
        table.render(found, width=400, color=False).split()
    )
    page = html.render(found)
    assert "of attainable (memory bound, tensor-bf16)" in page
    assert "FLOPs and bytes" in page
