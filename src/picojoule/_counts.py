"""What ``picojoule count`` writes and ``load_counts`` reads: exact FLOPs and bytes a kernel.

One JSON file. Unknown is null there, and nan here.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from picojoule.errors import ForeignTraceError, NewerTraceError

FORMAT = "picojoule-counts"
VERSION = 1


class KernelCount(NamedTuple):
    """What tells one kernel from another: the key of a ``CountTable``."""

    name: str  # demangled
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    dynamic_shared: int  # bytes


@dataclass(frozen=True, slots=True)
class Count:
    """What one launch of a kernel did. All of it is of one launch; nan where it was not counted.

    ``flops`` has one FMA as two. ``flops_total`` is nan where there was, or may have been, tensor
    work of a type that the plan does not count (``uncounted`` names those). Integer work of the
    tensor cores is in ``integer_ops`` and in no sum of FLOPs.
    """

    flops: Mapping[str, float]  # by type: "fp32", "tensor-bf16" ...
    flops_total: float
    #: Where sources disagree about what one count is worth (packed FP16): type -> (least, most).
    flops_interval: Mapping[str, tuple[float, float]]
    integer_ops: Mapping[str, float]
    uncounted: tuple[str, ...]
    read_bytes: float  # of device memory
    write_bytes: float
    cycles: float
    time_ns: float  # while it was counted, alone on the device: not what it takes in the program
    launches: int  # in the program that was counted
    varies: bool = False  # a second launch did other work: the count stands for the first only
    why_not: str = ""
    provenance: str = "counted"

    @property
    def bytes(self) -> float:
        """Bytes moved to and from device memory; nan if unknown."""
        return self.read_bytes + self.write_bytes

    @property
    def known(self) -> bool:
        """Whether it was counted at all."""
        return bool(self.flops)


@dataclass(frozen=True, slots=True)
class CountTable(Mapping[KernelCount, Count]):
    """The counts of a program's kernels by signature, and on what they were made."""

    counts: Mapping[KernelCount, Count]
    device: str = ""
    chip: str = ""
    driver: str = ""
    cupti: str = ""
    date: str = ""
    plan: str = ""
    passes: int = 0
    #: Launches of whole graphs, and into graphs: what those kernels do was not counted.
    graphs: int = 0
    captured: int = 0
    _by_shape: Mapping[tuple[Any, ...], tuple[KernelCount, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __getitem__(self, key: KernelCount) -> Count:
        """The count of exactly that signature."""
        return self.counts[key]

    def __iter__(self) -> Iterator[KernelCount]:
        """Signatures in order of their first launch."""
        return iter(self.counts)

    def __len__(self) -> int:
        """How many signatures there are."""
        return len(self.counts)

    def find(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        dynamic_shared: int | None = None,
    ) -> Count | None:
        """The count for a kernel, or None.

        Without ``dynamic_shared``, that of the one signature with this name and shape; if several
        differ in it, one is given only where all did the same FLOPs.
        """
        shape = (name, tuple(grid), tuple(block))
        keys = self._by_shape.get(shape, ())
        if dynamic_shared is not None:
            keys = tuple(key for key in keys if key.dynamic_shared == dynamic_shared)
        found = [self.counts[key] for key in keys]
        if not found or any(dict(one.flops) != dict(found[0].flops) for one in found):
            return None
        return found[0]


def load_counts(path: str | os.PathLike[str]) -> CountTable:
    """Read what ``picojoule count`` wrote.

    Returns:
        A mapping from (name, grid, block, dynamic_shared) to the counts of one launch.

    Raises:
        ForeignTraceError: the file is something else, or damaged.
        NewerTraceError: a newer picojoule wrote it.
        OSError: it cannot be read.
    """
    try:
        known = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(known, dict) or known.get("format") != FORMAT:
            raise ForeignTraceError(f"{os.fspath(path)} is no file of 'picojoule count'")
        if known.get("version", 0) > VERSION:
            raise NewerTraceError(
                f"{os.fspath(path)} was written by a newer picojoule (format {known['version']})"
            )
        counts = {_key(entry): _count(entry) for entry in known["signatures"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ForeignTraceError(f"{os.fspath(path)} cannot be understood: {error!r}") from error
    shapes: dict[tuple[Any, ...], tuple[KernelCount, ...]] = {}
    for key in counts:
        shape = (key.name, key.grid, key.block)
        shapes[shape] = (*shapes.get(shape, ()), key)
    return CountTable(
        counts=counts,
        **{name: known.get(name, "") for name in ("device", "chip", "driver", "cupti", "date")},
        plan=known.get("plan", ""),
        passes=known.get("passes", 0),
        graphs=known.get("graphs", 0),
        captured=known.get("captured", 0),
        _by_shape=shapes,
    )


def to_document(report: Mapping[str, Any], plan: str, driver: str) -> dict[str, Any]:
    """The file's content, of what the native counter reports."""
    cuda = report["cuda_version"]
    return {
        "format": FORMAT,
        "version": VERSION,
        "device": report["device"],
        "chip": report["chip"],
        "driver": driver,
        "cuda_driver": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        "cupti": report["cupti"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": plan,
        "passes": report["passes"],
        "captured": report["captured"],
        "graphs": report["graphs"],
        "provenance": "counted",
        "signatures": [_entry(kernel, report["passes"]) for kernel in report["kernels"]],
    }


def procfs() -> str:
    """Where the kernel tells about its drivers."""
    return os.environ.get("PICOJOULE_PROCFS") or "/proc"


def driver_version() -> str:
    """The NVIDIA driver ("580.65.06"); empty if unknown."""
    try:
        first = Path(procfs(), "driver/nvidia/version").read_text(encoding="utf-8").partition("\n")
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", first[0])
    return found.group() if found else ""


def write(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Write the file whole or not at all."""
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        text = json.dumps(document, indent=1, allow_nan=False)
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _entry(kernel: Mapping[str, Any], passes: int) -> dict[str, Any]:
    flops = kernel["flops"]
    return {
        "name": kernel["name"],
        "grid": list(kernel["grid"]),
        "block": list(kernel["block"]),
        "dynamic_shared": kernel["dynamic_shared"],
        "launches": kernel["launches"],
        "flops": {kind: value for kind, (value, _, _) in flops.items()},
        "flops_interval": {
            kind: [low, high] for kind, (_, low, high) in flops.items() if low != high
        },
        "flops_total": _known(kernel["flops_total"]),
        "integer_ops": {kind: value for kind, (value, _, _) in kernel["integer_ops"].items()},
        "uncounted": list(kernel["uncounted"]),
        "read_bytes": _known(kernel["read_bytes"]),
        "write_bytes": _known(kernel["write_bytes"]),
        "bytes": _known(kernel["read_bytes"] + kernel["write_bytes"]),
        "cycles": _known(kernel["cycles"]),
        "time_ns": _known(kernel["time_ns"]),
        "passes": passes if kernel["measured"] else 0,
        "varies": kernel["varies"],
        "why_not": kernel["why_not"],
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _key(entry: Mapping[str, Any]) -> KernelCount:
    return KernelCount(
        entry["name"], _triple(entry["grid"]), _triple(entry["block"]), entry["dynamic_shared"]
    )


def _triple(values: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = values
    return int(x), int(y), int(z)


def _count(entry: Mapping[str, Any]) -> Count:
    def number(name: str) -> float:
        value = entry[name]
        return math.nan if value is None else float(value)

    return Count(
        flops={kind: float(value) for kind, value in entry["flops"].items()},
        flops_total=number("flops_total"),
        flops_interval={kind: (low, high) for kind, (low, high) in entry["flops_interval"].items()},
        integer_ops={kind: float(value) for kind, value in entry["integer_ops"].items()},
        uncounted=tuple(entry["uncounted"]),
        read_bytes=number("read_bytes"),
        write_bytes=number("write_bytes"),
        cycles=number("cycles"),
        time_ns=number("time_ns"),
        launches=int(entry["launches"]),
        varies=bool(entry["varies"]),
        why_not=str(entry["why_not"]),
    )
