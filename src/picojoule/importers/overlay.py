"""A timeline that another tool recorded as a trace of ours, beside our own power readings or alone.

This is how picojoule works together with a profiler that holds the vendor's library: that one
writes the timeline, ours (``kernels="overlay"``) the readings, and the two meet here.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule import _core
from picojoule._trace_kernels import kernel_rows
from picojoule.errors import UsageError
from picojoule.importers.timeline import GRAPH, UNMATCHED, ImportedTimeline

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REPLAYED, _NO_LAUNCH, _OLD_GRAPH = 1, 2, 4


def to_trace(timeline: ImportedTimeline, power: _core.Trace | None = None) -> _core.Trace:
    """``timeline`` as a trace; with ``power``, the readings and regions of that trace too.

    Raises:
        UsageError: the timeline cannot be put on the clock of ``power``, or lies outside it.
    """
    notes = [f"kernels and regions imported from {timeline.source}", *timeline.notes]
    if power is not None:
        timeline = _on_clock_of(power, timeline)
    kernels, spans = timeline.kernels, timeline.spans
    times = [rows[name] for rows in (kernels, spans) for name in ("begin_ns", "end_ns")]
    known = np.concatenate(times) if any(len(t) for t in times) else np.zeros(1, dtype="i8")
    begin, end = int(known.min()), int(known.max())
    if power is not None:
        if len(known) > 1 and (end <= power.begin_ns or begin >= power.end_ns):
            raise UsageError(
                "the timeline and the power readings do not overlap in time: they are of different "
                "runs, or the file's clock is not what it says"
            )
        begin, end = power.begin_ns, power.end_ns
        inside = (kernels["end_ns"] > begin) & (kernels["begin_ns"] < end)
        kernels = kernels[inside]
        spans = spans[(spans["end_ns"] > begin) & (spans["begin_ns"] < end)]
    own_paths = list(power.paths) if power is not None else [(0, "")]
    shift = len(own_paths) - 1  # the imported root is ours
    paths = own_paths + [(p + shift if p else 0, name) for p, name in timeline.paths[1:]]

    def moved(path: NDArray[Any]) -> NDArray[Any]:
        return np.where(path == 0, 0, path + shift).astype("u4")

    flags = np.zeros(len(kernels), dtype="u1")
    flags |= np.where(kernels["flags"] & UNMATCHED, _NO_LAUNCH, 0).astype("u1")
    flags |= np.where(kernels["flags"] & GRAPH, _REPLAYED | _OLD_GRAPH, 0).astype("u1")
    columns = {name: kernels[name] for name in kernels.dtype.names or ()}
    rows = kernel_rows({**columns, "path": moved(kernels["path"]), "flags": flags})
    span_rows = np.zeros(len(spans), dtype=_core.record_dtype())
    span_rows["kind"] = 3
    span_rows["a"], span_rows["b"] = spans["begin_ns"], spans["end_ns"]
    span_rows["c"], span_rows["d"] = spans["thread"], moved(spans["path"])
    cells = _cells(span_rows, begin, end)
    tracks = list(timeline.tracks)
    sums = None if len(rows) or not timeline.cells else _sums(timeline, shift, tracks, notes)
    if power is not None:
        # Two sets of snapshots cannot be read as one: where the run has regions of its own, the
        # table shows those, and imported ones name kernels and the timeline only.
        cells = power.cells if len(power.cells) else cells
        span_rows = _merged(power.spans, span_rows)
    empty = np.zeros(0, dtype=_core.record_dtype())
    trace = _core.Trace(
        name=power.name if power is not None else timeline.source,
        begin_ns=begin,
        end_ns=end,
        begin_wall_ns=power.begin_wall_ns if power is not None else 0,
        channels=power.channels if power is not None else [],
        paths=paths,
        ticks=power.ticks if power is not None else empty,
        cells=cells,
        spans=span_rows,
        gaps=power.gaps if power is not None else [],
        overhead=dict(power.overhead) if power is not None else {},
        warnings=[*(power.warnings if power is not None else ()), *notes],
        kernels=rows,
        kernel_classes=timeline.classes,
        tracks=tracks,
        kernel_cells=sums,
    )
    known_environment = getattr(power, "environment", None) if power is not None else None
    trace.environment = dict(known_environment or {"imported_from": timeline.source})
    return trace


def _on_clock_of(power: _core.Trace, timeline: ImportedTimeline) -> ImportedTimeline:
    if timeline.clock == "monotonic":
        return timeline
    if timeline.offset_ns is not None:
        return timeline.on_monotonic(timeline.offset_ns)
    if timeline.clock == "realtime" and power.begin_wall_ns:
        return timeline.on_monotonic(power.begin_ns - power.begin_wall_ns)
    raise UsageError(
        f"the times of this {timeline.source} file have no known origin, so they cannot be joined "
        "with power readings; import it alone, or record it with wall-clock times"
    )


def _cells(spans: NDArray[Any], begin: int, end: int) -> NDArray[Any]:
    """Time spent in each path between the instants at which any range begins or ends."""
    if not len(spans):
        return np.zeros(0, dtype=_core.record_dtype())
    from_ns = np.clip(spans["a"], begin, end)
    to_ns = np.clip(spans["b"], begin, end)
    opens: dict[int, Counter[int]] = {}
    closes: dict[int, Counter[int]] = {}
    for a, b, path in zip(from_ns.tolist(), to_ns.tolist(), spans["d"].tolist(), strict=True):
        opens.setdefault(a, Counter())[path] += 1
        closes.setdefault(b, Counter())[path] += 1
    nothing: Counter[int] = Counter()
    rows: list[tuple[int, int, int, int, int]] = []
    open_now, entered = nothing, nothing
    previous = begin
    for now in sorted({*opens, *closes, begin, end}):
        closing, opening = closes.get(now, nothing), opens.get(now, nothing)
        before = len(rows)
        for path in {*open_now, *entered}:
            time_ns = open_now[path] * (now - previous)
            exits = min(closing[path], open_now[path])
            if time_ns or entered[path] or exits:
                calls = (entered[path] << 32) | exits
                rows.append((now, time_ns, calls, path, open_now[path]))
        if len(rows) == before:
            rows.append((now, 0, 0, 0, 0))  # a snapshot at which nothing had changed
        # Ranges without length open and close at one instant: counted, not timed.
        instant = closing - open_now
        for path, count in instant.items():
            rows.append((now, 0, (count << 32) | count, path, 0))
        open_now = open_now - closing + (opening - instant)
        entered = opening - instant
        previous = now
    out = np.zeros(len(rows), dtype=_core.record_dtype())
    out["kind"] = 2
    for name, column in zip(("a", "b", "c", "d", "id"), zip(*rows, strict=True), strict=True):
        out[name] = column
    return out


def _merged(own: NDArray[Any], imported: NDArray[Any]) -> NDArray[Any]:
    both = np.concatenate([own, imported])
    return both[np.argsort(both["b"], kind="stable")]


def _sums(
    timeline: ImportedTimeline, shift: int, tracks: list[dict[str, Any]], notes: list[str]
) -> NDArray[Any]:
    """Totals by path and kernel, of a file that has no times."""
    kept = [c for c in timeline.cells if c["class"] is not None and c["time_ns"]]
    out = np.zeros(len(kept), dtype=_core.kernel_cell_dtype())
    nowhere = None
    for row, cell in zip(out, kept, strict=True):
        track = cell["track"]
        if track is None:
            if nowhere is None:
                nowhere = len(tracks)
                tracks.append({"domain": "gpu:0", "device": "", "context": 0, "stream": 0})
            track = nowhere
        path = cell["path"] or 0
        count = max(1, int(cell["count"] or 1))
        row["path"] = path + shift if path else 0
        row["kernel_class"], row["track"] = cell["class"], track
        row["count"], row["time_ns"] = count, round(cell["time_ns"])
        row["least_ns"] = row["most_ns"] = round(cell["time_ns"] / count)
        row["time2_ns2"] = math.nan
    if kept:
        notes.append("the file has sums only: least and most times are means, order is unknown")
    return out
