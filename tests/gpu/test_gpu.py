"""On a real NVIDIA GPU: kernels, regions, joules, graphs. Skipped where there is none."""

from __future__ import annotations

import math
import time

import pytest

import picojoule as pj

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
]


@pytest.fixture
def a():
    x = torch.randn(2048, 2048, device="cuda", dtype=torch.bfloat16)
    x @ x  # libraries load at the first call
    torch.cuda.synchronize()
    return x


def settle():
    torch.cuda.synchronize()
    time.sleep(0.01)


def launches(prof, region):
    """Runs of the kernels of one region, copies left out."""
    return sum(k.calls for k in prof.kernels if k.region == region and k.kind == "kernel")


def test_every_launch_is_there_with_its_region(a):
    with pj.profile() as prof:
        with pj.region("one"):
            for _ in range(100):
                a.add_(1)
        with pj.region("two"):
            for _ in range(50):
                a.mul_(1)
        settle()
    assert launches(prof, ("one",)) == 100 and launches(prof, ("two",)) == 50
    assert prof.overhead["kernels_unmatched"] == 0 and prof.overhead["kernels_dropped"] == 0


def test_backward_belongs_to_the_region_that_waits_for_it(a):
    w = torch.randn(2048, 2048, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    with pj.profile() as prof:
        for i in range(3):
            with pj.region(f"step{i}"):
                with pj.region("forward"):
                    loss = (a @ w).sum()
                with pj.region("backward"):
                    loss.backward()
                    torch.cuda.synchronize()
        settle()
    counts = [launches(prof, (f"step{i}", "backward")) for i in range(3)]
    assert min(counts) > 0 and counts[1] == counts[2]
    assert launches(prof, ()) == 0


def test_kernels_of_a_graph_are_those_of_its_capture(a):
    out = torch.empty_like(a)
    graph = torch.cuda.CUDAGraph()
    with pj.profile() as prof:
        a.add_(0)
        settle()
        with torch.cuda.graph(graph), pj.region("captured"):
            torch.mul(a, 2, out=out)
        with pj.region("replay"):
            for _ in range(20):
                graph.replay()
        settle()
    replayed = [k for k in prof.kernels if k.captured]
    assert sum(k.calls for k in replayed) == 20
    assert {k.region for k in replayed} == {("replay", "<captured>", "captured")}


def test_joules_are_measured_and_add_up(a):
    with pj.profile() as prof:
        end = time.monotonic() + 3
        with pj.region("work"):
            while time.monotonic() < end:
                for _ in range(20):
                    a @ a
                torch.cuda.synchronize()
    gpu = prof.energy["gpu:0"]
    assert gpu.provenance == "measured" and gpu.joules > 50
    (device,) = (d for d in prof.kernels.devices if d.domain == "gpu:0")
    assert device.busy.joules + device.idle.joules == pytest.approx(gpu.joules, rel=1e-6)
    assert device.busy_s > 2


def test_copies_have_their_bytes(a):
    host = torch.zeros(1 << 20, dtype=torch.uint8, pin_memory=True)
    with pj.profile() as prof:
        for _ in range(10):
            host.cuda(non_blocking=True)
        settle()
    copied = sum(k.bytes for k in prof.kernels if k.name == "memcpy HtoD")
    assert copied == 10 * (1 << 20)


def test_counted_once_multiplied_by_launches(a):
    with pj.profile() as prof:
        for i in range(20):
            with pj.region("gemm"):
                if i == 2:
                    with pj.count_flops():
                        a @ a
                else:
                    a @ a
        settle()
    assert prof.flops.model == 20 * 2 * 2048**3
    assert prof.flops.by_type.keys() == {"tensor-bf16"}


def test_a_second_profile_sees_as_much_as_the_first(a):
    seen = []
    for _ in range(2):
        with pj.profile() as prof:
            for _ in range(30):
                a.add_(1)
            settle()
        seen.append(prof.kernels.calls)
    assert seen[0] == seen[1] == 30


def test_leaving_does_not_wait_for_the_device(a):
    with pj.profile() as prof:
        for _ in range(200):
            a @ a
        begin = time.perf_counter()
    left_s = time.perf_counter() - begin
    assert not torch.cuda.current_stream().query()  # it still works
    torch.cuda.synchronize()
    assert left_s < 0.05 and not math.isnan(prof.energy_j)
