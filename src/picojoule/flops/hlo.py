"""FLOPs and bytes of XLA's programs, from their optimised text: what runs, how often.

XLA's own ``cost_analysis()`` counts the body of a loop once and takes 1 away for a call that it
cannot see into. Here a loop counts as often as it runs where the compiler knows that, and what
cannot be seen is nan by itself and missing from the total by name.

Conventions are those of ``formulas``, but for convolutions: as XLA counts them, taps that fall on
padding, or into the holes of a dilated input, are left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picojoule.flops import formulas
from picojoule.flops._hlo_text import Array, Instruction, Program, parse
from picojoule.flops.cost import Cost

_ONE = frozenset(
    (
        *("add", "subtract", "multiply", "divide", "power", "remainder", "atan2", "exponential"),
        *("exponential-minus-one", "log", "log-plus-one", "tanh", "sqrt", "rsqrt", "cbrt", "sine"),
        *("cosine", "tan", "erf", "acos", "acosh", "asin", "asinh", "atanh", "cosh", "sinh"),
    )
)
_MORE = {"logistic": 3}
_COMPLEX = {"add": 2, "subtract": 2, "multiply": 6, "divide": 11}
#: Nothing is computed, nor launched: not a kernel.
_SILENT = frozenset(
    (
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
        *("partition-id", "replica-id", "opt-barrier", "add-dependency", "async-update"),
        *("async-done", "copy-done", "domain", "get-dimension-size"),
    )
)
_HARMLESS_CALLS = ("Sharding", "SPMD", "annotate_device_placement", "TopK", "AllocateBuffer", "Mov")
_TYPES = {
    "f64": "fp64", "c128": "fp64", "f32": "fp32", "c64": "fp32", "f16": "fp16", "bf16": "bf16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HloKernel:
    """One thing that is launched: a fusion, a product, a call."""

    name: str  # the instruction's; as a kernel of a GPU its dots are underscores
    op_name: str  # where in the user's program
    cost: Cost  # of one execution
    times: float  # executions in one run of the program; nan where only the run knows

    @property
    def kernel_name(self) -> str:
        """Its name as a profiler of the GPU sees it."""
        return self.name.replace(".", "_").replace("-", "_")


@dataclass(frozen=True, slots=True)
class HloCosts:
    """The costs of a whole program, by kernel."""

    kernels: tuple[HloKernel, ...]

    @property
    def flops(self) -> float:
        """FLOPs of one run, of all kernels whose FLOPs are known; see ``unknown``."""
        return math.fsum(k.cost.flops * k.times for k in self._known)

    @property
    def bytes(self) -> float:
        """Bytes of one run, of the same kernels."""
        return math.fsum(k.cost.bytes * k.times for k in self._known)

    @property
    def by_type(self) -> Mapping[str, float]:
        """FLOPs by type of arithmetic."""
        out: dict[str, float] = {}
        for k in self._known:
            if k.cost.flops:
                out[k.cost.type] = out.get(k.cost.type, 0.0) + k.cost.flops * k.times
        return out

    @property
    def unknown(self) -> tuple[HloKernel, ...]:
        """Kernels whose FLOPs, or whose number of executions, are not known."""
        return tuple(k for k in self.kernels if math.isnan(k.cost.flops * k.times))

    @property
    def _known(self) -> Sequence[HloKernel]:
        return [k for k in self.kernels if not math.isnan(k.cost.flops * k.times)]


def costs(text: str, *, gpu: bool = False) -> HloCosts:
    """The costs of the program in ``text``.

    Args:
        text: ``jax.jit(f).lower(...).compile().as_text()``.
        gpu: whether it is for a GPU, where products of narrow types run on tensor units.

    Raises:
        ValueError: it is not the text of a program.
    """
    program = parse(text)
    walker = _Walker(program, gpu)
    walker.walk(program.entry, 1.0)
    return HloCosts(tuple(walker.found))


class _Walker:
    def __init__(self, program: Program, gpu: bool) -> None:
        self._program = program
        self._gpu = gpu
        self.found: list[HloKernel] = []

    def walk(self, computation: str, times: float) -> None:
        """Note each launch in a computation that is run, as often as it is."""
        for line in self._program.computations.get(computation, {}).values():
            if line.opcode in _SILENT:
                continue
            if line.opcode == "while":
                self._loop(line, times)
            elif line.opcode == "conditional":
                self._branches(line, times)
            elif line.opcode == "call" or (line.opcode == "async-start" and line.called):
                for name in line.called:
                    self.walk(name, times)
            else:
                cost = self._cost(line, computation)
                self.found.append(HloKernel(line.name, line.op_name, cost, times))

    def _loop(self, line: Instruction, times: float) -> None:
        trips = re.search(r'known_trip_count"?\s*[:=]\s*\{"?n"?\s*:\s*"?(\d+)', line.attributes)
        each = times * int(trips[1]) if trips else math.nan
        self.walk(line.attribute("body").lstrip("%"), each)

    def _branches(self, line: Instruction, times: float) -> None:
        # Which branch is taken only the run knows: fine where all cost the same.
        branches = []
        for name in dict.fromkeys(line.called):
            inner = _Walker(self._program, self._gpu)
            inner.walk(name, 1.0)
            branches.append(inner.found)
        totals = {math.fsum(k.cost.flops * k.times for k in found) for found in branches}
        if len(totals) == 1 and not any(math.isnan(t) for t in totals):
            most = max(branches, key=len)
            self.found += [HloKernel(k.name, k.op_name, k.cost, times * k.times) for k in most]
            return
        for found in branches:
            self.found += [HloKernel(k.name, k.op_name, k.cost, math.nan) for k in found]

    def _cost(self, line: Instruction, computation: str) -> Cost:
        flops, kind, dtype, note = self._flops(line, computation)
        operands = self._operands(line, computation)
        moved = sum(a.nbytes for a in operands) + sum(a.nbytes for a in line.results)
        known = not math.isnan(flops)
        return Cost(
            flops=flops,
            bytes=float(moved),
            type=self._type(dtype, kind) if known and flops else "",
            source="hlo" if known else "",
            kind=kind,
            note=note,
        )

    def _operands(self, line: Instruction, computation: str) -> list[Array]:
        here = self._program.computations[computation]
        return [a for name in line.operands if name in here for a in here[name].results]

    def _type(self, dtype: str, kind: str) -> str:
        name = "fp8" if dtype.startswith("f8") else _TYPES.get(dtype, "")
        if self._gpu and kind in ("matmul", "conv") and name in ("bf16", "fp16", "fp8"):
            return f"tensor-{name}"
        return "" if name == "fp8" else name

    def _flops(self, line: Instruction, computation: str) -> tuple[float, str, str, str]:
        """(FLOPs of one execution, kind, dtype, note)."""
        result = line.results[0] if line.results else Array("opaque", ())
        operands = self._operands(line, computation)
        lead = operands[0] if operands else result
        op = line.opcode
        if op in ("fusion", "map", "async-start"):
            return self._inside(line, result)
        if op in ("dot", "ragged-dot"):
            return (
                _dot(line.numbers("lhs_contracting_dims"), lead, result),
                "matmul",
                lead.dtype,
                "",
            )
        if op == "convolution":
            return _conv(line, lead, operands[1], result), "conv", lead.dtype, _NO_PADDING
        if op == "custom-call":
            return self._call(line, operands)
        if op == "fft":
            sizes = line.numbers("fft_length")
            batch = max(lead.size, result.size) // max(1, math.prod(sizes))
            real = "RFFT" in line.attribute("fft_type")
            return formulas.fft(sizes, batch, real=real), "fft", lead.dtype, "5 N log2 N"
        if op == "cholesky":
            batch = lead.size // lead.dims[-1] ** 2
            return formulas.cholesky(lead.dims[-1], batch), "linalg", lead.dtype, "leading term"
        if op == "triangular-solve":
            other = operands[1]
            n = lead.dims[-1]
            return float(n * other.size), "linalg", lead.dtype, "leading term"
        applied = self._applied(line)
        if op == "reduce":
            first = operands[0].size if operands else 0
            return applied * max(0, first - result.size), "reduction", lead.dtype, ""
        if op == "reduce-window":
            window = math.prod(_window(line).get("size", (1,)))
            return applied * result.size * (window - 1), "reduction", lead.dtype, ""
        if op in ("scatter", "select-and-scatter"):
            return applied * (operands[-1].size if operands else 0), "reduction", lead.dtype, ""
        return self._elementwise(op, result), "elementwise", result.dtype, ""

    def _elementwise(self, op: str, result: Array) -> float:
        if not result.floating:
            return 0.0
        if result.dtype.startswith("c"):
            return float(_COMPLEX.get(op, math.nan if op in _ONE else 0)) * result.size
        return float(_MORE.get(op, 1 if op in _ONE else 0)) * result.size

    def _applied(self, line: Instruction) -> float:
        """FLOPs of what a reduction applies to each pair of elements."""
        name = line.attribute("to_apply").lstrip("%") or line.attribute("scatter").lstrip("%")
        inner = self._program.computations.get(name, {})
        return math.fsum(self._flops(i, name)[0] for i in inner.values() if i.opcode not in _SILENT)

    def _inside(self, line: Instruction, result: Array) -> tuple[float, str, str, str]:
        """A fusion: all that it holds; its kind and type are those of its most costly part."""
        names = line.called or (line.attribute("to_apply").lstrip("%"),)
        parts = []
        for name in names:
            inside = self._program.computations.get(name, {}).values()
            parts += [self._flops(i, name) for i in inside if i.opcode not in _SILENT]
        times = result.size if line.opcode == "map" else 1
        known = [p for p in parts if not math.isnan(p[0])]
        if not parts:
            return 0.0, "move", result.dtype, ""
        most = max(known, key=lambda p: p[0], default=parts[0])
        return math.fsum(p[0] for p in parts) * times, most[1], most[2], most[3]

    def _call(self, line: Instruction, operands: list[Array]) -> tuple[float, str, str, str]:
        target = line.attribute("custom_call_target").strip('"')
        lead = operands[0] if operands else Array("opaque", ())
        if target.startswith(_HARMLESS_CALLS):
            return 0.0, "move", lead.dtype, ""
        config = _config(line)
        told = _find(config, "cost_estimate")
        if isinstance(told, Mapping) and "flops" in told:
            return float(told["flops"]), "opaque", lead.dtype, "told by the kernel's cost estimate"
        numbers = _find(config, "dot_dimension_numbers")
        if isinstance(numbers, Mapping) and line.results:
            dims = [int(d) for d in numbers.get("lhs_contracting_dimensions", ())]
            return _dot(dims, lead, line.results[0]), "matmul", lead.dtype, ""
        if "$conv" in target and len(operands) >= 2 and line.results:
            result = line.results[0]
            triples: dict[str, Callable[[], float]] = {
                "Input": lambda: _conv(line, result, operands[1], lead),
                "Filter": lambda: _conv(line, lead, result, operands[1]),
            }
            of = next((f for k, f in triples.items() if f"Backward{k}" in target), None)
            flops = of() if of else _conv(line, lead, operands[1], result)
            return flops, "conv", lead.dtype, _NO_PADDING
        return math.nan, "opaque", lead.dtype, f"a call of {target or 'a library'}: cannot be seen"


_NO_PADDING = "taps on padding left out, as XLA counts"


def _dot(contracting: Sequence[int], left: Array, result: Array) -> float:
    """2 for each element of the result and each contracted one."""
    once = 2 * result.size * math.prod(left.dims[d] for d in contracting)
    return float(once * (4 if left.dtype.startswith("c") else 1))


def _window(line: Instruction) -> dict[str, tuple[int, ...]]:
    out = {}
    for key, value in re.findall(r"(\w+)=([\w\-]+)", line.attribute("window")):
        out[key] = tuple(int(n) for n in re.findall(r"-?\d+", value))
    return out


def _conv(line: Instruction, x: Array, kernel: Array, out: Array) -> float:
    """2 for each pair of an element of the input and of the kernel that really meet."""
    labels = line.attribute("dim_labels")
    left, _, result = labels.partition("->")
    x_labels, _, kernel_labels = left.partition("_")
    window = _window(line)
    rank = len(window.get("size", ()))
    pairs = 1
    for d in range(rank):
        label = str(d)
        pads = window.get("pad", (0, 0) * rank)
        pairs *= _meetings(
            x.dims[x_labels.index(label)],
            kernel.dims[kernel_labels.index(label)],
            out.dims[result.index(label)],
            stride=window.get("stride", (1,) * rank)[d],
            pad=pads[2 * d],
            holes=window.get("lhs_dilate", (1,) * rank)[d],
            spread=window.get("rhs_dilate", (1,) * rank)[d],
        )
    batch, features = out.dims[result.index("b")], out.dims[result.index("f")]
    inner = kernel.dims[kernel_labels.index("i")]
    factor = 4 if x.dtype.startswith("c") else 1
    return float(2 * batch * features * inner * pairs * factor)


def _meetings(
    size: int, taps: int, out: int, *, stride: int, pad: int, holes: int, spread: int
) -> int:
    """(output, tap) pairs along one dimension that meet an element that is there."""
    last = (size - 1) * holes
    count = 0
    for tap in range(taps):
        first = tap * spread - pad
        for place in range(first, first + out * stride, stride):
            count += 0 <= place <= last and place % holes == 0
    return count


def _config(line: Instruction) -> Any:
    text = line.attribute("backend_config")
    try:
        return json.loads("{" + text + "}")
    except ValueError:
        try:  # some calls quote theirs
            return json.loads(json.loads('"' + text.strip('"') + '"'))
        except ValueError:
            return {}


def _find(tree: Any, key: str) -> Any:
    """The value of ``key`` at any depth."""
    if isinstance(tree, Mapping):
        if key in tree:
            return tree[key]
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            found = _find(item, key)
            if found is not None:
                return found
    return None
