"""FLOPs of custom calls: what XLA hands to cuBLAS, cuDNN, cuSOLVER, LAPACK, oneDNN or Pallas.

Sizes come from the shapes of operands and results and from ``backend_config``; a target that is not
known here stays unknown, it is never guessed from its shapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from picojoule.flops._hlo_conv import convolution
from picojoule.flops._hlo_ops import dot, linalg, names
from picojoule.flops._hlo_parse import Instruction, Shape
from picojoule.flops._hlo_work import Work, known, opaque, product_type

#: Markers and bookkeeping: no arithmetic of floating point.
_NO_FLOPS = names(
    """Sharding SPMDFullToShardShape SPMDShardToFullShape annotate_device_placement MoveToHost
    MoveToDevice PinToDevice AllocateBuffer AssumeGatherIndicesInBound LayoutConstraint
    xla.sdy.FuncResultSharding X64Combine X64SplitLow X64SplitHigh TopK __gpu$TopK
    cu_lu_pivots_to_permutation cu_threefry2x32 cu_threefry2x32_ffi __cub$DeviceRadixSort
    __cub$DeviceRadixSortUnassignedScratchSize annotate_bounded_memory
    """
)
_ESTIMATE = re.compile(r"cost_estimate\W{1,8}\{([^{}]*)\}")
_FIGURE = re.compile(r"\b(flops|transcendentals|bytes_accessed)\b\W{1,8}(-?[\d.eE+]+)")
_SOLVER = re.compile(
    r"^(?:lapack_[sdcz]|cusolver_|cublas_|hipsolver_|hipblas_)(\w*?)"
    r"(potrf|getrf|geqrf|trsm)(?:_batched)?(?:_ffi)?$"
)
_LIBRARY = re.compile(r"^(?:lapack_[sdcz]|cusolver_|hipsolver_)(\w+?)(?:_ffi)?$")


def custom_call(
    instruction: Instruction, operands: Sequence[Shape], platform: str
) -> tuple[Work, float]:
    """Work of a custom call, and its bytes where it says so itself (else nan)."""
    target = instruction.string("custom_call_target")
    estimate = _estimate(instruction)
    if estimate is not None:
        return estimate
    if target in _NO_FLOPS:
        return Work(), math.nan
    work = _library(target, instruction, operands, platform)
    if work is None:
        work = opaque(f"custom call {target}: XLA does not say what it computes")
    return work, math.nan


def _estimate(instruction: Instruction) -> tuple[Work, float] | None:
    """What the author of a Pallas kernel says it costs."""
    text = instruction.attributes.get("backend_config", "").replace('\\"', '"')
    found = _ESTIMATE.search(text)
    if not found:
        return None
    figures = {key: float(value) for key, value in _FIGURE.findall(found[1])}
    bytes_ = figures.get("bytes_accessed", math.nan)
    if not figures.get("flops", 0) and not figures.get("transcendentals", 0):
        # A field at its default is left out of the text, so no FLOPs may also mean not given.
        return opaque("a Pallas kernel whose cost_estimate gives no FLOPs"), bytes_
    transcendentals = figures.get("transcendentals", 0.0)
    work = known(
        "opaque",
        "",
        figures.get("flops", 0.0) + transcendentals,
        "the cost_estimate of the kernel's author",
    )
    work.transcendentals = transcendentals
    return work, bytes_


def _library(
    target: str, instruction: Instruction, operands: Sequence[Shape], platform: str
) -> Work | None:
    config = instruction.config
    out = _result(instruction)
    if target in ("__cublas$gemm", "__cublas$lt$matmul", "__cublas$lt$matmul$f8", "__triton_gemm"):
        return _gemm(
            _section(config, "gemm_backend_config", "dot_dimension_numbers"), operands, out
        )
    if target.startswith("__cudnn$conv"):
        return _cudnn_convolution(target, instruction, operands, out, platform)
    if target.startswith("__cudnn$fmha"):
        return _attention(
            target,
            _section(config, "cudnn_fmha_backend_config", "intermediate_tensor_shape"),
            operands,
            out,
        )
    if target == "__onednn$matmul":
        return _onednn(config, operands, out)
    if target == "__onednn$convolution":
        return opaque("oneDNN convolution: its layout is not in the HLO text")
    if target in ("Cholesky", "__cusolver$cholesky"):
        n = out.dims[-1]
        return linalg("potrf", n, n, out.elements // max(1, n * n), out.type)
    if target in ("TriangularSolve", "__cublas$triangularSolve"):
        return _triangular(operands)
    solver = _SOLVER.match(target)
    if solver:
        a = operands[0]
        if solver[2] == "trsm":
            return _triangular(operands)
        m, n = a.dims[-2:]
        return linalg(solver[2], m, n, a.elements // max(1, m * n), a.type)
    library = _LIBRARY.match(target)
    if library:
        return linalg(library[1], 0, 0, 0, out.type)
    return None


def _result(instruction: Instruction) -> Shape:
    """The result; the workspace that some calls return beside it comes later in the tuple."""
    return instruction.shape.first


def _section(config: dict[str, Any], name: str, marker: str) -> dict[str, Any]:
    """The part of a backend config; older versions of XLA have no level above it."""
    part = config.get(name)
    if isinstance(part, dict):
        return part
    return config if marker in config else {}


def _dims(numbers: dict[str, Any], key: str) -> list[int]:
    return [int(d) for d in numbers.get(key, [])]


def _gemm(config: dict[str, Any], operands: Sequence[Shape], out: Shape) -> Work:
    numbers = config.get("dot_dimension_numbers")
    if not isinstance(numbers, dict):
        return opaque("a cuBLAS call without dot_dimension_numbers")
    precision = config.get("precision_config", {})
    work = dot(
        operands[0],
        operands[1],
        out,
        _dims(numbers, "lhs_contracting_dimensions"),
        str(precision.get("algorithm", "")),
        ",".join(str(p) for p in precision.get("operand_precision", [])),
        "gpu",
    )
    epilogue = str(config.get("epilogue", "DEFAULT"))
    if epilogue != "DEFAULT":
        work.notes.append(f"without the epilogue {epilogue}")
    return work


def _cudnn_convolution(
    target: str, instruction: Instruction, operands: Sequence[Shape], out: Shape, platform: str
) -> Work:
    """The labels are those of the forward convolution, whichever gradient is computed."""
    if "dim_labels" not in instruction.attributes or len(operands) < 2:
        return opaque(f"{target} without dim_labels")
    if target == "__cudnn$convBackwardInput":
        lhs, rhs, result = out, operands[1], operands[0]
    elif target == "__cudnn$convBackwardFilter":
        lhs, rhs, result = operands[0], out, operands[1]
    else:
        lhs, rhs, result = operands[0], operands[1], out
    if "?" in instruction.attributes["dim_labels"]:
        return opaque(f"{target} in a vectorised layout")
    work = convolution(instruction, lhs, rhs, result, platform or "gpu")
    if target in ("__cudnn$convBiasActivationForward", "__cudnn$convForwardGraph"):
        work.notes.append("without what is fused behind the convolution")
    return work


def _attention(target: str, config: dict[str, Any], operands: Sequence[Shape], out: Shape) -> Work:
    """Two products forward; five backward, as cuDNN computes the scores again."""
    backward = "Backward" in target
    sizes = config.get("intermediate_tensor_shape", {}).get("dimensions", [])
    if not sizes or len(operands) < 3:
        return opaque(f"{target} without the shape of its scores")
    if "f8" in target.lower():
        type = "tensor-fp8"
    else:
        type = product_type([operands[0].type], "", "", "gpu")
    scores = math.prod(int(size) for size in sizes)
    # Query, key and value have the head's size last, in all layouts that XLA hands to cuDNN. The
    # scores are those of the query's heads, of which a group may share a key.
    head, value = operands[0].dims[-1], operands[2].dims[-1]
    first, second = 2.0 * scores * head, 2.0 * scores * value
    notes = ["without the softmax"]
    if "CAUSAL" in str(config.get("mask_type", "")).upper() or config.get("sliding_window_length"):
        notes.append("dense: the masked half is counted")
    flops = 3 * first + 2 * second if backward else first + second
    return known("attention", type, flops, *notes)


def _onednn(config: dict[str, Any], operands: Sequence[Shape], out: Shape) -> Work:
    section = config.get("onednn_matmul_config", config)
    lhs = operands[0]
    transposed = bool(section.get("transpose_a")) if isinstance(section, dict) else False
    depth = lhs.dims[-2] if transposed and len(lhs.dims) > 1 else lhs.dims[-1]
    return known("matmul", product_type([lhs.type], "", "", "cpu"), 2.0 * out.elements * depth)


def _triangular(operands: Sequence[Shape]) -> Work:
    n = operands[0].dims[-1]
    return linalg("trsm", n, operands[1].elements // max(1, n), 1, operands[1].type)
