"""FLOPs of PyTorch's operations by name: which formula, with which of the arguments.

Operands are anything with a ``shape``; nothing here imports PyTorch. Each function takes the
positional arguments as the dispatcher hands them over, keyword arguments, and the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from picojoule.flops import formulas as f
from picojoule.flops.elementwise import CHOOSING, MOVING, OPTIMISERS, PER_RESULT, REDUCING

Arguments = tuple[Any, ...]
Formula = Callable[[Arguments, Mapping[str, Any], Any], float]
#: (formula, kind, note)
Known = tuple[Formula, str, str]

DENSE = "dense equivalent: a mask does not reduce it"
RECOMPUTED = "scores recomputed, as fused kernels do; " + DENSE
PRODUCTS = "products only"
CONVENTION = "conventional count: 5 N log2 N"
LEADING = "leading term"


def _size(x: Any) -> int:
    return math.prod(x.shape)


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, (tuple, list)) else out


def _sparse(x: Any) -> int | None:
    """Stored elements of a sparse operand; None for a dense one."""
    layout = str(getattr(x, "layout", "torch.strided"))
    if layout == "torch.strided" or "mkldnn" in layout:
        return None
    return int(x._nnz())


def _mm(a: Any, b: Any) -> float:
    stored = _sparse(a)
    if stored is not None:
        block = math.prod(a.values().shape[1:]) if "bs" in str(a.layout) else 1
        return f.sparse_matmul(stored * block, b.shape[-1])
    if _sparse(b) is not None:
        return f.sparse_matmul(_sparse(b) or 0, a.shape[0])
    return f.matmul(a.shape[0], a.shape[1], b.shape[1])


def _bmm(a: Any, b: Any) -> float:
    return f.matmul(a.shape[1], a.shape[2], b.shape[2], a.shape[0])


def _conv(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    transposed = args[6] if len(args) > 6 else kw.get("transposed", False)
    return f.conv(args[0].shape, args[1].shape, out.shape, transposed=bool(transposed))


def _conv_plain(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.conv(args[0].shape, args[1].shape, _first(out).shape)


def _conv_transposed(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.conv(args[0].shape, args[1].shape, out.shape, transposed=True)


def _conv_backward(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    grad, x, weight = args[:3]
    transposed = args[7] if len(args) > 7 else kw.get("transposed", False)
    wants = args[10] if len(args) > 10 else kw.get("output_mask", (True, True, False))
    return f.conv_backward(
        grad.shape, x.shape, weight.shape, transposed=bool(transposed), wants=wants
    )


def _attention(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.attention(args[0].shape, args[1].shape, args[2].shape)


def _attention_backward(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.attention_backward(args[1].shape, args[2].shape, args[3].shape)


def _flex_backward(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.attention_backward(args[0].shape, args[1].shape, args[2].shape)


def _multi_head(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    query, key = args[0], args[1]
    batch, s_q, embed = query.shape
    return f.multi_head(batch, s_q, key.shape[1], embed, same=query is key)


def _encoder_layer(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    batch, length, embed = args[0].shape
    wide = [a for a in args[3:] if getattr(a, "shape", None) is not None and len(a.shape) == 2]
    inner = wide[2].shape[0]  # after the projections in and out: the first of the two linear layers
    return f.multi_head(batch, length, length, embed) + 2 * f.matmul(batch * length, embed, inner)


def _mkldnn_rnn(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    tokens = math.prod(args[0].shape[:-1])
    return f.recurrent(tokens, [args[1].shape, args[2].shape])


def _mkldnn_rnn_backward(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return 2 * _mkldnn_rnn(args, kw, out)


def _cudnn_tokens(args: Arguments, sizes: Any) -> int:
    # Packed sequences come as one row a token.
    return int(args[0].shape[0] if sizes else math.prod(args[0].shape[:2]))


def _cudnn_rnn(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    sizes = args[14] if len(args) > 14 else kw.get("batch_sizes")
    return f.recurrent(_cudnn_tokens(args, sizes), [w.shape for w in args[1]])


def _cudnn_rnn_backward(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    sizes = next((a for a in args[10:] if isinstance(a, (list, tuple)) and len(a) > 4), None)
    wants = args[-1] if isinstance(args[-1], (list, tuple)) else (True, True, True, True)
    once = f.recurrent(_cudnn_tokens(args, sizes), [w.shape for w in args[1]])
    return once * (1 + bool(wants[-1]))  # back through time in any case; the weights' if wanted


def _grouped_mm(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    a, b = args[0], args[1]
    if len(a.shape) == 2 and len(b.shape) == 2:
        # Groups along k: each of out's planes has its own stretch of k, together all of it.
        return f.matmul(a.shape[0], a.shape[1], b.shape[1])
    if len(a.shape) == 3 and len(b.shape) == 3:
        return _bmm(a, b)
    if len(a.shape) == 2:  # each row meets the matrix of its group
        return f.matmul(a.shape[0], a.shape[1], b.shape[-1])
    return f.matmul(a.shape[1], a.shape[2], b.shape[-1])


def _packed_mm(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    a = args[0]
    return f.matmul(math.prod(a.shape[:-1]), a.shape[-1], out.shape[-1])


def _embedding_bag(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    weight, indices = args[0], args[1]
    mode = args[4] if len(args) > 4 else kw.get("mode", 0)
    weighted = len(args) > 6 and args[6] is not None
    rows = _first(out)
    if mode == 2:  # maximum: only chooses
        return 0
    sums: int = max(0, _size(indices) * weight.shape[1] - _size(rows))
    scaled: int = _size(indices) * weight.shape[1] if weighted else 0
    return sums + scaled + (_size(rows) if mode == 1 else 0)


def _fft(args: Arguments, kw: Mapping[str, Any], out: Any, *, real: bool) -> float:
    dims = [d % len(args[0].shape) for d in args[1]]
    full = args[0] if _size(args[0]) >= _size(out) else out
    sizes = [full.shape[d] for d in dims]
    return f.fft(sizes, _size(full) // max(1, math.prod(sizes)), real=real)


def _square(x: Any) -> tuple[int, int]:
    """(n, batch) of a batch of square matrices."""
    return x.shape[-1], math.prod(x.shape[:-2])


def _lu(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.lu(args[0].shape[-2], args[0].shape[-1], math.prod(args[0].shape[:-2]))


def _solve(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    a, b = args[0], args[1]
    n, batch = _square(a)
    vector = len(b.shape) == 1 or (len(b.shape) == len(a.shape) - 1 and b.shape == a.shape[:-1])
    return f.solve(n, 1 if vector else b.shape[-1], batch)


def _solve_triangular(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    a, b = args[0], args[1]
    n, _ = _square(a)
    left = kw.get("left", True)
    return f.solve_triangular(n, b.shape[-1] if left else b.shape[-2], math.prod(b.shape[:-2]))


def _qr(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    mode = args[1] if len(args) > 1 else kw.get("mode", "reduced")
    *batch, m, n = args[0].shape
    return f.qr(m, n, math.prod(batch), mode=mode)


def _softmax(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.softmax(_size(args[0]), _rows(args[0], args[1]))


def _rows(x: Any, dim: int) -> int:
    return _size(x) // max(1, x.shape[dim]) if len(x.shape) else 1


def _layer_norm(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    x, inner = args[0], math.prod(args[1])
    return f.normalise(_size(x), _size(x) // max(1, inner), affine=args[2] is not None)


def _batch_norm(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    x, weight = args[0], args[1]
    training = args[5] if len(args) > 5 else kw.get("training", True)
    if isinstance(training, bool) and training:
        return f.normalise(_size(x), x.shape[1], affine=weight is not None)
    # With running statistics: subtract, product, and shift and scale.
    return _size(x) * (4 if weight is not None else 2)


def _group_norm(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return f.normalise(_size(args[0]), args[3] * args[6], affine=args[1] is not None)


def _gelu(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return _size(args[0]) * (9 if kw.get("approximate", "none") == "tanh" else 5)


def _mse(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    n, reduction = _size(args[0]), args[2] if len(args) > 2 else 1
    return 2 * n + (0 if reduction == 0 else n - 1 + (reduction == 1))


def _nll(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    n = _size(args[1])
    return 0 if args[3] == 0 else n - 1 + (args[3] == 1)


def _pool(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    return _size(out) * math.prod(args[1] if len(args[1]) > 1 else args[1] * 2)


def _norm(args: Arguments, kw: Mapping[str, Any], out: Any) -> float:
    # Squares, their sum, a root for each result.
    return 2 * _size(args[0])


_RULES: dict[str, Known] = {}


def _rule(names: str, formula: Formula, kind: str, note: str = "") -> None:
    for name in names.split():
        _RULES[name] = (formula, kind, note)


_rule("mm _sparse_mm _int_mm _scaled_mm", lambda a, k, o: _mm(a[0], a[1]), "matmul", PRODUCTS)
_rule("addmm _addmm_activation sspaddmm", lambda a, k, o: _mm(a[1], a[2]), "matmul", PRODUCTS)
_rule("bmm", lambda a, k, o: _bmm(a[0], a[1]), "matmul", PRODUCTS)
_rule("baddbmm addbmm", lambda a, k, o: _bmm(a[1], a[2]), "matmul", PRODUCTS)
_rule("mv", lambda a, k, o: f.matmul(a[0].shape[0], a[0].shape[1], 1), "matmul", PRODUCTS)
_rule("addmv", lambda a, k, o: f.matmul(a[1].shape[0], a[1].shape[1], 1), "matmul", PRODUCTS)
_rule("dot vdot", lambda a, k, o: 2 * _size(a[0]), "matmul", PRODUCTS)
_rule("ger outer", lambda a, k, o: f.outer(_size(a[0]), _size(a[1])), "matmul", PRODUCTS)
_rule("addr", lambda a, k, o: 2 * f.outer(_size(a[1]), _size(a[2])), "matmul")
_rule("_grouped_mm _scaled_grouped_mm", _grouped_mm, "matmul", PRODUCTS)
_rule("_weight_int4pack_mm _weight_int4pack_mm_for_cpu", _packed_mm, "matmul", PRODUCTS)
_rule("_weight_int8pack_mm _dyn_quant_matmul_4bit", _packed_mm, "matmul", PRODUCTS)
_rule("linear mkldnn_linear _mkldnn_linear _linear_pointwise", _packed_mm, "matmul", PRODUCTS)

_rule("convolution _convolution convolution_overrideable", _conv, "conv", PRODUCTS)
_rule(
    "cudnn_convolution mkldnn_convolution miopen_convolution _convolution_pointwise "
    "_slow_conv2d_forward slow_conv3d_forward thnn_conv2d _conv_depthwise2d conv_depthwise3d "
    "miopen_depthwise_convolution cudnn_convolution_relu cudnn_convolution_add_relu "
    "slow_conv_dilated2d slow_conv_dilated3d",
    _conv_plain, "conv", PRODUCTS,
)  # fmt: skip
_rule(
    "cudnn_convolution_transpose miopen_convolution_transpose slow_conv_transpose2d "
    "slow_conv_transpose3d",
    _conv_transposed, "conv", PRODUCTS,
)  # fmt: skip
_rule("convolution_backward convolution_backward_overrideable", _conv_backward, "conv", PRODUCTS)

_rule(
    "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_cudnn_attention _scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_fused_attention_overrideable flex_attention",
    _attention, "attention", DENSE,
)  # fmt: skip
_rule(
    "_scaled_dot_product_flash_attention_backward _scaled_dot_product_efficient_attention_backward "
    "_scaled_dot_product_cudnn_attention_backward "
    "_scaled_dot_product_flash_attention_for_cpu_backward "
    "_scaled_dot_product_fused_attention_overrideable_backward",
    _attention_backward, "attention", RECOMPUTED,
)  # fmt: skip
_rule("flex_attention_backward", _flex_backward, "attention", RECOMPUTED)
_rule("_native_multi_head_attention", _multi_head, "attention", PRODUCTS)
_rule("_transformer_encoder_layer_fwd", _encoder_layer, "attention", PRODUCTS)

_rule("mkldnn_rnn_layer", _mkldnn_rnn, "rnn", PRODUCTS)
_rule("mkldnn_rnn_layer_backward", _mkldnn_rnn_backward, "rnn", PRODUCTS)
_rule("_cudnn_rnn", _cudnn_rnn, "rnn", PRODUCTS)
_rule("_cudnn_rnn_backward", _cudnn_rnn_backward, "rnn", PRODUCTS)
_rule("_embedding_bag _embedding_bag_forward_only", _embedding_bag, "embedding")

_rule("_fft_r2c _fft_c2r", lambda a, k, o: _fft(a, k, o, real=True), "fft", CONVENTION)
_rule("_fft_c2c", lambda a, k, o: _fft(a, k, o, real=False), "fft", CONVENTION)
_rule("cholesky linalg_cholesky_ex", lambda a, k, o: f.cholesky(*_square(a[0])), "linalg", LEADING)
_rule("linalg_lu_factor_ex linalg_lu _linalg_det _linalg_slogdet", _lu, "linalg", LEADING)
_rule("_linalg_solve_ex linalg_solve", _solve, "linalg", LEADING)
_rule("linalg_solve_triangular", _solve_triangular, "linalg", LEADING)
_rule(
    "linalg_inv_ex inverse linalg_inv", lambda a, k, o: f.inverse(*_square(a[0])), "linalg", LEADING
)
_rule("linalg_qr", _qr, "linalg", LEADING)
_rule(
    "cholesky_solve",
    lambda a, k, o: 2 * f.solve_triangular(*_square(a[1])[:1], a[0].shape[-1], _square(a[1])[1]),
    "linalg", LEADING,
)  # fmt: skip

_rule("_softmax _safe_softmax", _softmax, "elementwise")
_rule("_log_softmax", lambda a, k, o: f.log_softmax(_size(a[0]), 0), "elementwise")
_rule(
    "_softmax_backward_data _log_softmax_backward_data",
    lambda a, k, o: f.softmax_backward(_size(a[0]), _rows(a[0], a[2])), "elementwise",
)  # fmt: skip
_rule("native_layer_norm", _layer_norm, "elementwise")
_rule("native_batch_norm cudnn_batch_norm _native_batch_norm_legit", _batch_norm, "elementwise")
_rule("native_group_norm", _group_norm, "elementwise")
_rule(
    "native_layer_norm_backward native_group_norm_backward native_batch_norm_backward "
    "cudnn_batch_norm_backward batch_norm_backward",
    lambda a, k, o: 12 * _size(a[1]), "elementwise", LEADING,
)  # fmt: skip
_rule("_fused_rms_norm", lambda a, k, o: 4 * _size(a[0]), "elementwise", LEADING)
_rule("_fused_rms_norm_backward", lambda a, k, o: 9 * _size(a[1]), "elementwise", LEADING)
_rule("gelu", _gelu, "elementwise")
_rule("mse_loss", _mse, "reduction")
_rule("mse_loss_backward", lambda a, k, o: 3 * _size(a[1]), "elementwise")
_rule("nll_loss_forward nll_loss2d_forward", _nll, "reduction")
_rule("nll_loss_backward nll_loss2d_backward", lambda a, k, o: _size(a[2]), "elementwise")
_rule("avg_pool2d", _pool, "reduction")
_rule(
    "avg_pool2d_backward", lambda a, k, o: 2 * _size(a[0]) * math.prod(a[2]), "reduction", LEADING
)
_rule(
    "_adaptive_avg_pool2d mean",
    lambda a, k, o: f.reduction(_size(a[0]), _size(o)) + _size(o), "reduction",
)  # fmt: skip
_rule("_adaptive_avg_pool2d_backward", lambda a, k, o: _size(o), "elementwise")
_rule(
    "linalg_vector_norm norm _foreach_norm", lambda a, k, o: 2 * _sizes(a[0]), "reduction", LEADING
)
_rule("var std var_mean std_mean", lambda a, k, o: 4 * _size(a[0]), "reduction", LEADING)
_rule("embedding_dense_backward", lambda a, k, o: _size(a[0]), "reduction", LEADING)
_rule(
    "_embedding_bag_dense_backward",
    lambda a, k, o: _size(a[1]) * a[0].shape[-1],
    "reduction",
    LEADING,
)
_rule("_thnn_fused_lstm_cell", lambda a, k, o: 26 * _size(_first(o)), "elementwise", LEADING)
_rule("_thnn_fused_gru_cell", lambda a, k, o: 16 * _size(_first(o)), "elementwise", LEADING)
_rule("_foreach_addcdiv _foreach_addcmul", lambda a, k, o: 3 * _sizes(a[0]), "elementwise")
_rule("dist _cdist_forward", lambda a, k, o: 3 * _size(a[0]) * a[1].shape[-2], "reduction", LEADING)
_rule("binary_cross_entropy_with_logits", lambda a, k, o: 7 * _size(a[0]), "reduction", LEADING)
_rule("binary_cross_entropy", lambda a, k, o: 6 * _size(a[0]), "reduction", LEADING)
_rule("cross", lambda a, k, o: 3 * _size(o), "elementwise")


def _sizes(x: Any) -> int:
    return sum(_size(t) for t in x) if isinstance(x, (list, tuple)) else _size(x)


#: Not known, and why.
UNKNOWN: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_svd", "linalg_eigvals"),
            *("linalg_lstsq", "linalg_matrix_exp", "_linalg_eigvals"),
        ),
        "iterative: the count depends on the values",
    ),
}


def rule_of(name: str) -> Known | None:
    """The formula for an operation's name, without namespace; None if there is none.

    In-place and out variants (``add_``) are those of the plain one.
    """
    if name in UNKNOWN:
        return None
    for candidate in (name, name.rstrip("_")) if not name.endswith("__") else (name,):
        found = _RULES.get(candidate) or _simple(candidate)
        if found is not None:
            return found
    return None


def _simple(name: str) -> Known | None:
    if name in PER_RESULT:
        each = PER_RESULT[name]
        return (lambda a, k, o: each * _result(a, o) * _scaled(name, k)), "elementwise", ""
    if name in REDUCING:
        each = REDUCING[name]
        return (
            (lambda a, k, o: f.reduction(_size(a[0]), _result(a, o)) + each * _result(a, o)),
            ("reduction"),
            "",
        )
    if name in CHOOSING:
        return (lambda a, k, o: 0), "elementwise", "compares or chooses: no arithmetic"
    if name in MOVING:
        return (lambda a, k, o: 0), "move", ""
    if name in OPTIMISERS:
        each = OPTIMISERS[name]
        return (lambda a, k, o: each * _sizes(a[0])), "elementwise", LEADING
    return None


def _result(args: Arguments, out: Any) -> int:
    """Elements of the result; of what is written in place where nothing is returned."""
    if out is None:
        return _sizes(args[0])
    if isinstance(out, (tuple, list)) and not all(hasattr(t, "shape") for t in out):
        return _sizes(out[0])
    return _sizes(out) if isinstance(out, (tuple, list)) else _size(out)


def _scaled(name: str, kw: Mapping[str, Any]) -> int:
    """``add(x, y, alpha=2)`` multiplies as well."""
    alpha = kw.get("alpha", 1)
    return 2 if name in ("add", "sub", "rsub", "_foreach_add", "_foreach_sub") and alpha != 1 else 1


def names() -> Sequence[str]:
    """All operations whose FLOPs are known."""
    return sorted({*_RULES, *PER_RESULT, *CHOOSING, *MOVING, *REDUCING, *OPTIMISERS})
