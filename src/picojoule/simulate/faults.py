"""What may go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong between the hardware and the reader.

    Attributes:
        missed: share of ticks at which nothing is published: the old value stands once more.
        stalled: share of looks that take 1 to 5 ms.
        resets_s: when the counter begins anew at 0.
        clock_steps: (when in s, by how many s) the clock of the *spans* jumps.
        clock_ppm: how much faster that clock runs than the reader's.
    """

    missed: float = 0.0
    stalled: float = 0.0
    resets_s: tuple[float, ...] = ()
    clock_steps: tuple[tuple[float, float], ...] = ()
    clock_ppm: float = 0.0

    def seen(self, t_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the spans' clock says at ``t_ns``."""
        out = t_ns + np.rint(t_ns * (self.clock_ppm * 1e-6)).astype(np.int64)
        for at_s, by_s in self.clock_steps:
            out = out + np.where(t_ns >= at_s * 1e9, round(by_s * 1e9), 0)
        return np.asarray(out, dtype=np.int64)
