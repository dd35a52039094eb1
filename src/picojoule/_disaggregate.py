"""What samples of a whole device say about the kernels that ran in them.

A sample counts what all kernels did in its time. With the timeline, each sample is one equation:
the sum over kernel classes of (the class's rate) x (its time in the sample). More samples than
classes give the rates, as long as the classes do not always run side by side.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from picojoule.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

#: Dense FLOPs a cycle and SM of a tensor pipe that is busy all the time, by type: NVIDIA's peak of
#: H100 SXM (132 SMs) and A100 (108 SMs) over their boost clock.
_TENSOR_FLOPS_A_CYCLE = {
    "GH100": {"bf16": 4096.0, "fp16": 4096.0, "fp8": 8192.0, "tf32": 2048.0},
    "GA100": {"bf16": 2048.0, "fp16": 2048.0, "tf32": 1024.0},
}


@dataclass(frozen=True, slots=True)
class Share:
    """What one class of kernels did, of one counter."""

    kernel: Hashable
    rate: float  # a second of its time; nan where the samples cannot tell
    total: float  # in all of its time inside the samples
    std: float  # of the rate, from how far the samples are from the model
    low: float  # of the rate: what the samples allow
    high: float
    time_s: float  # its time inside the samples
    resolved: bool
    provenance: str = "modelled"


def disaggregate(
    begin_ns: ArrayLike,
    end_ns: ArrayLike,
    values: ArrayLike,
    kernels: Sequence[tuple[int, int, Hashable]],
) -> list[Share]:
    """Split one additive counter of PM samples among kernel classes, by non-negative least squares.

    Args:
        begin_ns: when each sample began; shape (samples,).
        end_ns: when it ended.
        values: what was counted in each; nan for a sample that is not to be used.
        kernels: (begin_ns, end_ns, class) of each run, on the same clock; runs may overlap.

    Returns:
        One share for each class that ran inside the samples, in order of first appearance. A rate
        that the samples do not determine (two classes that always run in the same proportion) is
        nan and not resolved; its interval is what no sample contradicts.

    Raises:
        UsageError: shapes differ, or a sample has no duration.
    """
    import numpy as np

    begins = np.asarray(begin_ns, dtype=np.int64)
    ends = np.asarray(end_ns, dtype=np.int64)
    counted = np.asarray(values, dtype=np.float64)
    if not begins.shape == ends.shape == counted.shape or begins.ndim != 1:
        raise UsageError("begin_ns, end_ns and values must be of one length")
    if np.any(ends <= begins):
        raise UsageError("every sample must end after it begins")
    used = ~np.isnan(counted)
    classes, overlap = _overlap(begins[used], ends[used], kernels)
    seen = overlap.sum(axis=0) > 0
    names = [name for name, there in zip(classes, seen, strict=True) if there]
    matrix, counted = overlap[:, seen], counted[used]
    if not names:
        return []

    rates = _nnls(matrix, counted)
    determined = _determined(matrix)
    residual = counted - matrix @ rates
    freedom = len(counted) - int(np.linalg.matrix_rank(matrix))
    # Without samples to spare nothing tells how well the model holds.
    noise = float(residual @ residual) / freedom if freedom > 0 else math.nan
    variance = np.diag(np.linalg.pinv(matrix.T @ matrix)) * noise
    # A sample cannot have had more of a class than was counted in it, give or take the noise.
    slack = 0.0 if math.isnan(noise) else 2 * math.sqrt(noise)
    shares = []
    for i, name in enumerate(names):
        time = matrix[:, i]
        with np.errstate(divide="ignore", invalid="ignore"):
            most = float(np.min(np.where(time > 0, (counted + slack) / time, np.inf)))
        std = math.sqrt(max(float(variance[i]), 0.0)) if not math.isnan(noise) else math.nan
        rate = float(rates[i])
        total_s = float(time.sum())
        if determined[i]:
            half = 1.96 * std if not math.isnan(std) else 0.0
            low, high = max(rate - half, 0.0), rate + half
        else:
            rate, std, low, high = math.nan, math.nan, 0.0, max(most, 0.0)
        shares.append(
            Share(name, rate, rate * total_s, std, low, high, total_s, bool(determined[i]))
        )
    return shares


def tensor_flops(
    hmma_cycles: float, chip: str, type: str | None = None
) -> tuple[float, float, float]:
    """What so many active cycles of the half-precision tensor pipe may be in FLOPs: a model.

    An active cycle is no full one, moves of constants (HFMA2.MMA) light the same counter, and FP8
    counts as HMMA: so the value is an upper estimate, and the interval has all of these in it.

    Args:
        hmma_cycles: summed over SMs.
        chip: as CUPTI calls it; ``"GH100"`` or ``"GA100"`` are known.
        type: ``"bf16"``, ``"fp16"``, ``"fp8"`` or ``"tf32"`` where known, as from a kernel's name.

    Returns:
        (flops, low, high), dense FLOPs with an FMA as two; nan for a chip that is not known.

    Raises:
        UsageError: the chip has no such type.
    """
    known = _TENSOR_FLOPS_A_CYCLE.get(chip)
    if known is None:
        return (math.nan, math.nan, math.nan)
    if type is not None and type not in known:
        raise UsageError(f"{chip} has no tensor type {type!r}; it has {', '.join(known)}")
    most = known[type] if type is not None else max(known.values())
    return (hmma_cycles * known[type or "bf16"], 0.0, hmma_cycles * most)


def _overlap(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    kernels: Sequence[tuple[int, int, Hashable]],
) -> tuple[list[Hashable], NDArray[np.float64]]:
    """Seconds that each class ran in each sample."""
    import numpy as np

    order = np.argsort(begins, kind="stable")
    sorted_begins, sorted_ends = begins[order], ends[order]
    # Samples do not overlap, so their ends are sorted too.
    index: dict[Hashable, int] = {}
    for _, _, name in kernels:
        index.setdefault(name, len(index))
    seconds = np.zeros((len(begins), len(index)))
    for begin, end, name in kernels:
        first = int(np.searchsorted(sorted_ends, begin, side="right"))
        last = int(np.searchsorted(sorted_begins, end, side="left"))
        part = slice(first, last)
        shared = np.minimum(sorted_ends[part], end) - np.maximum(sorted_begins[part], begin)
        seconds[order[part], index[name]] += np.maximum(shared, 0) * 1e-9
    return list(index), seconds


def _nnls(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Non-negative least squares by the active set of Lawson and Hanson (1974), chapter 23."""
    import numpy as np

    scale = np.linalg.norm(matrix, axis=0)
    a = matrix / scale
    solution = np.zeros(a.shape[1])
    free = np.zeros(a.shape[1], dtype=bool)
    tolerance = 1e-12 * max(float(np.abs(a.T @ right).max()), 1e-300)
    for _ in range(3 * a.shape[1] + 10):
        gradient = a.T @ (right - a @ solution)
        candidates = ~free & (gradient > tolerance)
        if not candidates.any():
            break
        free[np.argmax(np.where(candidates, gradient, -np.inf))] = True
        while True:
            trial = np.zeros_like(solution)
            trial[free] = np.linalg.lstsq(a[:, free], right, rcond=None)[0]
            negative = free & (trial <= 0)
            if not negative.any():
                break
            # As far towards the trial as all stay at or above zero.
            step = float(np.min(solution[negative] / (solution[negative] - trial[negative])))
            solution += step * (trial - solution)
            free &= solution > 1e-15 * max(float(np.abs(solution).max()), 1e-300)
            solution[~free] = 0.0
        solution = trial
    result: NDArray[np.float64] = solution / scale
    return result


def _determined(matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each column's coefficient is fixed by the equations: no null vector touches it."""
    import numpy as np

    a = matrix / np.linalg.norm(matrix, axis=0)
    _, singular, rows = np.linalg.svd(a, full_matrices=True)
    rank = int((singular > 1e-9 * singular[0]).sum())
    null = rows[rank:]
    free: NDArray[np.bool_] = np.abs(null).max(axis=0, initial=0.0) < 1e-6
    return free
