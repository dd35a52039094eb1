"""Sampled hardware counters in a trace: ``pm.arrows``, a column a counter; the rest is meta."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picojoule import _core
    from picojoule.counters import PmReadings

_PLAIN = ("device", "chip", "set", "provenance", "overflows", "gaps")
_LISTS = ("quantities", "metrics", "additive", "warnings")
_CLOCKS = ("sm_clock_before_hz", "sm_clock_during_hz")


def write(folder: Path, trace: _core.Trace) -> dict[str, Any] | None:
    """Write the samples, and give back what describes them; None where there are none."""
    from picojoule._trace import write_stream

    pm = getattr(trace, "pm", None)
    if pm is None:
        return None
    names = [f"c{i}" for i in range(len(pm.quantities))]
    write_stream(
        folder / "pm.arrows",
        {"begin_ns": "i8", "end_ns": "i8", **dict.fromkeys(names, "f8")},
        {
            "begin_ns": pm.begin_ns,
            "end_ns": pm.end_ns,
            **{name: pm.values[:, i] for i, name in enumerate(names)},
        },
    )
    return {
        **{name: getattr(pm, name) for name in _PLAIN},
        **{name: list(getattr(pm, name)) for name in _LISTS},
        **{name: None if math.isnan(getattr(pm, name)) else getattr(pm, name) for name in _CLOCKS},
    }


def read(folder: Path, known: Mapping[str, Any] | None) -> PmReadings | None:
    """The samples that ``known``, from ``write``, describes.

    Raises:
        TruncatedTraceError: the file is missing or damaged.
    """
    if not known:
        return None
    import numpy as np

    from picojoule._trace import read_stream
    from picojoule.counters import PmReadings

    names = [f"c{i}" for i in range(len(known["quantities"]))]
    types = {"begin_ns": "i8", "end_ns": "i8", **dict.fromkeys(names, "f8")}
    columns = read_stream(folder / "pm.arrows", types)
    values = np.empty((len(columns["begin_ns"]), len(names)))
    for i, name in enumerate(names):
        values[:, i] = columns[name]
    kept: dict[str, Any] = {name: known[name] for name in _PLAIN}
    kept |= {name: tuple(known[name]) for name in _LISTS}
    kept |= {name: math.nan if known[name] is None else known[name] for name in _CLOCKS}
    return PmReadings(begin_ns=columns["begin_ns"], end_ns=columns["end_ns"], values=values, **kept)
