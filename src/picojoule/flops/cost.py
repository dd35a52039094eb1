"""What one operation, or one launch of a kernel, costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: How a cost was got.
SOURCES = ("aten", "user", "triton", "inductor", "hlo", "cublas", "counter")
#: What was computed with. A "tensor-" type is one of the units that multiply small matrices.
TYPES = (
    *("tensor-bf16", "tensor-fp16", "tensor-tf32", "tensor-fp8", "tensor-int8"),
    *("fp64", "fp32", "fp16", "bf16", "int"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs and bytes of one call.

    Attributes:
        flops: one multiply-add is 2; nan where not known, never 0 for that.
        bytes: least traffic: every input read once, every result written once; nan where not known.
        type: one of ``TYPES``; "" where not known, or nothing is computed.
        source: one of ``SOURCES``.
        kind: "matmul", "conv", "attention", "rnn", "fft", "linalg", "elementwise", "reduction",
            "embedding", "move" or "opaque".
        note: what a reader must know, such as a convention that the number follows.
    """

    flops: float
    bytes: float
    type: str
    source: str
    kind: str
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether its FLOPs are known."""
        return not math.isnan(self.flops)
