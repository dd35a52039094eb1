"""PyTorch's operations against FLOPs worked out by hand: each exact, or nan; never a silent 0."""

# ruff: noqa: B008
from __future__ import annotations

import math
import sys
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional
nn = torch.nn

from picojoule.flops.torch_ops import OpCounter  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script.:DeprecationWarning"),
]

t = torch.randn
PRODUCTS = ("matmul", "conv", "attention", "rnn")


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


def counted(function, *, kinds=PRODUCTS):
    with OpCounter() as counter:
        function()
    rows = [r for r in counter.rows if kinds is None or r.cost.kind in (*kinds, "opaque")]
    return math.fsum(r.cost.flops * r.calls for r in rows)


def backward(function):
    return lambda: function().sum().backward()


def conv_case(make, shape, **more):
    layer, x = make(), leaf(*shape)
    return lambda: layer(x)


# Name -> (what runs, products in FLOP: 2 for each multiply-add, worked out from the shapes).
B, H, S, D = 2, 8, 64, 32
CASES = {
    "mm": (lambda: t(64, 32) @ t(32, 16), 2 * 64 * 32 * 16),
    "addmm": (lambda: torch.addmm(t(16), t(64, 32), t(32, 16)), 65_536),
    "linear": (lambda: F.linear(t(8, 32), t(16, 32), t(16)), 2 * 8 * 32 * 16),
    "bmm": (lambda: torch.bmm(t(4, 8, 16), t(4, 16, 32)), 2 * 4 * 8 * 16 * 32),
    "baddbmm": (lambda: torch.baddbmm(t(4, 8, 32), t(4, 8, 16), t(4, 16, 32)), 32_768),
    "addbmm": (lambda: torch.addbmm(t(8, 32), t(4, 8, 16), t(4, 16, 32)), 32_768),
    "matmul of 4-d": (lambda: t(2, 3, 8, 16) @ t(2, 3, 16, 4), 2 * 6 * 8 * 16 * 4),
    "mv": (lambda: torch.mv(t(64, 32), t(32)), 2 * 64 * 32),
    "addmv": (lambda: torch.addmv(t(64), t(64, 32), t(32)), 4096),
    "dot": (lambda: torch.dot(t(100), t(100)), 200),
    "vdot": (lambda: torch.vdot(t(100), t(100)), 200),
    "addr": (lambda: torch.addr(t(10, 20), t(10), t(20)), 400),
    "einsum": (lambda: torch.einsum("bij,bjk->bik", t(4, 8, 16), t(4, 16, 32)), 32_768),
    "vmap": (lambda: torch.vmap(torch.mv)(t(5, 8, 4), t(5, 4)), 2 * 5 * 8 * 4),
    "complex mm": (
        lambda: torch.mm(t(8, 4, dtype=torch.complex64), t(4, 2, dtype=torch.complex64)),
        4 * 2 * 8 * 4 * 2,
    ),
    "int8 mm": (
        lambda: torch._int_mm(
            torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8)
        ),
        2 * 32 * 16 * 8,
    ),
    "sparse csr mm": (lambda: torch.eye(64).to_sparse_csr() @ t(64, 16), 2 * 64 * 16),
    "sparse coo mm": (lambda: torch.eye(64).to_sparse() @ t(64, 16), 2 * 64 * 16),
    "mm and gradients": (
        backward(lambda a=leaf(64, 32), b=leaf(32, 16): a @ b), 3 * 65_536
    ),
    "conv1d": (lambda: F.conv1d(t(2, 3, 20), t(8, 3, 5)), 2 * 2 * 16 * 8 * 3 * 5),
    "conv2d": (lambda: F.conv2d(t(1, 3, 32, 32), t(8, 3, 3, 3)), 2 * 30 * 30 * 8 * 27),
    "conv2d strided, padded": (
        lambda: F.conv2d(t(2, 3, 32, 32), t(8, 3, 3, 3), stride=2, padding=1),
        2 * 2 * 16 * 16 * 8 * 27,
    ),
    "conv2d dilated": (
        lambda: F.conv2d(t(1, 3, 32, 32), t(8, 3, 3, 3), dilation=2), 2 * 28 * 28 * 8 * 27
    ),
    "conv2d in groups": (
        lambda: F.conv2d(t(1, 8, 16, 16), t(16, 2, 3, 3), groups=4), 2 * 14 * 14 * 16 * 2 * 9
    ),
    "conv3d": (lambda: F.conv3d(t(1, 2, 8, 8, 8), t(4, 2, 3, 3, 3)), 2 * 6**3 * 4 * 2 * 27),
    "depthwise conv and gradients": (
        backward(
            conv_case(lambda: nn.Conv2d(32, 32, 3, padding=1, groups=32), (1, 32, 32, 32))
        ),
        1_769_472,  # FlopCounterMode: 10,616,832
    ),
    "conv in groups and gradients": (
        backward(conv_case(lambda: nn.Conv2d(16, 16, 3, groups=4), (2, 16, 10, 10))),
        3 * 2 * 2 * 64 * 16 * 4 * 9,
    ),
    "transposed conv": (
        lambda: F.conv_transpose2d(t(2, 16, 8, 8), t(16, 8, 4, 4), stride=2, padding=1),
        2 * 2 * 64 * 16 * 8 * 16,
    ),
    "transposed conv in groups": (
        lambda: F.conv_transpose2d(t(4, 16, 8, 8), t(16, 8, 4, 4), stride=2, groups=4),
        2 * 4 * 64 * 16 * 8 * 16,
    ),
    "transposed conv in groups and gradients": (
        backward(
            conv_case(lambda: nn.ConvTranspose2d(16, 32, 4, 2, 1, groups=4), (2, 16, 8, 8))
        ),
        3 * 2 * 2 * 64 * 16 * 8 * 16,
    ),
    "attention": (
        lambda: F.scaled_dot_product_attention(t(B, H, S, D), t(B, H, S, D), t(B, H, S, D)),
        2 * 2 * B * H * S * S * D,
    ),
    "attention, causal": (
        lambda: F.scaled_dot_product_attention(
            t(B, H, S, D), t(B, H, S, D), t(B, H, S, D), is_causal=True
        ),
        2 * 2 * B * H * S * S * D,  # the dense equivalent, and says so
    ),
    "attention of other lengths": (
        lambda: F.scaled_dot_product_attention(t(B, H, 16, D), t(B, H, S, D), t(B, H, S, D)),
        2 * 2 * B * H * 16 * S * D,
    ),
    "attention, grouped queries": (
        lambda: F.scaled_dot_product_attention(
            t(B, 8, S, D), t(B, 2, S, D), t(B, 2, S, D), enable_gqa=True
        ),
        2 * 2 * B * 8 * S * S * D,
    ),
    "attention and gradients": (
        backward(
            lambda q=leaf(B, H, S, D), k=leaf(B, H, S, D), v=leaf(B, H, S, D): (
                F.scaled_dot_product_attention(q, k, v)
            )
        ),
        (2 + 5) * 2 * B * H * S * S * D,  # the scores again, as the fused kernel does
    ),
    "LSTM": (
        conv_case(lambda: nn.LSTM(32, 64, 2), (10, 3, 32)),
        2 * 30 * 4 * 64 * (32 + 64 + 64 + 64),
    ),
    "LSTM, both directions": (
        conv_case(lambda: nn.LSTM(32, 64, bidirectional=True), (10, 3, 32)),
        2 * 2 * 30 * 4 * 64 * (32 + 64),
    ),
    "LSTM and gradients": (
        backward(lambda m=nn.LSTM(32, 64), x=leaf(10, 3, 32): m(x)[0]),
        3 * 2 * 30 * 4 * 64 * (32 + 64),
    ),
    "LSTM cell": (
        lambda m=nn.LSTMCell(32, 64): m(t(3, 32)), 2 * 3 * 4 * 64 * (32 + 64)
    ),
    "GRU": (conv_case(lambda: nn.GRU(32, 64), (10, 3, 32)), 2 * 30 * 3 * 64 * (32 + 64)),
    "RNN": (conv_case(lambda: nn.RNN(32, 64), (10, 3, 32)), 2 * 30 * 64 * (32 + 64)),
    "attention layer, training": (
        lambda m=nn.MultiheadAttention(64, 4, batch_first=True), q=t(2, 16, 64): m(
            q, q, q, need_weights=False
        ),
        1_179_648,
    ),
    "outer product": (lambda: torch.outer(t(10), t(20)), None),  # a multiplication each, below
    "checkpointed": (None, None),
}  # fmt: skip


def fast_path(layer, *inputs):
    layer = layer.eval()

    def go():
        with torch.no_grad():
            layer(*inputs)

    return go


_q = t(2, 16, 64)
CASES["attention layer, fast path"] = (
    fast_path(nn.MultiheadAttention(64, 4, batch_first=True), _q, _q, _q), 1_179_648,
)  # fmt: skip
CASES["encoder layer, fast path"] = (
    fast_path(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), _q), 2_228_224,
)  # fmt: skip
CASES = {name: case for name, case in CASES.items() if case[1] is not None}


@pytest.mark.parametrize("name", CASES)
def test_products_are_exact(name):
    function, truth = CASES[name]
    assert counted(function) == truth


EVERYTHING = {
    "x * x + x": (lambda x=t(1000, 1000): x * x + x, 2_000_000),
    "outer": (lambda: torch.outer(t(10), t(20)), 200),
    "add with alpha": (lambda x=t(100): torch.add(x, x, alpha=2), 200),
    "addcmul": (lambda x=t(100): torch.addcmul(x, x, x), 300),
    "lerp": (lambda x=t(100): torch.lerp(x, x, 0.5), 300),
    "exp": (lambda x=t(100): x.exp(), 100),
    "sum": (lambda x=t(10, 10): x.sum(), 99),
    "sum of rows": (lambda x=t(10, 10): x.sum(1), 90),
    "mean": (lambda x=t(10, 10): x.mean(1), 90 + 10),
    "softmax": (lambda x=t(10, 10): x.softmax(-1), 4 * 100 - 10),
    "layer norm": (lambda m=nn.LayerNorm(10), x=t(5, 10): m(x), 7 * 50 + 2 * 5),
    "relu": (lambda x=t(100): x.relu(), 0),
    "comparison": (lambda x=t(100): x > 0, 0),
    "cat and views": (lambda x=t(10, 10): torch.cat([x.t(), x.view(10, 10)[:5]]), 0),
    "integers": (lambda x=torch.arange(100): x + x, 0),
    "embedding": (lambda m=nn.Embedding(10, 4), i=torch.tensor([1, 2]): m(i), 0),
    # 4 rows of 4 into 2 bags: 8 additions, then divided.
    "embedding bag, mean": (
        lambda m=nn.EmbeddingBag(10, 4), i=torch.tensor([1, 2, 3, 4]): m(i, torch.tensor([0, 2])),
        8 + 8,
    ),
    "embedding bag, sum": (
        lambda m=nn.EmbeddingBag(10, 4, mode="sum"), i=torch.tensor([1, 2, 3, 4]): m(
            i, torch.tensor([0, 2])
        ),
        8,
    ),
    "fft": (lambda x=t(4, 16, dtype=torch.complex64): torch.fft.fft(x), 4 * 5 * 16 * 4),
    "rfft": (lambda x=t(4, 16): torch.fft.rfft(x), 4 * 5 * 16 * 4 / 2),
    "cholesky": (lambda x=torch.eye(12): torch.linalg.cholesky(x), 12**3 / 3),
    "lu": (lambda x=torch.eye(12): torch.linalg.lu_factor(x), 2 * 12**3 / 3),
    "solve": (
        lambda a=torch.eye(12), b=t(12, 5): torch.linalg.solve(a, b),
        2 * 12**3 / 3 + 2 * 144 * 5,
    ),
    "triangular solve": (
        lambda a=torch.eye(12), b=t(12, 5): torch.linalg.solve_triangular(a, b, upper=False),
        144 * 5,
    ),
    "inverse": (lambda a=torch.eye(12): torch.linalg.inv(a), 2 * 12**3),
    "qr": (lambda a=t(20, 10): torch.linalg.qr(a), 4 * 20 * 100 - 4 * 1000 / 3),
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_other_operations_follow_their_convention(name):
    function, truth = EVERYTHING[name]
    assert counted(function, kinds=None) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda: torch.linalg.svd(t(8, 8)),
        lambda: torch.linalg.eigh(torch.eye(8)),
        lambda: torch.matrix_exp(t(4, 4)),
    ],
)
def test_what_depends_on_values_is_not_known(function):
    assert math.isnan(counted(function, kinds=None))


def test_recomputed_checkpoints_count_as_often_as_they_run():
    from torch.utils.checkpoint import checkpoint

    x, w = leaf(8, 32), leaf(32, 32)
    once = 2 * 8 * 32 * 32
    plain = counted(backward(lambda: torch.relu(x @ w) @ w))
    again = counted(
        backward(lambda: checkpoint(lambda x: torch.relu(x @ w) @ w, x, use_reentrant=True))
    )
    assert plain == (2 + 4) * once and again == (2 + 2 + 4) * once


def test_modes_and_compilers_change_nothing():
    a, b = t(64, 32), t(32, 16)
    with torch.inference_mode():
        assert counted(lambda: F.linear(a, b.t())) == 65_536
    with torch.autocast("cpu", dtype=torch.bfloat16), OpCounter() as counter:
        a @ b
    (row,) = [r for r in counter.rows if r.cost.kind == "matmul"]
    assert row.cost.flops == 65_536 and row.cost.type == "bf16"
    scripted = torch.jit.script(_mm)
    assert counted(lambda: scripted(a, b)) == 65_536
    compiled = torch.compile(_mm, backend="eager", fullgraph=True)
    compiled(a, b)
    assert counted(lambda: compiled(a, b)) == 65_536  # runs eagerly in a window, does not raise
    frames = []
    again = torch.compile(_mm, backend=lambda graph, _: frames.append(graph) or graph.forward)
    again(a, b)
    assert frames  # afterwards the compiler works as before


def _mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.mm(a, b)


def test_what_nobody_knows_is_nan_until_a_user_says_it():
    from torch.utils.flop_counter import flop_registry, register_flop_formula

    @torch.library.custom_op("picojoule_test::triple", mutates_args=())
    def triple(x: torch.Tensor) -> torch.Tensor:
        return x * 3

    with OpCounter() as counter:
        triple(t(10))
    (row,) = [r for r in counter.rows if "triple" in r.op]
    assert math.isnan(row.cost.flops) and row.cost.kind == "opaque" and row.cost.note
    op = torch.ops.picojoule_test.triple
    register_flop_formula(op)(lambda shape, out_shape=None: 3 * shape[0])
    try:
        with OpCounter() as counter:
            triple(t(10))
        (row,) = [r for r in counter.rows if "triple" in r.op]
        assert row.cost.flops == 30 and row.cost.source == "user"
    finally:
        del flop_registry[op]


def test_a_users_formula_wins_over_ours():
    from torch.utils import flop_counter

    before = flop_counter.flop_registry[torch.ops.aten.mm]
    flop_counter.flop_registry[torch.ops.aten.mm] = lambda *args, out_val=None: 42
    try:
        assert counted(lambda: t(4, 4) @ t(4, 4), kinds=None) == 42
    finally:
        flop_counter.flop_registry[torch.ops.aten.mm] = before


def test_nothing_stays_installed():
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    counter = OpCounter()

    def fails():
        with counter:
            t(2, 2) @ t(2, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert _get_current_dispatch_mode_stack() == []
    seen = sum(r.calls for r in counter.rows)
    t(2, 2) @ t(2, 2)
    assert sum(r.calls for r in counter.rows) == seen


def test_bytes_are_those_of_operands_and_results():
    def only(function):
        with OpCounter() as counter:
            function()
        (row,) = counter.rows
        return row.cost.bytes

    a, b = t(64, 32), t(32, 16)
    assert only(lambda: a @ b) == 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert only(lambda: a.t()) == 0
    x = t(1, 100).expand(50, 100)
    assert only(lambda: x.exp()) == 4 * (100 + 5000)  # an expanded tensor is read once
    table, rows = t(1000, 8), torch.tensor([1, 2, 3])
    assert only(lambda: F.embedding(rows, table)) == 3 * 8 + 2 * 4 * 3 * 8


def test_a_training_step_has_no_unknown_operation():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * 49, 32), nn.SiLU(), nn.Dropout(), nn.Linear(32, 10),
    )  # fmt: skip
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    for optimiser in (torch.optim.SGD, torch.optim.AdamW):
        chosen = optimiser([*net.parameters(), *layer.parameters()], lr=0.1)
        with OpCounter() as counter:
            F.cross_entropy(net(t(4, 3, 16, 16)), torch.tensor([1, 2, 3, 4])).backward()
            layer(t(2, 5, 32)).square().mean().backward()
            chosen.step()
        assert [r.op for r in counter.rows if math.isnan(r.cost.flops)] == []


def test_a_thread_that_came_and_went_is_told():
    import sys

    seen = []
    threading.setprofile(lambda *event: seen.append(event))  # another tool's
    try:
        mine = threading.getprofile()
        with OpCounter() as counter:
            thread = threading.Thread(target=torch.mm, args=(t(4, 4), t(4, 4)))
            thread.start()
            thread.join()
        assert threading.getprofile() is mine and seen
    finally:
        threading.setprofile(None)
    assert any("threads" in note for note in counter.notes)
    assert sys.getprofile() is None
    with OpCounter() as counter:
        t(4, 4) @ t(4, 4)
    assert not counter.notes and threading.getprofile() is None


def test_a_thread_that_is_still_there_is_told():
    release = threading.Event()
    with OpCounter() as counter:
        thread = threading.Thread(target=release.wait)
        thread.start()
    release.set()
    thread.join()
    assert any("threads" in note for note in counter.notes)


def test_the_module_needs_torch_and_says_so(monkeypatch):
    import picojoule as pj

    monkeypatch.delitem(sys.modules, "picojoule.flops.torch_ops")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(pj.MissingExtraError, match="torch"):
        import picojoule.flops.torch_ops  # noqa: F401
