"""FLOPs of operations from the shapes of their operands. Pure arithmetic; no framework.

Conventions, which every figure of picojoule follows:

- One multiplication and one addition are 2 FLOP, fused or not: ``2 * MAC``.
- Products of matrices, convolutions, attention and recurrent layers count their products only; a
  bias, a softmax or a gate beside them is left out, as in the published FLOPs of models.
- Padding taps of a convolution count: the usual convention (and that of PyTorch's own counter).
- A mask does not reduce the count of attention: it is the dense equivalent.
- One complex product and sum are 4 real ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = Sequence[int]

# ---- products of matrices ----


def matmul(m: int, k: int, n: int, batch: int = 1) -> int:
    """(batch, m, k) @ (batch, k, n): ``2 m k n`` a batch."""
    return 2 * batch * m * k * n


def outer(m: int, n: int) -> int:
    """Outer product of vectors: one multiplication an element."""
    return m * n


def sparse_matmul(stored: int, n: int) -> int:
    """Sparse (m, k) with ``stored`` elements times dense (k, n): products with stored ones only."""
    return 2 * stored * n


# ---- convolutions ----


def conv(x: Shape, weight: Shape, out: Shape, *, transposed: bool = False) -> int:
    """Any convolution, 1-d to 3-d, grouped, dilated, strided.

    ``weight`` is (C_out, C_in / groups, *kernel), of a transposed one (C_in, C_out / groups,
    *kernel): groups are in its shape. Every tap of the kernel meets every position of the output
    (of the input, transposed) once.
    """
    positions = x[2:] if transposed else out[2:]
    return 2 * x[0] * math.prod(positions) * math.prod(weight)


def conv_backward(
    grad_out: Shape,
    x: Shape,
    weight: Shape,
    *,
    transposed: bool = False,
    wants: Sequence[bool] = (True, True, False),
) -> int:
    """Gradients of a convolution: that of the input and that of the weight cost one forward each.

    The same triples (input, tap, output) meet in all three, whatever the groups. The bias gradient
    is a sum, not a product.
    """
    once = conv(x, weight, grad_out, transposed=transposed)
    return once * (bool(wants[0]) + bool(wants[1]))


# ---- attention ----


def attention(query: Shape, key: Shape, value: Shape) -> int:
    """``softmax(Q K^T) V`` for (..., heads, length, dim); grouped queries share keys.

    Two products for each query head: length_q x dim x length_k, and length_q x length_k x dim_v.
    """
    *lead, s_q, d_q = query
    s_k, d_v = key[-2], value[-1]
    heads = math.prod(lead)
    return matmul(s_q, d_q, s_k, heads) + matmul(s_q, s_k, d_v, heads)


def attention_backward(query: Shape, key: Shape, value: Shape, *, recomputes: bool = True) -> int:
    """Gradients of ``attention``: dV, dP, dQ, dK, and Q K^T again where it was not kept.

    Fused kernels recompute the scores: five products (Dao et al. 2022, Algorithm 4).
    """
    *lead, s_q, d_q = query
    s_k, d_v = key[-2], value[-1]
    heads = math.prod(lead)
    with_scores = 3 if recomputes else 2  # Q K^T again, dQ, dK
    return with_scores * matmul(s_q, d_q, s_k, heads) + 2 * matmul(s_q, s_k, d_v, heads)


def multi_head(batch: int, s_q: int, s_k: int, embed: int, *, same: bool = True) -> int:
    """Multi-head attention with its four projections (in and out), all of width ``embed``."""
    keys = s_q if same else s_k
    projections = matmul(batch * s_q, embed, embed, 2) + matmul(batch * keys, embed, embed, 2)
    return projections + 2 * matmul(s_q, embed, keys, batch)


# ---- recurrent layers ----


def recurrent(tokens: int, weights: Sequence[Shape]) -> int:
    """LSTM, GRU or RNN: each token meets each matrix of each layer and direction once.

    ``weights`` are the matrices (gates x hidden, in) of all layers and directions; biases, which
    have one dimension, are skipped.
    """
    return 2 * tokens * sum(math.prod(w) for w in weights if len(w) == 2)


# ---- Fourier ----


def fft(sizes: Sequence[int], batch: int, *, real: bool = False) -> float:
    """``5 N log2 N`` for a complex transform of ``N`` points, half for a real one.

    The convention of benchmarks of FFTs (J. W. Cooley's split), not what an implementation does.
    """
    n = math.prod(sizes)
    flops = 5.0 * n * math.log2(n) * batch if n > 1 else 0.0
    return flops / 2 if real else flops


# ---- linear algebra: leading terms, LAPACK Working Note 41 ----


def cholesky(n: int, batch: int = 1) -> float:
    """``n^3 / 3``."""
    return batch * n**3 / 3


def lu(m: int, n: int, batch: int = 1) -> float:
    """``m n^2 - n^3 / 3`` for m >= n: 2/3 n^3 for a square one."""
    m, n = max(m, n), min(m, n)
    return batch * (m * n**2 - n**3 / 3)


def solve(n: int, k: int, batch: int = 1) -> float:
    """LU, then ``k`` right sides: ``2/3 n^3 + 2 n^2 k``."""
    return lu(n, n, batch) + batch * 2 * n**2 * k


def solve_triangular(n: int, k: int, batch: int = 1) -> int:
    """``n^2 k``."""
    return batch * n**2 * k


def inverse(n: int, batch: int = 1) -> int:
    """``2 n^3``."""
    return batch * 2 * n**3


def qr(m: int, n: int, batch: int = 1, *, mode: str = "reduced") -> float:
    """Householder: ``2 m n^2 - 2/3 n^3`` for R (m >= n), and as much again for the reduced Q."""
    k = min(m, n)
    factor = 4 * m * n * k - 2 * (m + n) * k**2 + 4 * k**3 / 3
    if mode == "r":
        return batch * factor
    columns = m if mode == "complete" else k
    form = 4 * m * columns * k - 2 * (m + columns) * k**2 + 4 * k**3 / 3
    return batch * (factor + form)


# ---- normalisations and such, by their usual algorithm ----


def softmax(n: int, rows: int) -> int:
    """Subtract, exponential, sum, divide: ``4 n - rows``."""
    return 4 * n - rows


def log_softmax(n: int, _rows: int) -> int:
    """Subtract, exponential, sum, one logarithm a row, subtract: ``4 n``."""
    return 4 * n


def softmax_backward(n: int, rows: int) -> int:
    """Product (or exponential), its sum, subtract, product: ``4 n - rows``."""
    return 4 * n - rows


def normalise(n: int, rows: int, *, affine: bool) -> int:
    """Layer, group or batch normalisation with statistics: mean, variance, scale, shift.

    Mean ``n``, variance ``3 n``, reciprocal root ``2 rows``, product ``n``; ``2 n`` more if affine.
    """
    return 5 * n + 2 * rows + (2 * n if affine else 0)


def reduction(n: int, out: int) -> int:
    """A sum of ``n`` elements into ``out``: ``n - out`` additions."""
    return max(0, n - out)
