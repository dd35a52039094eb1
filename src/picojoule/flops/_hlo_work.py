"""What some HLO operations do: their FLOPs by kind and type, and what is not known of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_FLOAT = re.compile(r"^(f\d|bf16|c64|c128)")


@dataclass(slots=True)
class Work:
    """What one run of some operations does."""

    #: FLOPs by (kind, type), of what is known.
    parts: dict[tuple[str, str], float] = field(default_factory=dict)
    transcendentals: float = 0.0
    #: FLOPs of ``parts`` that are multiplications with padding.
    padding: float = 0.0
    notes: list[str] = field(default_factory=list)
    #: Why some FLOPs are missing in ``parts``; empty if none are.
    unknown: list[str] = field(default_factory=list)

    @property
    def flops(self) -> float:
        """All that is known."""
        return math.fsum(self.parts.values())

    def add(self, other: Work, times: float = 1.0) -> None:
        """``times`` runs of ``other`` come on top."""
        for key, flops in other.parts.items():
            self.parts[key] = self.parts.get(key, 0.0) + times * flops
        self.transcendentals += times * other.transcendentals
        self.padding += times * other.padding
        for mine, its in ((self.notes, other.notes), (self.unknown, other.unknown)):
            mine += [text for text in its if text not in mine]

    @property
    def main(self) -> tuple[str, str]:
        """Kind and type of most of the FLOPs; products go before anything else."""
        if not self.parts:
            return ("opaque" if self.unknown else "move", "")
        light = ("elementwise", "reduction", "move")
        return max(self.parts, key=lambda key: (key[0] not in light, self.parts[key]))


def known(kind: str, type: str, flops: float, *notes: str) -> Work:
    """Work of which all is known."""
    return Work(parts={(kind, type): float(flops)} if flops else {}, notes=list(notes))


def opaque(why: str) -> Work:
    """Work of which nothing is known."""
    return Work(unknown=[why])


# ---- types ----


def is_float(type: str) -> bool:
    """Whether arithmetic in this element type is floating point (complex included)."""
    return bool(_FLOAT.match(type))


def scalar_type(type: str) -> str:
    """The type of element-wise arithmetic in an element type."""
    if type in ("f64", "c128"):
        return "fp64"
    if type in ("f16", "bf16"):
        return "fp16" if type == "f16" else "bf16"
    return "fp32" if is_float(type) else "int"


def product_type(types: Sequence[str], algorithm: str, precision: str, platform: str) -> str:
    """The type of a matrix product of these element types.

    On a GPU XLA computes products of f32 in TF32 unless HIGHEST precision or an algorithm forbids
    it (``IsTf32Allowed`` of XLA's matmul_utils.cc); before Ampere the hardware has no TF32 and they
    are fp32. Without tensor units (CPU) a product has the type of its elements.
    """
    algorithm = algorithm.lower().removeprefix("alg_").removeprefix("dot_")
    named = "unset" not in algorithm and re.match(r"(any_)?(f8|tf32|bf16|f16|f32|f64)", algorithm)
    type = min(types, key=_width)
    if named and platform != "cpu":
        type = named[2]
        precision = "HIGHEST"
    if platform == "cpu":
        return scalar_type(type)
    if type.startswith(("f8", "f4")):
        return "tensor-fp8"
    if type in ("s8", "u8", "s4", "u4"):
        return "tensor-int8"
    if type == "f32" and platform == "gpu" and "HIGHEST" not in precision.upper():
        return "tensor-tf32"
    tensor = {"bf16": "tensor-bf16", "f16": "tensor-fp16", "tf32": "tensor-tf32"}
    return tensor.get(type) or scalar_type(type)


def _width(type: str) -> int:
    match = re.search(r"\d+", type)
    return int(match[0]) if match else 0
