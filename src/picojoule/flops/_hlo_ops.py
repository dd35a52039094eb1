"""FLOPs of one HLO operation, from its shapes and attributes.

Conventions. One FMA is 2 FLOP. A transcendental function is 1 FLOP, and counted once more by
itself. A complex addition is 2 FLOP, a complex multiplication 6. Arithmetic of integers and
booleans is no FLOP, and neither is a comparison, a selection or a conversion; only matrix products
of integers count, as what vendors call OPS. Reducing n numbers takes n - 1 operations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from picojoule.flops._hlo_conv import convolution, taps, touching, window
from picojoule.flops._hlo_parse import HloSyntaxError, Instruction, Shape
from picojoule.flops._hlo_work import Work, is_float, known, opaque, product_type, scalar_type


def names(text: str) -> frozenset[str]:
    """The words of ``text``."""
    return frozenset(text.split())


#: Real FLOP and complex FLOP of one element; nan where the complex count has no convention.
ARITHMETIC: dict[str, tuple[float, float]] = {
    "add": (1, 2),
    "subtract": (1, 2),
    "multiply": (1, 6),
    "divide": (1, math.nan),
    "remainder": (1, math.nan),
    "negate": (1, 2),
    "abs": (1, math.nan),
    "maximum": (1, math.nan),
    "minimum": (1, math.nan),
    "clamp": (2, math.nan),
    "floor": (1, math.nan),
    "ceil": (1, math.nan),
    "round-nearest-afz": (1, math.nan),
    "round-nearest-even": (1, math.nan),
    "sign": (1, math.nan),
}
TRANSCENDENTAL = names(
    """exponential exponential-minus-one log log-plus-one logistic tanh sine cosine tan sqrt rsqrt
    cbrt power atan2 erf asin acos asinh acosh atanh sinh cosh"""
)
#: Data movement, comparisons, selections, bit operations: no FLOP at all.
MOVES = names(
    """broadcast reshape transpose copy slice dynamic-slice dynamic-update-slice concatenate pad
    reverse gather iota convert select compare and or xor not shift-left shift-right-arithmetic
    shift-right-logical popcnt count-leading-zeros real imag complex is-finite sort
    reduce-precision stochastic-convert rng-bit-generator rng-get-and-update-state topk infeed
    outfeed send recv all-gather all-to-all ragged-all-to-all collective-permute
    collective-broadcast dynamic-reshape"""
)
#: No work and no launch: names for values.
NOTHING = names(
    """parameter constant tuple get-tuple-element bitcast bitcast-convert after-all partition-id
    replica-id add-dependency optimization-barrier get-dimension-size set-dimension-size domain
    """
)
_REDUCING = frozenset({"all-reduce", "reduce-scatter"})


# ---- operations ----


def operation(
    instruction: Instruction,
    operands: Sequence[Shape],
    platform: str,
    applied: Callable[[str], Work],
) -> Work:
    """Work of one instruction that is no call, loop, branch or custom call.

    ``applied`` gives the work of a computation applied to one element.
    """
    op = instruction.opcode
    shape = instruction.shape
    type = shape.first.type
    if op in NOTHING or op in MOVES:
        return Work()
    if op in ARITHMETIC or op in TRANSCENDENTAL:
        return _elementwise(op, shape, operands)
    if op in ("dot", "ragged-dot", "scaled-dot"):
        return dot(
            operands[0],
            operands[1],
            shape.first,
            instruction.numbers("lhs_contracting_dims"),
            instruction.attributes.get("algorithm", ""),
            instruction.attributes.get("operand_precision", ""),
            platform,
        )
    if op == "convolution":
        return convolution(instruction, operands[0], operands[1], shape.first, platform)
    if op in _REDUCING:
        if not is_float(type):
            return Work()
        return opaque(f"{op}: additions depend on the network's algorithm")
    if op in ("reduce", "reduce-window", "map", "scatter", "select-and-scatter"):
        return _applying(instruction, operands, applied)
    if op == "fft":
        return _fft(instruction, operands)
    if op == "cholesky":
        n = shape.first.dims[-1]
        batch = shape.first.elements // max(1, n * n)
        return linalg("potrf", n, n, batch, type)
    if op == "triangular-solve":
        n = operands[0].dims[-1]
        return linalg("trsm", n, operands[1].elements // max(1, n), 1, type)
    return opaque(f"{op}: no formula for this operation")


def _elementwise(op: str, shape: Shape, operands: Sequence[Shape]) -> Work:
    type = operands[0].first.type if operands else shape.type
    if not is_float(type):
        return Work()
    elements = shape.elements
    complex_ = type.startswith("c")
    if op in TRANSCENDENTAL:
        if complex_:
            return opaque(f"{op} of complex numbers: no convention for its FLOPs")
        work = known("elementwise", scalar_type(type), elements)
        work.transcendentals = float(elements)
        return work
    each = ARITHMETIC[op][complex_]
    if math.isnan(each):
        return opaque(f"{op} of complex numbers: no convention for its FLOPs")
    return known("elementwise", scalar_type(type), elements * each)


def dot(
    lhs: Shape,
    rhs: Shape,
    out: Shape,
    contracting: Sequence[int],
    algorithm: str,
    precision: str,
    platform: str,
) -> Work:
    """2 FLOP (8 for complex numbers) for each element of the result and of the contracted sizes."""
    depth = math.prod(lhs.dims[d] for d in contracting)
    each = 8 if lhs.type.startswith("c") else 2
    type = product_type([lhs.type, rhs.type], algorithm, precision, platform)
    notes = []
    repeats = re.search(r"_x(\d+)$", algorithm.lower())
    if repeats:
        notes.append(f"the algorithm multiplies {repeats[1]} times; counted once")
    if type == "tensor-tf32" and lhs.type == "f32" and "tf32" not in algorithm.lower():
        notes.append("f32 at default precision: TF32 where the device has it, else fp32")
    if lhs.dynamic or out.dynamic:
        notes.append("sizes are upper bounds")
    return known("matmul", type, each * out.elements * depth, *notes)


def _applying(
    instruction: Instruction, operands: Sequence[Shape], applied: Callable[[str], Work]
) -> Work:
    op = instruction.opcode
    shape = instruction.shape
    if op == "reduce":
        times = operands[0].elements - shape.first.elements
        return _times(applied(_body(instruction, "to_apply")), times, "reduction")
    if op == "map":
        return _times(applied(_body(instruction, "to_apply")), shape.elements, "")
    if op == "scatter":
        arrays = len(shape.parts) if shape.parts is not None else 1
        updates = operands[arrays + 1].elements
        return _times(applied(_body(instruction, "to_apply")), updates, "elementwise")
    w = window(instruction.attributes.get("window", ""))
    if op == "select-and-scatter":
        # The selection compares, the scatter applies once for each element of the source.
        return _times(applied(_body(instruction, "scatter")), operands[1].elements, "reduction")
    pairs = windows = 1
    for d, (to, into) in enumerate(zip(shape.first.dims, operands[0].dims, strict=True)):
        size = w["size"][d][0] if "size" in w else 1
        pairs *= taps(to, size, into, w, d)
        windows *= touching(to, size, into, w, d)
    return _times(applied(_body(instruction, "to_apply")), pairs - windows, "reduction")


def _body(instruction: Instruction, key: str) -> str:
    names = instruction.calls(key)
    if not names:
        raise HloSyntaxError(f"{instruction.name}: a {instruction.opcode} without {key}")
    return names[0]


def _times(each: Work, times: int, kind: str) -> Work:
    """``times`` applications; their FLOPs are of ``kind``, if one is given."""
    work = Work()
    work.add(each, float(times))
    if kind:
        parts: dict[tuple[str, str], float] = {}
        for (_, type), flops in work.parts.items():
            parts[kind, type] = parts.get((kind, type), 0.0) + flops
        work.parts = parts
    return work


def _fft(instruction: Instruction, operands: Sequence[Shape]) -> Work:
    lengths = instruction.numbers("fft_length")
    n = math.prod(lengths)
    kind = instruction.attributes.get("fft_type", "FFT")
    real = kind in ("RFFT", "IRFFT")
    full = instruction.shape.first if kind == "IRFFT" else operands[0]
    batch = full.elements // max(1, n)
    flops = (2.5 if real else 5.0) * n * math.log2(n) * batch if n > 1 else 0.0
    return known(
        "fft",
        scalar_type(operands[0].type),
        flops,
        "5 n log2(n) FLOP for a complex transform, half for a real one: the convention of FFTW's "
        "benchmarks, not a count",
    )


def linalg(routine: str, m: int, n: int, batch: int, type: str) -> Work:
    """FLOPs of a LAPACK routine on ``batch`` matrices of m x n, by LAPACK Working Note 41.

    For ``trsm``, m is the order of the triangle and n the number of right-hand sides. All routines
    but potrf, getrf, geqrf and trsm are opaque: many iterate, as often as their data need.
    """
    if type.startswith("c"):
        return opaque(f"{routine} of complex numbers: no formula")
    k = min(m, n)
    if routine == "potrf":
        each = n**3 / 3 + n**2 / 2 + n / 6
    elif routine == "getrf":
        # Eliminating column i: m-i-1 divisions and 2 (m-i-1) (n-i-1) of the update.
        each = sum((m - i - 1) + 2.0 * (m - i - 1) * (n - i - 1) for i in range(k))
    elif routine == "geqrf":
        if m >= n:
            each = 2.0 * m * n**2 - 2 * n**3 / 3 + m * n + n**2 + 14 * n / 3
        else:
            each = 2.0 * n * m**2 - 2 * m**3 / 3 + 3 * n * m - m**2 + 14 * m / 3
    elif routine == "trsm":
        each = float(m) * m * n
    else:
        return opaque(f"{routine}: no formula for this routine")
    return known(
        "linalg",
        scalar_type(type),
        each * batch,
        "operations of the textbook algorithm (LAPACK Working Note 41); blocked ones do more",
    )
