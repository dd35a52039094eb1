"""XLA's programs as text: computations, instructions, shapes. Reads; knows no costs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_HEAD = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s*(?:\(.*\)\s*->\s*.*)?\{\s*$")
_ASSIGNED = re.compile(r"^\s*(ROOT\s+)?%?([\w.\-]+)\s*=\s*(.+)$")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,<=?]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True, slots=True)
class Array:
    """An array: ``dtype`` as XLA calls it ("f32", "bf16", "s32", "pred")."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Bytes, a bit as a byte."""
        if self.dtype in ("pred", "token", "opaque"):
            return self.size
        bits = re.match(r"[a-z]+?(\d+)", self.dtype)
        width = int(bits[1]) if bits else 32
        return self.size * max(1, width // 8)

    @property
    def floating(self) -> bool:
        """Whether its elements are floating-point or complex numbers."""
        return self.dtype[0] in "fbc" and self.dtype != "pred"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line: its results (several of a tuple), opcode, operands by name, the rest as text."""

    name: str
    results: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    root: bool

    def attribute(self, key: str) -> str:
        """What follows ``key=``: a word, or all between its braces; "" if it has none."""
        at = re.search(rf"(?:^|[\s,]){re.escape(key)}=", self.attributes)
        if at is None:
            return ""
        rest = self.attributes[at.end() :]
        if rest.startswith("{"):
            return _balanced(rest, "{", "}")[1:-1]
        found = re.match(r"[^,\s]+", rest)
        return found[0] if found else ""

    def numbers(self, key: str) -> tuple[int, ...]:
        """Integers between the braces of ``key={...}``."""
        return tuple(int(n) for n in re.findall(r"-?\d+", self.attribute(key)))

    @property
    def called(self) -> tuple[str, ...]:
        """Computations that it runs itself (not those it applies to elements)."""
        names = [self.attribute(k).lstrip("%") for k in ("calls", "body", "to_apply_call")]
        if self.opcode in ("call", "async-start"):
            names.append(self.attribute("to_apply").lstrip("%"))
        if self.opcode == "conditional":
            names += _NAME.findall("%" + self.attribute("branch_computations").lstrip("%"))
            names += [
                self.attribute(k).lstrip("%") for k in ("true_computation", "false_computation")
            ]
        return tuple(n for n in names if n)

    @property
    def op_name(self) -> str:
        """Where in the user's program it is from: ``jit(step)/while/body/dot_general``."""
        found = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Program:
    """A module: computations by name, each its instructions by name, in order."""

    computations: Mapping[str, Mapping[str, Instruction]]
    entry: str


def parse(text: str) -> Program:
    """The program in ``text``, as ``compiled.as_text()`` gives it.

    Raises:
        ValueError: it has no entry computation.
    """
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if current is None:
            head = _HEAD.match(line)
            if head and not line.startswith("HloModule"):
                current = computations.setdefault(head[2], {})
                entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif found := _instruction(line):
            current[found.name] = found
    if not entry:
        raise ValueError("this is not the text of an XLA program: it has no ENTRY computation")
    return Program(computations, entry)


def arrays(text: str) -> Iterator[Array]:
    """The arrays of a shape; of a tuple each."""
    for dtype, dims in _SHAPE.findall(text):
        yield Array(dtype, tuple(int(re.sub(r"\D", "", d) or 0) for d in dims.split(",") if d))


def _instruction(line: str) -> Instruction | None:
    found = _ASSIGNED.match(line)
    if not found:
        return None
    rest = found[3]
    shape = _balanced(rest, "(", ")") if rest.startswith("(") else rest.split(" ", 1)[0]
    rest = rest[len(shape) :]
    opcode = _OPCODE.match(rest)
    if not opcode:
        return None
    inside = _balanced(rest[opcode.end() - 1 :], "(", ")")
    operands = _NAME.findall(inside)
    if not operands and opcode[1] not in ("parameter", "constant", "iota"):
        operands = re.findall(r"([A-Za-z_][\w.\-]*)(?=\s*[,)])", inside)
    return Instruction(
        name=found[2],
        results=tuple(arrays(shape)),
        opcode=opcode[1],
        operands=tuple(operands),
        attributes=rest[opcode.end() - 1 + len(inside) :],
        root=bool(found[1]),
    )


def _balanced(text: str, opening: str, closing: str) -> str:
    """The beginning of ``text`` up to the bracket that closes its first one; quotes are skipped."""
    depth, quoted = 0, False
    for i, c in enumerate(text):
        if c == '"' and text[i - 1 : i] != "\\":
            quoted = not quoted
        elif not quoted and c == opening:
            depth += 1
        elif not quoted and c == closing:
            depth -= 1
            if depth == 0:
                return text[: i + 1]
    return text
