"""Bytes that one instruction moves, if each operand is read and each result written once.

A model: caches may do better, kernels that read twice do worse. Of an operand that is only sliced,
the slices count; what is updated in place costs its update.
"""

from __future__ import annotations

import math

from picojoule.flops._hlo_parse import Computation, Instruction, Module

_SLICES = frozenset({"slice", "dynamic-slice", "gather"})


def traffic(module: Module, inside: Computation, instruction: Instruction) -> float:
    """Bytes of one run of ``instruction``, which stands in ``inside``."""
    op = instruction.opcode.removesuffix("-start")
    shapes = inside.operands(instruction)
    if op == "fusion":
        body = module.called(instruction.calls("calls")[0])
        return _fusion(body)
    out = instruction.shape.bytes
    if op in _SLICES:
        indices = shapes[1].bytes if op == "gather" else 0.0
        return 2 * out + indices
    if op == "dynamic-update-slice":
        return 2 * shapes[1].bytes
    if op == "scatter":
        arrays = len(instruction.shape.parts) if instruction.shape.parts is not None else 1
        updates = math.fsum(s.bytes for s in shapes[arrays + 1 :])
        return 2 * updates + updates + shapes[arrays].bytes  # read old, read update, write
    if op in ("iota", "rng-bit-generator"):
        return out
    if instruction.opcode.endswith("-start"):
        # The result of a start is a tuple of operands, result and context, but for all-reduce.
        parts = instruction.shape.parts
        if parts is not None and len(parts) > 1 and op != "all-reduce":
            out = parts[1].bytes
    if op == "custom-call":
        out -= _workspace(instruction)
    return out + math.fsum(s.bytes for s in shapes)


def _workspace(call: Instruction) -> float:
    """Bytes of the scratch memory that cuBLAS and cuDNN calls return beside their results."""
    parts = call.shape.parts or ()
    library = call.string("custom_call_target").startswith(("__cublas$", "__cudnn$"))
    if library and len(parts) > 1 and parts[-1].type in ("s8", "u8") and len(parts[-1].dims) == 1:
        return parts[-1].bytes
    return 0.0


def _fusion(body: Computation) -> float:
    users: dict[str, list[Instruction]] = {}
    for instruction in body.instructions.values():
        for name in instruction.operands:
            users.setdefault(name, []).append(instruction)
    in_place = _updates(body)
    total = 0.0
    for instruction in body.instructions.values():
        if instruction.opcode == "parameter":
            total += _read(body, instruction, users, in_place)
    return total + _written(body)


def _read(
    body: Computation,
    parameter: Instruction,
    users: dict[str, list[Instruction]],
    in_place: set[str],
) -> float:
    whole = parameter.shape.bytes
    used = 0.0
    for user in users.get(parameter.name, []):
        if user.opcode in _SLICES and user.operands[0] == parameter.name:
            used += user.shape.bytes
        elif user.name in in_place and user.operands[0] == parameter.name:
            continue  # only what is overwritten is touched
        else:
            return whole
    return min(whole, used)


def _updates(body: Computation) -> set[str]:
    """Updates whose result leaves the fusion: they are done in place."""
    return {i.name for i in _results(body) if i.opcode == "dynamic-update-slice"}


def _results(body: Computation) -> list[Instruction]:
    root = body.root
    found = [body.instructions[n] for n in root.operands] if root.opcode == "tuple" else [root]
    results = []
    for result in found:
        while result.opcode == "bitcast":
            result = body.instructions[result.operands[0]]
        results.append(result)
    return results


def _written(body: Computation) -> float:
    return math.fsum(
        body.shape_of(i.operands[1]).bytes
        if i.opcode == "dynamic-update-slice"
        else 0.0
        if i.opcode == "parameter"
        else i.shape.bytes
        for i in _results(body)
    )
