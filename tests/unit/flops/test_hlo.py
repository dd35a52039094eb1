"""XLA's programs: loops as often as they run, what cannot be seen by name; exact answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.flops import _hlo_text, hlo

GPU = (Path(__file__).parents[2] / "data" / "hlo" / "gpu_calls.txt").read_text(encoding="utf-8")


def by_name(found):
    return {k.name: k for k in found.kernels}


def test_calls_of_libraries_on_a_gpu():
    found = hlo.costs(GPU, gpu=True)
    kernels = by_name(found)
    conv = 2 * 2 * 16 * 8 * 8 * 8 * 9
    flops = {name: k.cost.flops for name, k in kernels.items() if k.cost.flops}
    secret = flops.pop("secret")
    assert math.isnan(secret)
    assert flops == {
        "cublas-lt-matmul.1": 2 * 128 * 256 * 512,
        "loop_gelu_fusion.3": 2 * 128 * 512,
        "cudnn-conv.2": conv,
        "cudnn-conv-bw-input.1": conv,
        "cudnn-conv-bw-filter.1": conv,
        "pallas": 5000,
        "gemm.7": 2 * 128**3,
    }
    assert kernels["gemm.7"].times == 12
    assert kernels["cublas-lt-matmul.1"].cost.type == "tensor-bf16"
    assert kernels["cudnn-conv.2"].cost.type == "fp32"
    assert kernels["cublas-lt-matmul.1"].op_name == "jit(step)/layer/dot_general"
    assert kernels["loop_gelu_fusion.3"].kernel_name == "loop_gelu_fusion_3"
    # What cannot be seen is missing from the total, not taken off it.
    assert [k.name for k in found.unknown] == ["secret"]
    assert "my_library_call" in found.unknown[0].cost.note
    total = 2 * 128 * 256 * 512 + 2 * 128 * 512 + 3 * conv + 5000 + 12 * 2 * 128**3
    assert found.flops == total
    assert math.fsum(found.by_type.values()) == total


def test_bytes_are_operands_and_results():
    kernels = by_name(hlo.costs(GPU))
    assert kernels["loop_gelu_fusion.3"].cost.bytes == 2 * 2 * 128 * 512


def test_a_loop_of_unknown_length_is_not_known_but_its_body_is():
    found = hlo.costs(GPU.replace('"known_trip_count":{"n":"12"}', '"other":1'))
    gemm = by_name(found)["gemm.7"]
    assert gemm.cost.flops == 2 * 128**3 and math.isnan(gemm.times)
    assert "gemm.7" in [k.name for k in found.unknown]


@pytest.mark.parametrize("text", ["", "hello", "HloModule x\n\n%f (a: f32[]) -> f32[] {\n}\n"])
def test_what_is_no_program_is_refused(text):
    with pytest.raises(ValueError, match="ENTRY"):
        hlo.costs(text)


def test_brackets_and_quotes_in_attributes():
    program = _hlo_text.parse(GPU)
    line = program.computations["fused_gelu"]["m"]
    assert line.op_name == "jit(step)/layer/mul{x}" and line.operands == ("t", "p0")
    tanh = program.computations["fused_gelu"]["t"]
    assert tanh.operands == ("p0",) and tanh.results[0].dims == (128, 512)


@given(
    st.lists(st.integers(1, 5), max_size=2),
    *[st.integers(1, 40)] * 3,
    st.sampled_from(["f32", "bf16", "c64"]),
)
def test_dots_of_any_shape(batch, m, k, n, dtype):
    b = ",".join(map(str, batch)) + ("," if batch else "")
    d = len(batch)
    lines = [
        "ENTRY %e (a: f32[], b: f32[]) -> f32[] {",
        f"  %a = {dtype}[{b}{m},{k}] parameter(0)",
        f"  %b = {dtype}[{b}{k},{n}] parameter(1)",
        f"  ROOT %d = {dtype}[{b}{m},{n}] dot(%a, %b), lhs_batch_dims={{{b[:-1]}}}, "
        f"lhs_contracting_dims={{{d + 1}}}, rhs_contracting_dims={{{d}}}",
        "}",
    ]
    factor = 4 if dtype == "c64" else 1
    assert hlo.costs("\n".join(lines)).flops == factor * 2 * math.prod(batch) * m * k * n


def brute_force(size, taps, out, stride, pad, holes, spread):
    """Walk a padded, dilated line."""
    line = []
    for i in range(size):
        line += [1] + [0] * (holes - 1 if i < size - 1 else 0)
    at = lambda p: line[p] if 0 <= p < len(line) else 0  # noqa: E731
    return sum(at(o * stride + t * spread - pad) for o in range(out) for t in range(taps))


@settings(max_examples=200)
@given(*[st.integers(1, 12)] * 3, st.integers(1, 3), st.integers(-2, 4), *[st.integers(1, 3)] * 2)
def test_taps_that_meet_nothing_do_not_count(size, taps, out, stride, pad, holes, spread):
    found = hlo._meetings(size, taps, out, stride=stride, pad=pad, holes=holes, spread=spread)
    assert found == brute_force(size, taps, out, stride, pad, holes, spread)


# ---- with JAX ----


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax", reason="JAX is not installed")


def cases(jax):
    np, lax = jax.numpy, jax.lax
    x, w, s = np.ones((32, 64)), np.ones((64, 64)), np.ones((32, 32))
    mm = 2 * 32 * 64 * 64
    cube = 2 * 32**3

    def scan(x, w):
        return lax.scan(lambda c, _: (c @ w, None), x, None, length=10)[0]

    def nested(x):
        return lax.fori_loop(0, 3, lambda i, c: lax.fori_loop(0, 4, lambda j, d: d @ d, c), x)

    callback = lambda x: jax.pure_callback(  # noqa: E731
        lambda v: v, jax.ShapeDtypeStruct(x.shape, x.dtype), x
    )
    return {
        "dot": ((lambda a, b: a @ b, x, w), mm),
        "gradient": ((jax.grad(lambda a, b: (a @ b).sum(), argnums=(0, 1)), x, w), None),
        "scan": ((scan, x, w), 10 * mm),
        "fori": ((lambda x: lax.fori_loop(0, 7, lambda i, c: c @ c, x), s), 7 * cube),
        "nested loops": ((nested, s), 12 * cube),
        "vmap": ((jax.vmap(lambda a, b: a @ b, (0, None)), x, w), mm),
        "einsum": (
            (
                lambda a, b: np.einsum("bij,bjk->bik", a, b),
                np.ones((4, 8, 16)),
                np.ones((4, 16, 32)),
            ),
            2 * 4 * 8 * 16 * 32,
        ),
        "bf16": ((lambda a, b: a @ b, x.astype("bfloat16"), w.astype("bfloat16")), mm),
        "callback alone": ((callback, x), 0),
        "callback beside a product": ((lambda x, w: callback(x) @ w, x, w), mm),
        "jitted": ((jax.jit(lambda a, b: a @ b), x, w), mm),
        "shapes only": (
            (lambda a, b: a @ b, jax.ShapeDtypeStruct((32, 64), "float32"), w),
            mm,
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("dot", "scan", "fori", "nested loops", "vmap", "einsum", "bf16", "callback alone"),
        *("callback beside a product", "jitted", "shapes only"),
    ],
)
def test_jax_functions_are_exact(jax, name):
    import picojoule as pj

    arguments, truth = cases(jax)[name]
    found = pj.count_jax(*arguments)
    assert found.flops == truth
    assert bool(found.unknown) == ("callback" in name)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_convolutions_and_their_gradients_agree_with_xla_where_it_is_right(
    jax, stride, groups, padding
):
    import picojoule as pj

    def conv(x, k):
        return jax.lax.conv_general_dilated(
            x, k, (stride, stride), padding, dimension_numbers=("NCHW", "OIHW", "NCHW"),
            feature_group_count=groups,
        )  # fmt: skip

    x, k = jax.numpy.ones((2, 8, 9, 9)), jax.numpy.ones((16, 8 // groups, 3, 3))
    lowered = jax.jit(conv).lower(x, k).compile()
    assert pj.count_jax(lowered).flops == lowered.cost_analysis()["flops"]
    gradients = jax.grad(lambda x, k: conv(x, k).sum(), argnums=(0, 1))
    # The same pairs of elements meet in each gradient as in the function.
    assert pj.count_jax(gradients, x, k).by_type["fp32"] >= 2 * lowered.cost_analysis()["flops"]


def test_kernels_of_a_profile_get_their_cost_by_name(jax):
    import picojoule as pj
    from picojoule.flops.jax_ import kernel_costs

    np = jax.numpy
    found = pj.count_jax(lambda a, b: np.tanh(a @ b), np.ones((32, 64)), np.ones((64, 64)))
    names = [k.kernel_name for k in found.kernels if k.cost.flops]
    told = {k.name: k.cost for k in kernel_costs(names)}
    assert set(told) <= set(names)
    # Another program that says otherwise of the same name makes it unknown.
    pj.count_jax(lambda a, b: np.tanh(a @ b), np.ones((8, 64)), np.ones((64, 64)))
    assert not set(names) & {k.name for k in kernel_costs(names)}
