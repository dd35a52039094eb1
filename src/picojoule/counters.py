"""Hardware counters of NVIDIA GPUs: what kernels did, as counted, and what devices do, as sampled.

Two tools of CUPTI, both with a permission that the driver may withhold:

- ``picojoule count program.py`` replays each kernel a few times and reads exact FLOPs and bytes,
  once a signature (name, grid, block, shared memory). ``load_counts`` reads the file it writes.
- ``PmSampler`` reads pipe cycles, instructions and bytes of a whole device every 100 us to 1 ms,
  without stopping anything. No counter of FLOPs can be sampled on any chip; ``disaggregate`` and
  ``tensor_flops`` say what follows, as a model.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from picojoule import _core
from picojoule._counts import (
    Count,
    CountTable,
    KernelCount,
    driver_version,
    load_counts,
    to_document,
    write,
)
from picojoule._disaggregate import Share, disaggregate, tensor_flops
from picojoule.errors import NoMeterError, NotFinishedError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Count",
    "CountTable",
    "Counting",
    "KernelCount",
    "PmReadings",
    "PmSampler",
    "Share",
    "disaggregate",
    "load_counts",
    "tensor_flops",
]

#: A change of the SM clock that is more than its own wandering.
_CLOCK_CHANGE = 0.05


class Counting:
    """Counts every kernel of this process until it is closed, and writes a report.

    What ``picojoule count`` opens in the program that it runs. The report is a file of
    ``load_counts``, with one entry more: ``refusal``, (words, remedy) of why nothing, or no more,
    could be counted.

    Raises:
        NoMeterError: on entry, if it cannot be done here; the message says why and the remedy.
    """

    def __init__(self, report: str, plan: str = "checked", times: int = 1) -> None:
        """Write to the path ``report``; ``plan`` and ``times`` as for ``picojoule count``."""
        self._report = report
        self._plan = plan
        self._times = times
        self._native: _core.KernelCounting | None = None

    def __enter__(self) -> Self:
        """Begin to count."""
        try:
            self._native = _core.KernelCounting(sys.path, self._plan, self._times)
        except RuntimeError as error:
            write(self._report, {"told": True})  # by whoever catches this: nothing has run
            raise refused(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        """End, and write the report."""
        native, self._native = self._native, None
        if native is None:
            return
        found = native.stop()
        document = to_document(found, self._plan, driver_version())
        write(self._report, {**document, "refusal": found["refusal"]})


@dataclass(frozen=True, slots=True)
class PmReadings:
    """What PM sampling read: one row a sample, one column a counter.

    Times are nanoseconds of ``CLOCK_MONOTONIC``, as everywhere in picojoule. An additive column is
    what was counted inside the sample, so its sum over samples means something; the others are
    levels during it (Hz, percent).
    """

    device: int  # CUDA's ordinal
    chip: str
    set: str
    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    values: NDArray[np.float64]  # samples x counters
    quantities: tuple[str, ...]  # the same on all chips: "tensor_cycles", "dram_read_bytes" ...
    metrics: tuple[str, ...]  # as CUPTI spells them
    additive: tuple[bool, ...]
    provenance: str = "counted"
    #: Times that the hardware's buffer was full, and places where samples are missing.
    overflows: int = 0
    gaps: int = 0
    #: Of NVML, before sampling began; nan if unknown. And by the samples themselves.
    sm_clock_before_hz: float = math.nan
    sm_clock_during_hz: float = math.nan
    warnings: tuple[str, ...] = field(default=())

    def __getitem__(self, quantity: str) -> NDArray[np.float64]:
        """One column. KeyError: the chip's set has no such counter."""
        try:
            column: NDArray[np.float64] = self.values[:, self.quantities.index(quantity)]
        except ValueError:
            raise KeyError(f"the set {self.set} has no {quantity!r}") from None
        return column

    def disaggregate(self, kernels: Sequence[tuple[int, int, Hashable]]) -> dict[str, list[Share]]:
        """Each additive counter split among kernel classes, by quantity.

        ``kernels`` are (begin_ns, end_ns, class) of each run, on the clock of these readings; the
        rest as for the function of that name.
        """
        return {
            quantity: disaggregate(self.begin_ns, self.end_ns, self[quantity], kernels)
            for quantity, additive in zip(self.quantities, self.additive, strict=True)
            if additive
        }


class PmSampler:
    """Samples the counters of one device while a ``with`` block runs.

    The result is in ``readings`` once the block has ended. It takes CUPTI 12.6 or newer, a chip
    from Turing on, and the permission to read counters; one sampler a device. Drivers may hold the
    GPU's clocks while they are sampled, which changes the energy: the readings have the SM clock
    before and during, and say so if it changed.

    Example:
        >>> with PmSampler(interval_us=200) as sampler:  # doctest: +SKIP
        ...     train_step()
        >>> sampler.readings["dram_read_bytes"].sum()  # doctest: +SKIP

    Raises:
        UsageError: an interval outside 10 us to 1 s, a negative device, or a second use.
        NoMeterError: on entry, if it cannot be done here; the message says why and the remedy.
    """

    def __init__(self, device: int = 0, interval_us: float = 200, *, set: str = "") -> None:
        """Sample CUDA's device ``device``; ``set`` names one of the chip's sets of counters."""
        if not 10 <= interval_us <= 1e6:
            raise UsageError(f"interval_us must be between 10 and 1e6, got {interval_us!r}")
        if device < 0:
            raise UsageError(f"device must not be negative, got {device!r}")
        self._device = device
        self._interval_ns = round(interval_us * 1000)
        self._set = set
        self._sampling: _core.PmSampling | None = None
        self._readings: PmReadings | None = None
        self._clock_before_hz = math.nan

    def __enter__(self) -> Self:
        """Begin to sample."""
        if self._sampling is not None or self._readings is not None:
            raise UsageError("a PmSampler can be used once")
        self._clock_before_hz = _sm_clock_hz()
        try:
            self._sampling = _core.PmSampling(sys.path, self._device, self._interval_ns, self._set)
        except RuntimeError as error:
            raise refused(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        """End, and take what there is."""
        sampling, self._sampling = self._sampling, None
        if sampling is None:
            return
        sampling.stop()
        self._readings = _readings(
            self._device, sampling.take(), sampling.status(), self._clock_before_hz
        )

    @property
    def readings(self) -> PmReadings:
        """What was read. NotFinishedError: the block has not ended."""
        if self._readings is None:
            raise NotFinishedError("the readings of a PmSampler are there after its block")
        return self._readings


def refused(error: RuntimeError) -> NoMeterError:
    """The native module's refusal, (words, remedy), as one sentence."""
    words, remedy = error.args if len(error.args) == 2 else (str(error), "")
    return NoMeterError(f"{words}; {remedy}" if remedy else str(words))


def _readings(
    device: int, taken: tuple[Any, Any, Any], status: Mapping[str, Any], before_hz: float
) -> PmReadings:
    import numpy as np

    begin_ns, end_ns, values = taken
    metrics = status["metrics"]
    quantities = tuple(m["quantity"] for m in metrics)
    during_hz = math.nan
    if len(values) and "gpc_hz" in quantities:
        during_hz = float(np.median(values[:, quantities.index("gpc_hz")]))
    warnings = []
    if abs(during_hz - before_hz) > _CLOCK_CHANGE * before_hz:
        warnings.append(
            f"the SM clock was {before_hz / 1e6:.0f} MHz before and {during_hz / 1e6:.0f} MHz "
            "while counters were sampled: sampling may hold the clocks, and so change the energy"
        )
    if status["missing"]:
        warnings.append(
            f"this CUPTI has no {', '.join(status['missing'])} on {status['chip']}; 13.0 has"
        )
    if status["overflows"] or status["gaps"]:
        warnings.append(
            f"samples are missing in {max(status['gaps'], status['overflows'])} places: the "
            "hardware's buffer was full; a longer interval helps"
        )
    words, remedy = status["refusal"]
    if words:
        warnings.append(f"sampling ended early: {words}" + (f"; {remedy}" if remedy else ""))
    return PmReadings(
        device=device,
        chip=status["chip"],
        set=status["set"],
        begin_ns=begin_ns,
        end_ns=end_ns,
        values=values,
        quantities=quantities,
        metrics=tuple(m["name"] for m in metrics),
        additive=tuple(bool(m["additive"]) for m in metrics),
        overflows=status["overflows"],
        gaps=status["gaps"],
        sm_clock_before_hz=before_hz,
        sm_clock_during_hz=during_hz,
        warnings=tuple(warnings),
    )


def _sm_clock_hz() -> float:
    """The SM clock by NVML where there is one board; nan otherwise.

    With several, CUDA's ordinals are not NVML's indices, and a clock of another board would be
    worse than none.
    """
    import ctypes

    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() != 0:
            return math.nan
        count, clock, board = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_void_p()
        sm = 1  # NVML_CLOCK_SM
        try:
            known = (
                nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
                and count.value == 1
                and nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(board)) == 0
                and nvml.nvmlDeviceGetClockInfo(board, sm, ctypes.byref(clock)) == 0
            )
        finally:
            nvml.nvmlShutdown()
    except (OSError, AttributeError):
        return math.nan
    return clock.value * 1e6 if known else math.nan
