"""Which operations of PyTorch work element by element, and how many FLOPs an element takes.

A FLOP is arithmetic that rounds: add, subtract, multiply, divide, a root, or one elementary
function (exp, log, tanh ...), which counts 1 whatever it costs. Comparing, choosing, negating and
moving count 0. Compound functions count the arithmetic of their usual formula.
"""

from __future__ import annotations

#: FLOPs for each element of the result.
PER_RESULT: dict[str, int] = {
    **dict.fromkeys(
        (
            *("add", "sub", "rsub", "mul", "div", "true_divide", "reciprocal", "fmod", "remainder"),
            *("sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow"),
            *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh"),
            *("asinh", "acosh", "atanh", "erf", "erfc", "erfinv", "lgamma", "digamma", "square"),
            *("hypot", "xlogy", "logaddexp", "logaddexp2", "float_power", "angle"),
            *("_foreach_add", "_foreach_sub", "_foreach_mul", "_foreach_div", "_foreach_sqrt"),
            *("_foreach_reciprocal", "_foreach_pow", "_foreach_exp", "_foreach_log"),
            *("leaky_relu", "rad2deg", "deg2rad", "frac", "nextafter", "ldexp"),
        ),
        1,
    ),
    "addcmul": 3,  # self + value * a * b
    "addcdiv": 3,
    "_foreach_addcmul": 3,
    "_foreach_addcdiv": 3,
    "lerp": 3,  # a + w * (b - a)
    "_foreach_lerp": 3,
    "sigmoid": 3,  # 1 / (1 + exp(-x))
    "logit": 3,
    "silu": 4,  # x * sigmoid(x)
    "log_sigmoid_forward": 3,
    "softplus": 2,
    "mish": 4,
    "elu": 2,
    "gelu": 5,  # x / 2 * (1 + erf(x / sqrt 2)); with tanh see torch_ops
    "hardswish": 3,
    "hardsigmoid": 2,
    "native_dropout": 2,  # times the mask, times the scale
    "sigmoid_backward": 3,  # g * y * (1 - y)
    "tanh_backward": 3,  # g * (1 - y * y)
    "silu_backward": 8,  # s = sigmoid(x): g * s * (1 + x * (1 - s))
    "gelu_backward": 10,
    "elu_backward": 2,
    "leaky_relu_backward": 1,
    "native_dropout_backward": 2,
    "hardswish_backward": 3,
    "softplus_backward": 3,
}

#: 0 FLOP for each element: comparing, choosing, rounding to integers, logic.
CHOOSING = frozenset(
    (
        *("abs", "neg", "sign", "relu", "relu6", "clamp", "clamp_min", "clamp_max", "hardtanh"),
        *("maximum", "minimum", "fmax", "fmin", "where", "eq", "ne", "lt", "le", "gt", "ge"),
        *("logical_and", "logical_or", "logical_not", "logical_xor", "isnan", "isinf", "isfinite"),
        *("bitwise_and", "bitwise_or", "bitwise_not", "bitwise_xor", "floor", "ceil", "round"),
        *("trunc", "signbit", "copysign", "threshold", "threshold_backward", "hardtanh_backward"),
        *(
            "max",
            "min",
            "amax",
            "amin",
            "aminmax",
            "argmax",
            "argmin",
            "any",
            "all",
            "sort",
            "topk",
        ),
        *("_foreach_neg", "_foreach_abs", "_foreach_maximum", "_foreach_minimum", "kthvalue"),
        *("__and__", "__or__", "__xor__", "__lshift__", "__rshift__", "isin", "equal", "nonzero"),
        *("_foreach_clamp_min", "_foreach_clamp_max", "searchsorted", "bucketize", "unique_dim"),
        *("_unique2", "cummax", "cummin", "floor_divide", "sgn", "isposinf", "isneginf", "mode"),
        *("max_pool2d_with_indices", "max_pool2d_with_indices_backward", "median"),
        *("max_pool3d_with_indices", "max_pool3d_with_indices_backward", "heaviside", "nan_to_num"),
    )
)

#: 0 FLOP: makes, copies or rearranges. Views are recognised by themselves.
MOVING = frozenset(
    (
        *("unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "_linalg_check_errors"),
        *("clone", "copy", "_to_copy", "contiguous", "cat", "stack", "index", "index_select"),
        *("index_put", "_index_put_impl", "index_copy", "index_fill", "gather", "masked_fill"),
        *("masked_select", "masked_scatter", "scatter", "select_scatter", "slice_scatter"),
        *("diagonal_scatter", "as_strided_scatter", "repeat", "flip", "roll", "rot90", "tril"),
        *("triu", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d"),
        *("replication_pad2d", "embedding", "embedding_renorm", "fill", "zero", "zeros", "ones"),
        *("full", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
        *("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like"),
        *("scalar_tensor", "arange", "linspace", "eye", "tril_indices", "triu_indices"),
        *("lift_fresh", "lift_fresh_copy", "rand", "randn", "randint", "randperm", "rand_like"),
        *("randn_like", "randint_like", "bernoulli", "normal", "uniform", "random", "exponential"),
        *("multinomial", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "take"),
        *("put", "one_hot", "_local_scalar_dense", "item", "is_same_size", "set", "resize"),
        *("_pack_padded_sequence", "_pad_packed_sequence", "im2col", "unfold_copy", "_unsafe_view"),
        *(
            "_copy_from",
            "_copy_from_and_resize",
            "copy_",
            "_pin_memory",
            "is_pinned",
            "record_stream",
        ),
        *(
            "_foreach_copy",
            "_foreach_zero",
            "split_with_sizes_copy",
            "unbind_copy",
            "repeat_interleave",
        ),
        *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "slice_backward"),
        *(
            "select_backward",
            "unfold_backward",
            "_reshape_alias",
            "_fused_dropout",
            "channel_shuffle",
        ),
        *("permute_copy", "view_copy", "expand_copy", "transpose_copy", "block_diag", "vander"),
        *("_cudnn_init_dropout_state", "count_nonzero", "histc", "bincount", "detach", "alias"),
        *("_assert_async", "_functional_assert_async", "_assert_tensor_metadata", "complex"),
        *("polar_", "view_as_real", "view_as_complex", "real", "imag", "conj", "_conj"),
        *(
            "resolve_conj",
            "resolve_neg",
            "sparse_coo_tensor",
            "_coalesce",
            "_nnz",
            "values",
            "indices",
        ),
        *(
            "crow_indices",
            "col_indices",
            "_indices",
            "_values",
            "to_dense",
            "_to_dense",
            "to_sparse",
        ),
        *(
            "_to_sparse",
            "_to_sparse_csr",
            "_sparse_coo_tensor_with_dims_and_indices",
            "sparse_mask",
        ),
        *(
            "_sparse_coo_tensor_unsafe",
            "_sparse_csr_tensor_unsafe",
            "_sparse_compressed_tensor_unsafe",
        ),
        *("is_coalesced", "_coalesced", "_validate_sparse_csr_tensor_args", "lift"),
        *("_validate_sparse_compressed_tensor_args", "_validate_sparse_coo_tensor_args"),
        *("_convert_indices_from_coo_to_csr", "_convert_indices_from_csr_to_coo"),
        *(
            "_has_compatible_shallow_copy_type",
            "_fill_mem_eff_dropout_mask",
            "dense_dim",
            "sparse_dim",
        ),
    )
)

#: Sums and such: ``n - out`` additions, plus so many FLOPs for each element of the result.
REDUCING: dict[str, int] = {
    "sum": 0,
    "nansum": 0,
    "mean": 1,
    "prod": 0,
    "cumsum": 0,
    "cumprod": 0,
    "logsumexp": 1,
    "scatter_add": 0,
    "index_add": 0,
    "trace": 0,
}

#: FLOPs an element of one optimiser step (weights, gradients and states are lists).
OPTIMISERS: dict[str, int] = {
    # m: lerp 3; v: 2 products and the sum with one more, 4; root, divide, add 3; step 3
    "_fused_adam": 13,
    "_fused_adamw": 13,
    "_fused_sgd": 2,
    "_fused_adagrad": 5,
}
