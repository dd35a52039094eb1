"""FLOPs of JAX functions as they are compiled here, and the way from kernels to costs."""

import math
import sys
from pathlib import Path

import pytest

from picojoule.errors import UsageError
from picojoule.flops.hlo import costs
from picojoule.flops.jax_ import count_jax, match_kernels
from picojoule.importers.xplane import read_xplane

TEXT = (Path(__file__).parents[2] / "data" / "hlo" / "gpu.hlo").read_text()


# ---- of compiled functions ----


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax", reason="jax is not installed")


@pytest.fixture(scope="module")
def f32(jax):
    return lambda *shape: jax.ShapeDtypeStruct(shape, jax.numpy.float32)


def convolve(jax, groups=1, stride=1, padding="SAME"):
    return lambda x, w: jax.lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def products(found):
    """FLOPs but for element-wise work and reductions."""
    kinds = found.by_kind()
    return {k: v for k, v in kinds.items() if k not in ("elementwise", "reduction")}


def test_scan_counts_every_layer(jax, f32):
    def f(x, w):
        return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=10)[0]

    found = count_jax(f, f32(64, 32), f32(32, 32))
    assert found.total.flops == 1_310_720
    assert found.platform == "cpu"
    once = jax.jit(f).lower(f32(64, 32), f32(32, 32)).compile().cost_analysis()["flops"]
    assert once < 1_310_720 / 9  # what XLA itself says


def test_fori_and_dynamic_while_inside_each_other(jax, f32):
    def inner(x):
        return jax.lax.fori_loop(0, 7, lambda i, c: c @ c, x)

    assert products(count_jax(inner, f32(16, 16))) == {"matmul": 7 * 2 * 16**3}

    def outer(x, n):
        return jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, inner(s[1])), (0, x))[1]

    found = count_jax(outer, f32(16, 16), jax.ShapeDtypeStruct((), jax.numpy.int32))
    assert math.isnan(found.total.flops)
    assert found.unknown[-1].flops_each == 7 * 2 * 16**3


def test_scan_gradient_is_three_times_the_forward_pass(jax, f32):
    np = jax.numpy

    def loss(w, xs):
        step = lambda h, x: (np.tanh(h @ w + x), None)  # noqa: E731
        return jax.lax.scan(step, np.zeros((4, 16)), xs)[0].sum()

    found = count_jax(jax.grad(loss), f32(16, 16), f32(12, 4, 16))
    assert products(found) == {"matmul": 3 * 12 * 2 * 4 * 16 * 16}


@pytest.mark.parametrize(
    ("groups", "stride", "padding"),
    [(1, 1, "SAME"), (1, 2, "SAME"), (1, 1, "VALID"), (1, 2, "VALID"), (4, 1, "SAME")],
)
def test_convolution_and_both_gradients_have_the_same_flops(jax, f32, groups, stride, padding):
    f = convolve(jax, groups, stride, padding)
    x, w = f32(2, 16, 16, 8), f32(3, 3, 8 // groups, 8)
    out = jax.eval_shape(f, x, w).size
    true = {"conv": 2 * out * 9 * 8 // groups}
    to_input = jax.grad(lambda x, w: f(x, w).sum())
    to_weight = jax.grad(lambda w, x: f(x, w).sum())
    for function, arguments in ((f, (x, w)), (to_input, (x, w)), (to_weight, (w, x))):
        found = count_jax(function, *arguments)
        assert products(found) == true
        said = jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]
        assert found.flops_without_padding == said


def test_depthwise_and_transposed_convolution(jax, f32):
    found = count_jax(convolve(jax, groups=8), f32(2, 16, 16, 8), f32(3, 3, 1, 8))
    assert products(found) == {"conv": 2 * 2 * 256 * 9 * 8}

    def up(x, w):
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=dims)

    assert products(count_jax(up, f32(2, 16, 16, 8), f32(3, 3, 8, 4))) == {
        "conv": 2 * 2 * 256 * 9 * 8 * 4
    }


def test_einsum_vmap_attention(jax, f32):
    np = jax.numpy
    found = count_jax(lambda a, b: np.einsum("bij,bkj->bik", a, b), f32(3, 8, 16), f32(3, 4, 16))
    assert found.total.flops == 2 * 3 * 8 * 4 * 16
    found = count_jax(jax.vmap(lambda a, b: a @ b), f32(3, 8, 16), f32(3, 16, 4))
    assert found.total.flops == 2 * 3 * 8 * 4 * 16
    q = f32(2, 16, 4, 8)
    found = count_jax(jax.nn.dot_product_attention, q, q, q)
    assert products(found) == {"matmul": 2 * 2 * (2 * 4) * 16 * 16 * 8}


def decoder(jax, layers, *, scan, remat):
    """A small decoder's loss, the shapes of its arguments, and the FLOPs of its forward pass."""
    np = jax.numpy
    batch, length, width, heads, wide, words = 2, 32, 64, 4, 256, 128

    def normal(x):
        return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)

    def block(x, w):
        q, k, v = (
            y.reshape(batch, length, heads, width // heads)
            for y in np.split(normal(x) @ w[0], 3, -1)
        )
        x = x + jax.nn.dot_product_attention(q, k, v).reshape(x.shape) @ w[1]
        return x + jax.nn.gelu(normal(x) @ w[2]) @ w[3], None

    def loss(p, tokens):
        one = jax.checkpoint(block) if remat else block
        x = p["embedding"][tokens]
        if scan:
            x, _ = jax.lax.scan(one, x, p["blocks"])
        else:
            for n in range(layers):
                x, _ = one(x, [w[n] for w in p["blocks"]])
        log = jax.nn.log_softmax(normal(x) @ p["embedding"].T)
        return -np.take_along_axis(log, tokens[..., None], -1).mean()

    def shape(*dims):
        return jax.ShapeDtypeStruct(dims, np.float32)

    weights = [(width, 3 * width), (width, width), (width, wide), (wide, width)]
    p = {"embedding": shape(words, width), "blocks": [shape(layers, *w) for w in weights]}
    tokens = jax.ShapeDtypeStruct((batch, length), np.int32)
    rows = batch * length
    products = [2 * rows * a * b for a, b in weights]
    attention = 2 * 2 * rows * length * width
    forward = layers * (sum(products) + attention) + 2 * rows * width * words
    # With remat all of a block runs again but its last product, whose result nobody needs.
    again = layers * (sum(products[:-1]) + attention) if remat else 0
    return loss, (p, tokens), 3 * forward + again


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("remat", [True, False])
def test_train_step_of_a_decoder(jax, scan, remat):
    loss, arguments, true = decoder(jax, 3, scan=scan, remat=remat)
    found = count_jax(jax.value_and_grad(loss), *arguments)
    assert products(found) == {"matmul": true}
    assert found.unknown == ()


def test_bf16_on_a_cpu_is_converted_first(jax):
    x = jax.ShapeDtypeStruct((32, 32), jax.numpy.bfloat16)
    found = count_jax(lambda x: x @ x, x)
    assert products(found) == {"matmul": 2 * 32**3}  # cost_analysis adds the conversions
    assert not found.total.type.startswith("tensor")


@pytest.mark.parametrize("name", ["softmax", "norm", "mlp", "pool", "matvec", "dot"])
def test_straight_programs_agree_with_cost_analysis(jax, f32, name):
    np = jax.numpy
    function, arguments = {
        "softmax": (jax.nn.softmax, (f32(8, 64),)),
        "norm": (lambda x: x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True)), (f32(8, 64),)),
        "mlp": (lambda x, w: np.tanh(x @ w), (f32(64, 32), f32(32, 16))),
        "pool": (
            lambda x: jax.lax.reduce_window(
                x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
            ),
            (f32(1, 8, 8, 4),),
        ),
        "matvec": (lambda a, b: a @ b, (f32(16, 8), f32(8))),
        "dot": (lambda a, b: a @ b, (f32(16), f32(16))),
    }[name]
    found = count_jax(function, *arguments)
    said = jax.jit(function).lower(*arguments).compile().cost_analysis()
    assert found.total.flops == said["flops"] + said.get("transcendentals", 0)
    assert found.transcendentals == said.get("transcendentals", 0)
    assert found.total.bytes == said["bytes accessed"]


def test_opaque_calls(jax, f32):
    def call(x):
        return jax.pure_callback(lambda v: v, f32(32, 32), x)

    assert math.isnan(count_jax(call, f32(32, 32)).total.flops)
    mixed = count_jax(lambda x: call(x) @ x, f32(32, 32))
    assert mixed.total.flops == 2 * 32**3
    assert len(mixed.unknown) == 1


def test_what_may_be_given(jax, f32):
    jitted = jax.jit(lambda x, n: x @ x * n, static_argnums=1)
    by_jit = count_jax(jitted, f32(8, 8), 3)
    lowered = jitted.lower(f32(8, 8), 3)
    assert by_jit.total == count_jax(lowered).total == count_jax(lowered.compile()).total
    assert by_jit.by_kind()["matmul"] == 2 * 8**3
    with pytest.raises(UsageError, match="fixed"):
        count_jax(lowered.compile(), f32(8, 8))


def test_missing_jax_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match=r"picojoule\[jax\]"):
        count_jax(lambda x: x, 1)


# ---- from the kernels of a profile to costs ----


@pytest.fixture
def program():
    return costs(TEXT)


def cost(program, name):
    [kernel] = [k for k in program if k.name == name]
    return kernel.cost


@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("loop_tanh_fusion_1", "loop_tanh_fusion.1"),  # as CUPTI names it
        ("loop_tanh_fusion", "loop_tanh_fusion"),
        ("gemm_fusion_dot_1", "gemm_fusion_dot.1"),
        ("loop_tanh_fusion_1 [jit_step/loop_tanh_fusion.1]", "loop_tanh_fusion.1"),
        ("sm90_xmma_gemm_f32 [jit_step/custom-call.5]", "custom-call.5"),
        ("sm90_xmma_gemm_f32 [jit_step(17)/custom-call.5]", "custom-call.5"),
        ("sm90_xmma_gemm_f32 [custom-call.5]", "custom-call.5"),
        ("loop_tanh_fusion_1 [jit_step]", "loop_tanh_fusion.1"),
        # Equal fusions share one kernel: the operation tells which one ran.
        ("loop_tanh_fusion [jit_step/input_reduce_fusion]", "input_reduce_fusion"),
    ],
)
def test_kernels_find_their_cost(program, name, op):
    assert match_kernels(program, [name]) == {name: cost(program, op)}


@pytest.mark.parametrize(
    "name",
    [
        "sm90_xmma_gemm_f32",
        "loop_tanh_fusion_2",
        "loop_tanh_fusion_1 [jit_other/loop_tanh_fusion.1]",
        "loop_tanh_fusion_1 [jit_step/loop_add_fusion.9]",
        "",
    ],
)
def test_kernels_of_others_find_none(program, name):
    assert match_kernels(program, [name]) == {}


def test_a_library_call_of_several_kernels_counts_once(program):
    names = [
        "cublasLt::splitKreduce_kernel [jit_step/custom-call.5]",
        "sm90_xmma_gemm_f32 [jit_step/custom-call.5]",
    ]
    found = match_kernels(program, names)
    assert found[names[1]] == cost(program, "custom-call.5")
    assert found[names[0]].flops == 0
    assert "sm90_xmma_gemm_f32" in found[names[0]].note
    assert math.isnan(found[names[0]].bytes)


def test_two_programs_with_one_name_of_different_cost(program):
    other = costs(TEXT.replace("jit_step", "jit_eval").replace("tanh(", "negate("))
    both = [program, other]
    # The same FLOPs, bytes and type in both: it does not matter which one ran.
    assert match_kernels(both, ["loop_tanh_fusion"])
    bigger = costs(TEXT.replace("jit_step", "jit_eval").replace("f32[64,16]", "f32[65,16]"))
    both = [program, bigger]
    assert match_kernels(both, ["loop_tanh_fusion"]) == {}
    name = "loop_tanh_fusion [jit_eval/loop_tanh_fusion]"
    assert match_kernels(both, [name])[name].flops == 2 * 65 * 16


def test_kernels_of_an_imported_profile():
    foreign_files = pytest.importorskip("importers.foreign_files")
    timeline = read_xplane(foreign_files.xplane())
    text = TEXT.replace("%loop_tanh_fusion =", "%fusion.3 =")
    program = costs(text)
    found = match_kernels(program, [c["name"] for c in timeline.classes])
    assert found == {"fusion_3 [jit_step/fusion.3]": cost(program, "fusion.3")}
