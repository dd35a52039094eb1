"""``pj.count_flops``: one step looked at, a whole run counted."""

from __future__ import annotations

import math
import sys
import threading
import types

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import picojoule as pj  # noqa: E402


@pytest.fixture
def step():
    w = torch.randn(32, 16, requires_grad=True)

    def go(x):
        w.grad = None
        with pj.region("step"):
            with pj.region("forward"):
                y = (x @ w).sum()
            with pj.region("backward"):
                y.backward()

    return go


def test_one_step_looked_at_counts_the_whole_run(step, tmp_path):
    x = torch.randn(64, 32)
    with pj.profile("run", sources=["cpu_estimate"]) as prof:
        for i in range(20):
            if i == 3:
                with pj.count_flops() as window:
                    step(x)
            else:
                step(x)
    once = 2 * 64 * 32 * 16
    found = {r.path: r for r in prof.result.flops.regions}
    # Backward: only the weight's gradient is wanted; forward has the sum's 1023 additions too.
    assert found["step", "forward"].flops == 20 * (once + 64 * 16 - 1)
    assert found["step", "backward"].by_type == {"fp32": 20 * once}
    assert prof.result.flops.model == 20 * (2 * once + 1023)
    assert window.flops == 2 * once + 1023
    assert prof.flops.sources == ("aten",)
    assert "model FLOPs: " in str(prof) and "formulas of PyTorch" in str(prof)
    # The trace keeps it.
    prof.save(tmp_path / "run.pj")
    assert pj.load(tmp_path / "run.pj").flops == prof.result.flops


def test_a_profile_that_was_not_open_has_none_of_it(step):
    x = torch.randn(64, 32)
    with pj.count_flops():
        step(x)
    with pj.profile(sources=["cpu_estimate"]) as prof:
        step(x)
    assert math.isnan(prof.flops.model)


def test_an_exception_inside_loses_nothing(step):
    x = torch.randn(64, 32)

    def fails():
        with pj.count_flops():
            step(x)
            raise KeyError("user's own")

    with pj.profile(sources=["cpu_estimate"]) as prof:
        with pytest.raises(KeyError, match="user's own"):
            fails()
        step(x)
    assert prof.flops.model == 2 * (2 * 65536 + 1023)


def test_a_window_is_good_for_one_block():
    window = pj.count_flops()
    with pytest.raises(pj.UsageError, match="still open"):
        _ = window.flops
    with window:
        pass
    with pytest.raises(pj.UsageError, match="one block"), window:
        pass


def test_threads_keep_their_own_regions(step):
    x = torch.randn(8, 32)
    with pj.profile(sources=["cpu_estimate"]) as prof:
        with pj.region("main"), pj.count_flops():
            x @ torch.randn(32, 4)

        def other():
            with pj.region("other"), pj.count_flops():
                x @ torch.randn(32, 8)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    # Inside a region the block stands for one call of it.
    assert {r.path: r.flops for r in prof.flops.regions} == {
        ("main",): 2 * 8 * 32 * 4,
        ("other",): 2 * 8 * 32 * 8,
    }
    assert prof.flops.notes == ()


def test_a_window_inside_a_region_stands_for_one_call():
    x = torch.randn(8, 8)
    with pj.profile(sources=["cpu_estimate"]) as prof:
        for i in range(5):
            with pj.region("outer"), pj.region("step"):
                if i == 1:
                    with pj.count_flops():
                        x @ x
                else:
                    x @ x
    assert prof.flops.model == 5 * 2 * 8**3


class Chain:
    """Triton's chain of hooks, as far as it is used."""

    def __init__(self):
        self.calls = []

    def add(self, hook):
        self.calls.append(hook)

    def remove(self, hook):
        self.calls.remove(hook)


class Lazy:
    def __init__(self, data):
        self.data = data

    def get(self):
        return self.data


@pytest.fixture
def triton(monkeypatch):
    fake = types.ModuleType("triton")
    runtime = types.SimpleNamespace(launch_enter_hook=Chain(), launch_exit_hook=Chain())
    fake.knobs = types.SimpleNamespace(runtime=runtime)
    monkeypatch.setitem(sys.modules, "triton", fake)

    def launch(**metadata):
        for hook in runtime.launch_enter_hook.calls:
            hook(Lazy(metadata))
        for hook in runtime.launch_exit_hook.calls:
            hook(Lazy(metadata))

    launch.runtime = runtime
    return launch


def test_triton_kernels_tell_their_own_cost(triton):
    with pj.profile(sources=["cpu_estimate"]) as prof:
        for i in range(10):
            with pj.region("step"):
                if i:
                    triton(name="gemm [M=64]", flops16=1000, bytes=64)
                    triton(name="silent")
                    continue
            with pj.count_flops(), pj.region("step"):
                triton(name="gemm [M=64]", flops16=1000, bytes=64)
                triton(name="gemm [M=64]", flops16=3000, bytes=64)
    # A kernel that was not launched in the window is not in the model; "silent" is such a one.
    (region,) = prof.flops.regions
    assert region.flops == prof.regions["step"].calls * 4000
    assert region.by_type == {"tensor-fp16": 11 * 4000}
    assert triton.runtime.launch_enter_hook.calls == triton.runtime.launch_exit_hook.calls == []


def test_a_triton_kernel_that_tells_nothing_is_not_zero(triton):
    with pj.profile(sources=["cpu_estimate"]) as prof:
        with pj.count_flops(), pj.region("step"):
            triton(name="silent")
        with pj.region("step"):
            triton(name="silent")
    assert math.isnan(prof.flops.model) and prof.flops.unknown == ("silent",)
