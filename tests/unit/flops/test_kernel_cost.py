"""What users, compilers and kernels themselves tell of a kernel's cost."""

from __future__ import annotations

import math
import sys
import types

import pytest

import picojoule as pj
from picojoule.flops import inductor, triton_meta
from picojoule.flops.kernel_cost import cost_of

GRID, BLOCK = (8, 2, 1), (128, 1, 1)


def test_numbers_and_functions_of_the_launch():
    with pj.kernel_cost(
        "^saxpy",
        flops=lambda grid, block: 2 * grid[0] * block[0],
        bytes=12,
        type="fp32",
    ):
        cost = cost_of("saxpy_kernel", GRID, BLOCK)
        assert (cost.flops, cost.bytes, cost.type, cost.source) == (2048, 12, "fp32", "user")
        assert cost_of("my_saxpy", GRID, BLOCK) is None
    assert cost_of("saxpy_kernel", GRID, BLOCK) is None


def test_the_last_word_counts_and_can_be_taken_back():
    first = pj.kernel_cost("gemm", flops=1)
    second = pj.kernel_cost("gemm", flops=2)
    assert cost_of("gemm", GRID, BLOCK).flops == 2
    second.remove()
    assert cost_of("gemm", GRID, BLOCK).flops == 1
    first.remove()
    first.remove()
    assert cost_of("gemm", GRID, BLOCK) is None


@pytest.mark.parametrize("wrong", [lambda grid, block: grid["x"], lambda grid, block: -1])
def test_a_function_that_fails_gives_nan_and_one_warning(wrong):
    with pj.kernel_cost("gemm", flops=wrong):
        with pytest.warns(RuntimeWarning, match="gemm"):
            assert math.isnan(cost_of("gemm", GRID, BLOCK).flops)
        assert math.isnan(cost_of("gemm", GRID, BLOCK).flops)  # warnings are errors in tests


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("regular expression", {"pattern": "("}),
        ("negative", {"pattern": "x", "flops": -1}),
        ("type must be one of", {"pattern": "x", "type": "float"}),
    ],
)
def test_nonsense_is_refused(words, arguments):
    with pytest.raises(pj.UsageError, match=words):
        pj.kernel_cost(**arguments)
    assert cost_of("x", GRID, BLOCK) is None


def test_metadata_of_triton_kernels():
    both = triton_meta.cost_of({"flops8": 10, "flops16": 30, "bytes": 5})
    assert (both.flops, both.bytes, both.type, both.source) == (40, 5, "tensor-fp16", "triton")
    assert triton_meta.cost_of({"flops64": 7}).type == "fp64"
    plain = triton_meta.cost_of({"flops": 7})
    assert plain.flops == 7 and plain.type == ""
    nothing = triton_meta.cost_of({"name": "x"})
    assert math.isnan(nothing.flops) and math.isnan(nothing.bytes) and nothing.source == ""
    assert triton_meta.cost_of({"flops32": 0}).flops == 0  # told to compute nothing


def test_what_inductor_wrote_into_its_kernels(monkeypatch):
    module = types.ModuleType("generated")
    module.gemm = types.SimpleNamespace(
        inductor_meta={"kernel_name": "triton_tem_mm", "kernel_flop": 2e9, "kernel_num_gb": 0.5}
    )
    module.again = module.gemm
    module.pointwise = types.SimpleNamespace(
        inductor_meta={"kernel_name": "triton_poi_add", "kernel_flop": 0, "kernel_num_gb": 0.1}
    )
    module.untold = types.SimpleNamespace(inductor_meta={"kernel_name": "triton_red"})
    cache = types.ModuleType("torch._inductor.codecache")
    cache.PyCodeCache = types.SimpleNamespace(modules=[module])
    monkeypatch.setitem(sys.modules, "torch._inductor.codecache", cache)
    found = {k.name: k.cost for k in inductor.costs()}
    assert found.keys() == {"triton_tem_mm", "triton_poi_add"}
    assert found["triton_tem_mm"].flops == 2e9 and found["triton_tem_mm"].bytes == 5e8
    assert math.isnan(found["triton_poi_add"].flops) and found["triton_poi_add"].bytes == 1e8
