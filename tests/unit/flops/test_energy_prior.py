"""What kernels are expected to draw by their work, and what the solver makes of it."""

from __future__ import annotations

import math

import pytest
import synthetic as syn

from picojoule._runs import profile_of
from picojoule.flops.cost import Cost
from picojoule.flops.energy_prior import ANY, PER_WORK, expected_watts, per_work
from picojoule.flops.work import KernelCost, Work, to_json
from picojoule.kernels import Kernel
from picojoule.results import UNKNOWN


def kernel(**changes):
    base = {
        "name": "k", "kind": "kernel", "region": (), "domain": "gpu:0", "stream": 7,
        "grid": (1, 1, 1), "block": (1, 1, 1), "calls": 1, "time_s": 1.0, "least_s": 1.0,
        "most_s": 1.0, "energy": UNKNOWN,
    }  # fmt: skip
    return Kernel(**{**base, **changes})


def test_boards_are_known_by_their_names():
    assert per_work("NVIDIA H100 80GB HBM3").arch == "hopper"
    assert per_work("NVIDIA A100-SXM4-40GB").arch == "ampere"
    assert per_work("AMD Instinct MI300X").arch == "cdna3"
    assert per_work("NVIDIA GeForce RTX 4090") is ANY


def test_watts_are_constant_and_work():
    # 4 TB in a second at 11.68 pJ a bit are 374 W, as the source of the figure says.
    copy = kernel(flops=0.0, bytes=4e12)
    watts, cv = expected_watts(copy, PER_WORK["hopper"], (80.0, 1.25))
    assert watts == pytest.approx(80 + 373.8, rel=1e-3)
    assert 0.2 < cv < 0.4
    # 1e14 FLOP at 0.52 pJ are 52 W.
    product = kernel(flops=1e14, flops_type="tensor-fp16", bytes=0.0)
    assert expected_watts(product, PER_WORK["hopper"], (80.0, 1.25))[0] == pytest.approx(132)


def test_unknown_work_lets_expect_nothing_and_half_known_little():
    assert math.isnan(expected_watts(kernel(), ANY)[0])
    assert math.isnan(expected_watts(kernel(flops=1e12, flops_type="int"), ANY)[0])
    half = expected_watts(kernel(bytes=2e12), ANY)
    both = expected_watts(kernel(bytes=2e12, flops=0.0), ANY)
    assert half[0] == both[0] and half[1] > both[1]


def test_counted_flops_come_before_those_of_the_mathematics():
    k = kernel(flops=1e13, executed_flops=3e13, flops_type="fp64", bytes=0.0)
    watts, _ = expected_watts(k, PER_WORK["hopper"], (0.0, 1.0))
    assert watts == pytest.approx(3e13 * 23.6e-12)


def test_kernels_that_readings_cannot_tell_apart_lean_on_their_work():
    each = 5e-6
    runs = [(100.0 + i * each, 100.0 + (i + 1) * each, 1, i % 2) for i in range(400_000)]
    ticks = syn.ticks(lambda t: 300 * t, 100.0, 102.0)
    trace = syn.trace(
        100.0, 102.0, ticks, paths=[(0, "step")], kernels=syn.kernels(*runs),
        kernel_classes=[syn.kernel_class("stream"), syn.kernel_class("small")],
        tracks=[syn.track(stream=7)], channels=[syn.channel(device="NVIDIA H100 80GB HBM3")],
    )  # fmt: skip
    plain = profile_of(trace)
    assert {k.group for k in plain.kernels} == {"gpu:0#1"}
    # One moves 4 TB/s while it runs (464 W with 90 W constant), the other nothing.
    trace.environment = {
        "work": to_json(
            Work(
                kernels=(
                    KernelCost("stream", Cost(0.0, 4e12 * each, "fp32", "user", "move")),
                    KernelCost("small", Cost(0.0, 0.0, "fp32", "user", "move")),
                )
            )
        )
    }
    told = profile_of(trace)
    stream, small = (next(k for k in told.kernels if k.name == n) for n in ("stream", "small"))
    assert stream.watts > 1.8 * small.watts
    assert stream.energy_j + small.energy_j == pytest.approx(told.energy["gpu:0"].joules, rel=1e-9)
    before = next(k for k in plain.kernels if k.name == "stream")
    assert stream.energy.std_j < before.energy.std_j
    assert stream.group == "gpu:0#1" and not stream.identified
    assert "FLOPs and bytes" in stream.energy.basis
