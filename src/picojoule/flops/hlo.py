"""FLOPs and bytes of a compiled XLA program, kernel by kernel, from its optimised HLO text.

XLA's own ``cost_analysis()`` counts the body of a loop once and an opaque call as -1, so that a
scan over layers has one layer and an unknown hides in a plausible sum. Here a loop with a known
trip count multiplies its kernels, and what is not known is listed and never enters a sum.

No jax is needed: ``costs(compiled.as_text())``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from picojoule.flops._hlo_bytes import traffic
from picojoule.flops._hlo_calls import custom_call
from picojoule.flops._hlo_ops import NOTHING, operation
from picojoule.flops._hlo_parse import (
    Computation,
    HloSyntaxError,
    Instruction,
    Module,
    Shape,
    parse,
)
from picojoule.flops._hlo_work import Work, opaque
from picojoule.flops.cost import Cost

__all__ = ["HloCosts", "HloSyntaxError", "KernelCost", "Unknown", "costs"]


@dataclass(frozen=True, slots=True)
class KernelCost:
    """One kernel as XLA launches it: a fusion, a library call or a single operation."""

    #: The instruction's name, as in ``loop_add_fusion.3``: ``hlo_op`` of profiles on a GPU.
    name: str
    opcode: str
    #: Where it stands: the entry computation, a loop's body, a branch.
    computation: str
    #: The traced operation, as in ``jit(step)/layer/dot_general``; "" if XLA made it up.
    op_name: str
    #: Of one run. ``flops`` is nan if anything in it is not known.
    cost: Cost
    #: Runs in one run of the program; nan inside a branch or a loop whose trips are not known.
    executions: float
    #: FLOPs of one run by (kind, type): what is known of them.
    parts: dict[tuple[str, str], float] = field(default_factory=dict)
    transcendentals: float = 0.0
    #: FLOPs of one run, without multiplications with padding; nan if not known.
    flops_without_padding: float = math.nan


@dataclass(frozen=True, slots=True)
class Unknown:
    """FLOPs that are missing in a total, and why."""

    name: str
    reason: str
    #: How often it runs; nan if not known.
    executions: float
    #: FLOPs of one run of a loop's body, or the most that the branches of a conditional have beyond
    #: what they share; nan if not known.
    flops_each: float = math.nan


@dataclass(frozen=True, slots=True)
class HloCosts:
    """What one run of a compiled program costs."""

    module: str
    platform: str  # "gpu", "cpu" or "" where the text does not show it
    kernels: tuple[KernelCost, ...]
    #: Of what is certain. ``flops`` is a lower bound if ``unknown`` is not empty, nan if nothing at
    #: all is known. Of a conditional it has what all branches share. ``bytes`` is nan if a loop's
    #: trips are not known or branches differ: a part of them would spoil the intensity.
    total: Cost
    #: FLOPs of ``total`` by (kind, type).
    parts: dict[tuple[str, str], float]
    transcendentals: float
    #: FLOPs of ``total`` without multiplications with padding.
    flops_without_padding: float
    unknown: tuple[Unknown, ...]

    @property
    def coverage(self) -> float:
        """Share of kernels (each counted once) whose FLOPs are known; nan without kernels."""
        if not self.kernels:
            return math.nan
        return sum(not math.isnan(k.cost.flops) for k in self.kernels) / len(self.kernels)

    def by_kind(self) -> dict[str, float]:
        """Known FLOPs of one run by kind: matmul, conv, elementwise ..."""
        return self._sums(0)

    def by_type(self) -> dict[str, float]:
        """Known FLOPs of one run by type: tensor-bf16, fp32 ..."""
        return self._sums(1)

    def _sums(self, part: int) -> dict[str, float]:
        sums: dict[str, float] = {}
        for key, flops in self.parts.items():
            sums[key[part]] = sums.get(key[part], 0.0) + flops
        return sums

    def __iter__(self) -> Iterator[KernelCost]:
        return iter(self.kernels)


def costs(text: str, *, platform: str = "") -> HloCosts:
    """Costs of the program in ``text``, the optimised HLO of ``compiled.as_text()``.

    ``platform`` is "gpu" or "cpu"; by default the text tells. It decides only of what type a matrix
    product is: TF32 and tensor units are a GPU's.

    Raises:
        HloSyntaxError: it is no HLO text, or cut short.
    """
    module = parse(text)
    platform = platform or _platform(text)
    walker = _Walker(module, platform)
    work, bytes_ = walker.sequence(module.entry, 1.0)
    unknown = tuple(walker.unknown)
    nothing = bool(unknown) and not work.parts
    kind, type = work.main
    total = Cost(
        math.nan if nothing else work.flops,
        bytes_,
        type,
        "hlo",
        "opaque" if nothing else kind,
        f"at least; unknown of {_names(unknown)}" if unknown else "",
    )
    return HloCosts(
        module.name,
        platform,
        tuple(walker.kernels),
        total,
        work.parts,
        work.transcendentals,
        math.nan if nothing else work.flops - work.padding,
        unknown,
    )


def _names(unknown: tuple[Unknown, ...]) -> str:
    names = [u.name for u in unknown]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_MARKS = {
    "gpu": ("__cublas$", "__cudnn$", "__triton", "operation_queue_id", "force_earliest_schedule"),
    "cpu": ("outer_dimension_partitions", "lapack_", "__onednn$", "__ynn", "xla_cpu", "cpu_callb"),
}


def _platform(text: str) -> str:
    for platform, marks in _MARKS.items():
        if any(mark in text for mark in marks):
            return platform
    return ""


class _Walker:
    def __init__(self, module: Module, platform: str) -> None:
        self.module = module
        self.platform = platform
        self.kernels: list[KernelCost] = []
        self.unknown: list[Unknown] = []
        self._bodies: dict[str, Work] = {}

    # ---- computations whose instructions are launched one by one ----

    def sequence(self, inside: Computation, times: float) -> tuple[Work, float]:
        """Work and bytes of one run of ``inside``, which runs ``times`` times a program."""
        total = Work()
        bytes_ = 0.0
        for instruction in inside.instructions.values():
            work, its_bytes = self._launched(inside, instruction, times)
            total.add(work)
            bytes_ += its_bytes
        return total, bytes_

    def _launched(
        self, inside: Computation, instruction: Instruction, times: float
    ) -> tuple[Work, float]:
        op = instruction.opcode
        if op in NOTHING or op.endswith(("-done", "-update")):
            return Work(), 0.0
        if op == "while":
            return self._loop(instruction, times)
        if op == "conditional":
            return self._branches(instruction, times)
        if op in ("call", "call-start", "async-start"):
            work, bytes_ = Work(), 0.0
            for name in instruction.calls("to_apply", "calls", "called_computations"):
                its, more = self.sequence(self.module.called(name), times)
                work.add(its)
                bytes_ += more
            return work, bytes_
        return self._kernel(inside, instruction, times)

    def _kernel(
        self, inside: Computation, instruction: Instruction, times: float
    ) -> tuple[Work, float]:
        work, bytes_ = self._work(inside, instruction)
        if math.isnan(bytes_):
            bytes_ = traffic(self.module, inside, instruction)
        notes = work.notes + work.unknown
        kind, type = work.main
        cost = Cost(
            math.nan if work.unknown else work.flops,
            bytes_,
            type,
            "hlo",
            kind,
            "; ".join(notes),
        )
        self.kernels.append(
            KernelCost(
                instruction.name,
                instruction.opcode,
                inside.name,
                instruction.op_name,
                cost,
                times,
                dict(work.parts),
                work.transcendentals,
                math.nan if work.unknown else work.flops - work.padding,
            )
        )
        if work.unknown:
            self.unknown.append(Unknown(instruction.name, "; ".join(work.unknown), times))
        return work, bytes_

    def _loop(self, instruction: Instruction, times: float) -> tuple[Work, float]:
        trips = _trip_count(instruction)
        body_name, condition_name = instruction.calls("body", "condition")
        work, bytes_ = self.sequence(self.module.called(body_name), times * trips)
        test, test_bytes = self.sequence(self.module.called(condition_name), times * (trips + 1))
        total = Work()
        total.add(test)
        if math.isnan(trips):
            if work.parts or work.unknown:
                self.unknown.append(
                    Unknown(
                        instruction.name,
                        "a loop whose trip count is not known before it runs",
                        math.nan,
                        math.nan if work.unknown else work.flops,
                    )
                )
            return total, math.nan if bytes_ else test_bytes
        total.add(test, trips)
        total.add(work, trips)
        return total, trips * bytes_ + (trips + 1) * test_bytes

    def _branches(self, instruction: Instruction, times: float) -> tuple[Work, float]:
        names = instruction.calls("branch_computations", "true_computation", "false_computation")
        branches = [self.sequence(self.module.called(n), math.nan) for n in names]
        works = [work for work, _ in branches]
        sizes = {bytes_ for _, bytes_ in branches}
        bytes_ = sizes.pop() if len(sizes) == 1 else math.nan
        shared = _shared(works)
        if any(work.flops != shared.flops or work.unknown for work in works):
            incomplete = any(work.unknown for work in works)
            most = math.nan if incomplete else max(w.flops for w in works) - shared.flops
            reason = "its branches differ, and which one runs is not known before"
            self.unknown.append(Unknown(instruction.name, reason, times, most))
        return shared, bytes_

    # ---- one kernel ----

    def _work(self, inside: Computation, instruction: Instruction) -> tuple[Work, float]:
        shapes = inside.operands(instruction)
        try:
            return self._formula(instruction, shapes)
        except HloSyntaxError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # XLA changes the text of operations now and then: that costs one kernel, not all.
            what = f"{instruction.opcode}: not in the form that is known here ({error})"
            return opaque(what), math.nan

    def _formula(self, instruction: Instruction, shapes: list[Shape]) -> tuple[Work, float]:
        op = instruction.opcode
        if op in ("custom-call", "custom-call-start"):
            return custom_call(instruction, shapes, self.platform)
        if op in ("fusion", "fusion-start", "call"):
            names = instruction.calls("calls", "to_apply")
            return (self.body(names[0]) if names else opaque(f"{op} of nothing")), math.nan
        if op in ("while", "conditional"):
            return opaque(f"{op} inside a kernel"), math.nan
        if op.endswith("-start"):
            instruction = _synchronous(instruction)
        return operation(instruction, shapes, self.platform, self.body), math.nan

    def body(self, name: str) -> Work:
        """Work of one run of a fused or applied computation."""
        if name not in self._bodies:
            computation = self.module.called(name)
            total = Work()
            for instruction in computation.instructions.values():
                total.add(self._work(computation, instruction)[0])
            self._bodies[name] = total
        return self._bodies[name]


def _synchronous(instruction: Instruction) -> Instruction:
    """``all-reduce-start`` as the ``all-reduce`` that it starts."""
    return Instruction(
        instruction.name,
        instruction.opcode.removesuffix("-start"),
        instruction.shape,
        instruction.operands,
        instruction._rest,
        instruction.root,
    )


def _trip_count(loop: Instruction) -> float:
    count = loop.config.get("known_trip_count")
    number = count.get("n") if isinstance(count, dict) else count
    try:
        return float(str(number))
    except ValueError:
        return math.nan


def _shared(works: list[Work]) -> Work:
    """What all branches have in common: of each kind and type the least."""
    shared = Work()
    keys = set.intersection(*(set(work.parts) for work in works)) if works else set()
    for key in sorted(keys):
        shared.parts[key] = min(work.parts[key] for work in works)
    if works:
        shared.transcendentals = min(work.transcendentals for work in works)
        shared.padding = min(work.padding for work in works)
    return shared
