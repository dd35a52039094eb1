"""The part of a stored trace that tells what ran on devices.

* ``kernels.arrows``        begin_ns i8, end_ns i8, kernel_class u4, path u4, graph_node u4,
  track u2, flags u1: one row a kernel or copy, absent where they were not kept one by one; those of
  random seconds only, where ``overhead`` has a number ``kernels_kept_one_in``
* ``kernel_cells.arrows``   path u4, kernel_class u4, track u4, flags u4, count u8, time_ns i8,
  least_ns i8, most_ns i8, time2_ns2 f8: their sums
* ``kernel_classes.arrows`` name utf8, kind u1, grid_x u4 ... block_z u4, static_shared u4,
  dynamic_shared u4, bytes u8: what the two others name by row number

None of the three is there if nothing ran on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picojoule import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("", "kernel", "memcpy", "memset", "other")

_KERNELS = {
    "begin_ns": "i8",
    "end_ns": "i8",
    "kernel_class": "u4",
    "path": "u4",
    "graph_node": "u4",
    "track": "u2",
    "flags": "u1",
}
_CELLS = {
    "path": "u4",
    "kernel_class": "u4",
    "track": "u4",
    "flags": "u4",
    "count": "u8",
    "time_ns": "i8",
    "least_ns": "i8",
    "most_ns": "i8",
    "time2_ns2": "f8",
}
_AXES = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z")
_CLASSES = {
    "kind": "u1",
    **dict.fromkeys(_AXES, "u4"),
    "static_shared": "u4",
    "dynamic_shared": "u4",
    "bytes": "u8",
}


def kernel_rows(columns: Mapping[str, Any]) -> NDArray[Any]:
    """Records of ``Trace.kernels`` from columns named as in ``kernels.arrows``."""
    import numpy as np

    rows = np.zeros(len(columns["begin_ns"]), dtype=_core.record_dtype())
    rows["kind"] = 7
    rows["a"], rows["b"] = columns["begin_ns"], columns["end_ns"]
    node = np.asarray(columns["graph_node"]).astype("u8")
    rows["c"] = (node << np.uint64(32)) | np.asarray(columns["path"]).astype("u8")
    rows["d"], rows["id"] = columns["kernel_class"], columns["track"]
    rows["flags"] = columns["flags"]
    return rows


def write(folder: Path, trace: _core.Trace) -> None:
    """Write what ``trace`` knows of devices; nothing if it knows nothing."""
    import numpy as np

    from picojoule._trace import write_stream

    if not len(trace.kernel_cells):
        return
    rows = trace.kernels
    if len(rows):
        columns = {
            "begin_ns": rows["a"],
            "end_ns": rows["b"],
            "kernel_class": rows["d"],
            "path": rows["c"] & np.uint64(0xFFFFFFFF),
            "graph_node": rows["c"] >> np.uint64(32),
            "track": rows["id"],
            "flags": rows["flags"],
        }
        write_stream(folder / "kernels.arrows", _KERNELS, columns)
    cells = trace.kernel_cells
    write_stream(folder / "kernel_cells.arrows", _CELLS, {name: cells[name] for name in _CELLS})
    classes = trace.kernel_classes
    numbers = {
        "kind": [KINDS.index(k["kind"]) for k in classes],
        **{axis: [(*k["grid"], *k["block"])[i] for k in classes] for i, axis in enumerate(_AXES)},
        **{n: [k[n] for k in classes] for n in ("static_shared", "dynamic_shared", "bytes")},
    }
    write_stream(
        folder / "kernel_classes.arrows", _CLASSES, numbers, names=[k["name"] for k in classes]
    )


def read(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``_core.Trace`` that concern devices; raises as ``_trace.read`` does."""
    import numpy as np

    from picojoule._trace import read_stream

    if not (folder / "kernel_cells.arrows").exists():
        return {}
    stored = read_stream(folder / "kernel_cells.arrows", _CELLS)
    cells = np.zeros(len(stored["path"]), dtype=_core.kernel_cell_dtype())
    for name in _CELLS:
        cells[name] = stored[name]
    names: list[str] = []
    numbers = read_stream(folder / "kernel_classes.arrows", _CLASSES, names=names)
    classes = [
        {
            "kind": KINDS[int(numbers["kind"][i])],
            "name": name,
            "grid": tuple(int(numbers[axis][i]) for axis in _AXES[:3]),
            "block": tuple(int(numbers[axis][i]) for axis in _AXES[3:]),
            **{n: int(numbers[n][i]) for n in ("static_shared", "dynamic_shared", "bytes")},
        }
        for i, name in enumerate(names)
    ]
    out = {"kernel_cells": cells, "kernel_classes": classes, "tracks": meta.get("tracks", [])}
    if (folder / "kernels.arrows").exists():
        out["kernels"] = kernel_rows(read_stream(folder / "kernels.arrows", _KERNELS))
    return out


def of(trace: _core.Trace) -> dict[str, Any]:
    """The same arguments, of a trace in memory."""
    return {
        "kernels": trace.kernels,
        "kernel_classes": trace.kernel_classes,
        "tracks": trace.tracks,
        # A journal holds kernels one by one and no sums: they are made anew.
        "kernel_cells": trace.kernel_cells if len(trace.kernel_cells) else None,
    }
