"""``pj.kernel_cost``: what a user says that a kernel costs, for CuPy, raw CUDA and libraries."""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Self

from picojoule.errors import UsageError
from picojoule.flops.cost import TYPES, Cost

Shape = tuple[int, int, int]
#: A number, or a function of (grid, block) that gives one.
Amount = float | Callable[[Shape, Shape], float]

_lock = threading.Lock()
_told: list[kernel_cost] = []


class kernel_cost:  # noqa: N801 - said as a sentence: pj.kernel_cost("my_kernel", flops=...)
    """Say what one launch of the kernels whose name matches ``pattern`` costs.

    >>> pj.kernel_cost(                                              # doctest: +SKIP
    ...     r"^saxpy", type="fp32",
    ...     flops=lambda grid, block: 2 * grid[0] * block[0],
    ...     bytes=lambda grid, block: 12 * grid[0] * block[0],
    ... )

    Holds from now on for every profile that ends; as a context manager, or with ``remove()``, for a
    while. Of several that match, the one said last counts.

    Args:
        pattern: regular expression, searched in the kernel's demangled name.
        flops: FLOPs of one launch (a multiply-add is 2), or a function of its grid and block,
            each (x, y, z).
        bytes: bytes it moves at least, likewise.
        type: what it computes with, one of ``picojoule.flops.cost.TYPES``; "" if not said.

    Raises:
        UsageError: the pattern is no regular expression, an amount is negative, or ``type`` is not
            known.
    """

    def __init__(
        self,
        pattern: str,
        *,
        flops: Amount = math.nan,
        bytes: Amount = math.nan,
        type: str = "",
    ) -> None:
        """Register it."""
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"{pattern!r} is not a regular expression: {error}") from None
        for what, amount in (("flops", flops), ("bytes", bytes)):
            if not callable(amount) and amount < 0:
                raise UsageError(f"{what} of a kernel cannot be negative: {amount!r}")
        if type and type not in TYPES:
            raise UsageError(f"type must be one of {', '.join(TYPES)}; got {type!r}")
        self._flops, self._bytes, self._type = flops, bytes, type
        self._complained = False
        with _lock:
            _told.append(self)

    def remove(self) -> None:
        """Say it no more; once more is no error."""
        with _lock:
            if self in _told:
                _told.remove(self)

    def __enter__(self) -> Self:
        """Nothing more: it holds already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say it no more."""
        self.remove()

    def matches(self, name: str) -> bool:
        """Whether it speaks of that kernel."""
        return self._pattern.search(name) is not None

    def of(self, grid: Shape, block: Shape) -> Cost:
        """The cost of one launch of that shape; nan where the user's function fails."""
        return Cost(
            flops=self._amount(self._flops, grid, block),
            bytes=self._amount(self._bytes, grid, block),
            type=self._type,
            source="user",
            kind="opaque",
            note="said by the user",
        )

    def _amount(self, amount: Amount, grid: Shape, block: Shape) -> float:
        if not callable(amount):
            return float(amount)
        try:
            found = float(amount(grid, block))
        except Exception as error:
            return self._refuse(f"{error.__class__.__name__}: {error}")
        return found if not found < 0 else self._refuse(f"it gave {found}")

    def _refuse(self, why: str) -> float:
        # A profile must not fail for a wrong formula, nor believe it.
        if not self._complained:
            self._complained = True
            warnings.warn(
                f"pj.kernel_cost({self._pattern.pattern!r}): its function failed, the cost of "
                f"those kernels is not known ({why})",
                RuntimeWarning,
                stacklevel=2,
            )
        return math.nan


def cost_of(name: str, grid: Shape, block: Shape) -> Cost | None:
    """What users say of a kernel; None if nobody speaks of it."""
    with _lock:
        told = [one for one in reversed(_told) if one.matches(name)]
    return told[0].of(grid, block) if told else None
