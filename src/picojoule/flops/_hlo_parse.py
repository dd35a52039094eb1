"""Reads the text of an HLO module: its computations, their instructions, shapes and attributes.

Only what the cost of an instruction depends on is understood; all else is kept as text. The text
is that of ``compiled.as_text()``, with or without the shapes of operands and the ``%`` of names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_INDEX_COMMENT = re.compile(r"/\*index=\d+\*/")
_COMPUTATION = re.compile(r"^(ENTRY\s+)?%?([\w.$\-]+)\s*(?:\(.*\)\s*->.*)?\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(ROOT\s+)?%?([\w.$\-]+)\s*=\s*(?=\(|[a-z]\w*\[)")
_ARRAY = re.compile(r"([a-z]\w*)\[([^\]]*)\](\{[^}]*\})?")
_OPCODE = re.compile(r"\s*([a-z][\w\-]*)\(")
_NAME = re.compile(r"%?([\w.$\-]+)$")
_ATTRIBUTE = re.compile(r"\s*([A-Za-z_]\w*)=")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[()\[\]{},]')
_MODULE = re.compile(r"^HloModule\s+([^\s,]+)", re.MULTILINE)

_BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16, "c64": 64, "c128": 128}


class HloSyntaxError(ValueError):
    """The text is not that of an HLO module."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An array's element type and dimensions, or (``parts``) a tuple of shapes."""

    type: str = ""
    dims: tuple[int, ...] = ()
    parts: tuple[Shape, ...] | None = None
    dynamic: bool = False  # at least one dimension is only an upper bound

    @property
    def elements(self) -> int:
        """Elements of the array; of a tuple, those of all its parts."""
        if self.parts is not None:
            return sum(part.elements for part in self.parts)
        return math.prod(self.dims) if self.type not in ("token", "opaque") else 0

    @property
    def bytes(self) -> float:
        """Bytes of the data, without padding; nan for an element type that is not known."""
        if self.parts is not None:
            return math.fsum(part.bytes for part in self.parts)
        return self.elements * element_bits(self.type) / 8

    def arrays(self) -> Iterator[Shape]:
        """All arrays in it, in order."""
        if self.parts is None:
            yield self
        else:
            for part in self.parts:
                yield from part.arrays()

    @property
    def first(self) -> Shape:
        """The array itself, or the first array of a tuple."""
        return next(self.arrays(), Shape())


def element_bits(type: str) -> float:
    """Bits of one element ("f32" has 32); nan for a type that is not known."""
    if type in _BITS:
        return _BITS[type]
    match = re.match(r"[a-z]+(\d+)", type)
    return float(match[1]) if match else math.nan


@dataclass(slots=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    shape: Shape
    operands: tuple[str, ...]
    _rest: str
    root: bool = False
    _attributes: dict[str, str] | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """What follows the operands, as text by key."""
        if self._attributes is None:
            self._attributes = {}
            for piece in _split(self._rest):
                match = _ATTRIBUTE.match(piece)
                if match:
                    self._attributes[match[1]] = piece[match.end() :].strip()
        return self._attributes

    def numbers(self, key: str) -> tuple[int, ...]:
        """An attribute such as ``{0,1}``; () if it is missing."""
        return tuple(int(n) for n in re.findall(r"-?\d+", self.attributes.get(key, "")))

    def number(self, key: str, default: int) -> int:
        """An attribute that is one number."""
        return next(iter(self.numbers(key)), default)

    def calls(self, *keys: str) -> tuple[str, ...]:
        """Names of the computations in these attributes."""
        found: list[str] = []
        for key in keys:
            text = self.attributes.get(key, "").strip("{}")
            found += [name.strip().lstrip("%") for name in text.split(",") if name.strip()]
        return tuple(found)

    def string(self, key: str) -> str:
        """An attribute in quotes, without them."""
        text = self.attributes.get(key, "")
        if text.startswith('"'):
            try:
                return str(json.loads(text))
            except ValueError:
                return text.strip('"')
        return text

    @property
    def config(self) -> dict[str, Any]:
        """``backend_config`` where it is JSON, else {}."""
        text = self.string("backend_config")
        try:
            value = json.loads(text)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def op_name(self) -> str:
        """The traced operation it came from, as in ``jit(step)/layer/dot_general``."""
        match = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes.get("metadata", ""))
        return match[1].replace('\\"', '"') if match else ""


@dataclass(slots=True)
class Computation:
    """A function of instructions."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    @property
    def root(self) -> Instruction:
        """The instruction whose value is the result."""
        last = None
        for instruction in self.instructions.values():
            last = instruction
            if instruction.root:
                return instruction
        if last is None:
            raise HloSyntaxError(f"the computation {self.name} is empty")
        return last

    def shape_of(self, name: str) -> Shape:
        """The shape of an operand."""
        try:
            return self.instructions[name].shape
        except KeyError:
            raise HloSyntaxError(f"{self.name} uses {name}, which it does not define") from None

    def operands(self, instruction: Instruction) -> list[Shape]:
        """The shapes of its operands."""
        return [self.shape_of(name) for name in instruction.operands]


@dataclass(slots=True)
class Module:
    """All computations of one compiled program."""

    name: str
    computations: dict[str, Computation]
    entry: Computation

    def called(self, name: str) -> Computation:
        """The computation of that name."""
        try:
            return self.computations[name]
        except KeyError:
            raise HloSyntaxError(f"the computation {name} is called but not there") from None


def parse(text: str) -> Module:
    """The module in ``text``.

    Raises:
        HloSyntaxError: it is no HLO text, or cut short.
    """
    found = _MODULE.search(text)
    computations: dict[str, Computation] = {}
    entry: Computation | None = None
    current: Computation | None = None
    for line in _lines(text):
        if current is None:
            head = _COMPUTATION.match(line)
            if head:
                current = Computation(head[2])
                computations[current.name] = current
                entry = current if head[1] else entry
        elif line.startswith("}"):
            current = None
        else:
            match = _INSTRUCTION.match(line)
            if match:
                instruction = _instruction(match[2], bool(match[1]), line[match.end() :])
                current.instructions[instruction.name] = instruction
    if current is not None:
        raise HloSyntaxError(f"the HLO text ends inside the computation {current.name}")
    if entry is None:
        raise HloSyntaxError(
            "no ENTRY computation: this is not HLO text. Give what "
            "jax.jit(f).lower(...).compile().as_text() returns (lowered.as_text() is StableHLO)"
        )
    return Module(found[1] if found else "", computations, entry)


def _lines(text: str) -> Iterator[str]:
    """The lines; one that neither begins an instruction nor ends a computation is joined on."""
    inside = False
    pending = ""
    for raw in text.splitlines():
        line = _INDEX_COMMENT.sub("", raw) if "/*" in raw else raw
        if not inside:
            if _COMPUTATION.match(line):
                inside = True
                yield line
        elif line.startswith("}"):
            inside = False
            if pending:
                yield pending
            pending = ""
            yield line
        elif _INSTRUCTION.match(line):
            if pending:
                yield pending
            pending = line
        elif pending:
            pending += " " + line.strip()
    if pending:
        yield pending


def _instruction(name: str, root: bool, text: str) -> Instruction:
    shape, at = _shape(text, 0)
    opcode = _OPCODE.match(text, at)
    if not opcode:
        raise HloSyntaxError(f"no operation in the instruction {name}: {text[:80]}")
    end = _close(text, opcode.end() - 1)
    inside = text[opcode.end() : end - 1]
    operands: list[str] = []
    if opcode[1] not in ("constant", "parameter", "iota"):
        for piece in _split(inside):
            operand = _NAME.search(piece.strip())
            if operand:
                operands.append(operand[1])
    return Instruction(name, opcode[1], shape, tuple(operands), text[end:].lstrip(", "), root)


def _shape(text: str, at: int) -> tuple[Shape, int]:
    while at < len(text) and text[at] in " ,":
        at += 1
    if text.startswith("(", at):
        parts: list[Shape] = []
        at += 1
        while not text.startswith(")", at):
            if at >= len(text):
                raise HloSyntaxError(f"a tuple's shape does not end: {text[:80]}")
            part, at = _shape(text, at)
            parts.append(part)
            while text.startswith(" ", at):
                at += 1
        return Shape(parts=tuple(parts)), at + 1
    match = _ARRAY.match(text, at)
    if not match:
        raise HloSyntaxError(f"no shape where one is expected: {text[at : at + 80]}")
    sizes = [size for size in match[2].split(",") if size.strip()]
    dims = tuple(int(size.strip().lstrip("<=")) if "?" not in size else 0 for size in sizes)
    return Shape(match[1], dims, dynamic="<=" in match[2] or "?" in match[2]), match.end()


def _close(text: str, at: int) -> int:
    """Position after the bracket that closes the one at ``at``."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        if token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
            if depth == 0:
                return token.end()
    raise HloSyntaxError(f"a bracket is not closed: {text[at : at + 80]}")


def _split(text: str) -> Iterator[str]:
    """Pieces between commas that are in no bracket and no string."""
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
        elif token[0] == "," and depth == 0:
            yield text[begin : token.start()]
            begin = token.end()
    if text[begin:].strip():
        yield text[begin:]
