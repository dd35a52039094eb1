"""What ``pj.profile`` was told: checked, and as the rest of it takes it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from picojoule import _core
from picojoule.errors import UsageError

if TYPE_CHECKING:
    from picojoule._counts import CountTable
    from picojoule.green.recording import Told

#: Fastest fixed rate; beyond it no meter has anything new to say.
MOST_HZ = 5000.0
_KERNELS = ("all", "sums", "overlay", "off")


def study_of(study: Any, *others: Any) -> Told | None:
    if study is None and all(other is None for other in others):
        return None
    from picojoule.green.recording import told

    return told(study, *others)


def counts_of(counts: str | os.PathLike[str] | None) -> CountTable | None:
    if counts is None:
        return None
    from picojoule._counts import load_counts

    return load_counts(counts)


def kernels_of(kernels: object) -> str:
    if kernels is None or kernels is True:
        return "all"
    if kernels is False:
        return "off"
    if isinstance(kernels, str) and kernels in _KERNELS:
        return kernels
    raise UsageError(
        f"kernels must be one of {', '.join(_KERNELS)}, True or False, not {kernels!r}"
    )


def annotations_of(annotations: object) -> bool:
    if isinstance(annotations, bool):
        return annotations
    raise UsageError(f"annotations must be True or False, not {annotations!r}")


def rate_of(rate_hz: float | None) -> float:
    if rate_hz is None:
        return 0.0
    try:
        rate = float(rate_hz)
    except (TypeError, ValueError):
        raise UsageError(
            f"rate_hz must be a number of readings a second, got {rate_hz!r}"
        ) from None
    if not 0.01 <= rate <= MOST_HZ:
        raise UsageError(
            f"rate_hz={rate_hz!r} is out of range: between 0.01 and {MOST_HZ:.0f} readings "
            "a second, or None to follow each meter's own clock"
        )
    return rate


def sources_of(sources: str | Sequence[str] | None) -> list[str] | None:
    if sources is None:
        return None
    names = (
        [sources] if isinstance(sources, str) or not isinstance(sources, Iterable) else [*sources]
    )
    if not names or not all(isinstance(n, str) and n for n in names):
        raise UsageError(
            "sources must be None (all meters that work) or names such as ['nvml'], "
            f"got {sources!r}"
        )
    return names


def native_source(source: str) -> str:
    """``replay:PATH`` -> ``replay:KEY``: the native side knows no files, nor sensors by name."""
    meter, _, argument = source.partition(":")
    if meter == "simulate":
        if not argument:
            raise UsageError("simulate needs a sensor: sources=['simulate:nvml_energy']")
        from picojoule.simulate.live_meter import live

        return "simulate:" + live(source).native()
    if meter != "replay":
        return source
    if not argument:
        raise UsageError("replay needs a trace: sources=['replay:run.pj']")
    from picojoule import _trace

    return "replay:" + _core.offer_replay(_trace.read(argument))
