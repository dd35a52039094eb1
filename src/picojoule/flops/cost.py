"""What one operation, or one launch of a kernel, costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs and bytes of one call; nan where not known."""

    flops: float
    bytes: float
    type: str
    source: str
    kind: str
    note: str = ""
