"""The trace on disk: a folder of Arrow IPC streams, or, while recording, a journal.

``run.pj/`` holds

* ``meta.json``       format, version, state, times, channels, overhead, warnings, environment
* ``readings.arrows`` channel u2, seen_old_ns i8, seen_new_ns i8, value f8 (cumulative joules, or
  watts), raw u8, missed u4, flags u1
* ``regions.arrows``  time_ns i8, path u4, open_ns i8, enters u4, exits u4, open u2, cpu u1 (0:
  unknown, else 1 + 254 x share of open_ns that was CPU time of the path as the innermost one)
* ``spans.arrows``    begin_ns i8, end_ns i8, path u4, thread u4
* ``kernels.arrows`` and two more where something ran on a device: see ``_trace_kernels``
* ``names.arrows``    path u4, parent u4, name utf8
* ``journal.pjj``     only while the program runs, or after it was killed

Any Arrow reader opens the streams (pyarrow, Polars, DuckDB, pandas, R); times are ns of
CLOCK_MONOTONIC, ``meta.json`` relates them to the wall clock.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picojoule import _core, _trace_kernels, _trace_pm
from picojoule.errors import ForeignTraceError, NewerTraceError, TraceError, TruncatedTraceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.results import Profile

FORMAT = "picojoule.trace"
VERSION = 1
META = "meta.json"

_READINGS = {
    "channel": "u2",
    "seen_old_ns": "i8",
    "seen_new_ns": "i8",
    "value": "f8",
    "raw": "u8",
    "missed": "u4",
    "flags": "u1",
}
_REGIONS = {
    "time_ns": "i8",
    "path": "u4",
    "open_ns": "i8",
    "enters": "u4",
    "exits": "u4",
    "open": "u2",
    "cpu": "u1",
}
#: Columns that traces of an earlier development version lack: 0 means unknown.
_LATER = frozenset(("cpu",))
_SPANS = {"begin_ns": "i8", "end_ns": "i8", "path": "u4", "thread": "u4"}


def load(path: str | os.PathLike[str]) -> Profile:
    """The profile stored at ``path``; what a killed program left behind is recovered.

    Raises:
        FileNotFoundError: nothing is there.
        ForeignTraceError: it is something else.
        NewerTraceError: a newer picojoule wrote it.
        TruncatedTraceError: a part of it is missing.
    """
    from picojoule._build import build

    return build(read(path))


def read(path: str | os.PathLike[str]) -> _core.Trace:
    """The raw trace stored at ``path``; raises as ``load`` does."""
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"there is no trace at {folder}")
    if not folder.is_dir():
        raise ForeignTraceError(
            f"{folder} is a file; a trace of picojoule is a folder (run.pj) with {META} in it"
        )
    meta = _read_meta(folder)
    journal = folder / _core.JOURNAL_FILE
    if meta.get("state") != "finished":
        if not journal.exists():
            raise TruncatedTraceError(f"{folder} was never finished and its journal is missing")
        return _recover(folder, journal)
    return _read_finished(folder, meta)


def create(path: str) -> str:
    """Make the folder of a new trace; returns the path of its journal.

    Raises:
        OSError: it exists already, or cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise FileExistsError(
            f"{folder} exists already; a trace is never overwritten. "
            "Name another output, or remove it"
        ) from None
    except OSError as error:
        raise type(error)(
            error.errno, f"the trace folder cannot be created ({error.strerror})", str(folder)
        ) from None
    _write_meta(folder, {"format": FORMAT, "version": VERSION, "state": "recording"})
    return str(folder / _core.JOURNAL_FILE)


def remove_unused(path: str) -> None:
    """Undo ``create`` for a profile that could not begin."""
    shutil.rmtree(path, ignore_errors=True)


def save(path: str | os.PathLike[str], trace: _core.Trace) -> None:
    """Write ``trace`` to the new folder ``path``; raises OSError as ``create`` does."""
    create(os.fspath(path))
    _write_finished(Path(path), trace)


def finish(path: str, trace: _core.Trace, trouble: str) -> str:
    """Turn the journal at ``path`` into the finished trace.

    The journal is at full resolution, the record in memory may have been thinned, so the journal is
    taken where it is whole. Returns a warning for the report, "" if all went well; a full disk
    leaves the journal as it is.
    """
    folder = Path(path)
    journal = folder / _core.JOURNAL_FILE
    full = trace
    if not trouble:
        stored, problem, _, ignored = _core.read_journal(str(journal))
        if not problem and not ignored and stored.complete:
            full = _with(stored, trace)
    try:
        _write_finished(folder, full)
    except OSError as error:
        return (
            f"the trace {folder} could not be finished ({error.strerror or error}); "
            "what its journal holds can still be loaded"
        )
    journal.unlink(missing_ok=True)
    return trouble


def _with(stored: _core.Trace, live: _core.Trace) -> _core.Trace:
    """The rows of ``stored`` with what only the live record knows."""
    devices = _trace_kernels.of(live if len(live.kernel_cells) else stored)
    overhead = dict(live.overhead)
    # In memory they may be a sample; the journal has all that the sums are of, unless it lost some.
    if len(stored.kernels) == int(live.kernel_cells["count"].sum()):
        devices["kernels"] = stored.kernels
        overhead.pop(_core.KERNEL_SAMPLE_KEY, None)
    return _core.Trace(
        name=live.name,
        begin_ns=live.begin_ns,
        end_ns=live.end_ns,
        begin_wall_ns=live.begin_wall_ns,
        channels=live.channels,
        paths=live.paths,
        ticks=stored.ticks,
        cells=stored.cells,
        spans=stored.spans,
        gaps=live.gaps,
        overhead=overhead,
        warnings=list(live.warnings),
        **devices,
    )


# ---- recovery ----


def _recover(folder: Path, journal: Path) -> _core.Trace:
    trace, problem, message, ignored = _core.read_journal(str(journal))
    if problem == "newer":
        raise NewerTraceError(f"{journal} was written by a newer picojoule ({message})")
    if problem == "foreign":
        raise ForeignTraceError(f"{journal} is no journal of picojoule: {message}")
    if problem:
        raise TruncatedTraceError(f"{journal} holds nothing to load: {message}")
    warnings = list(trace.warnings)
    if not trace.complete:
        warnings.append(
            "the program ended without finishing this trace (killed, or still running); it holds "
            "what was written until then"
        )
    if ignored:
        warnings.append(f"{ignored} bytes at the end of the journal were damaged and are left out")
    gap = trace.meta.get("journal_gap")
    if gap:
        warnings.append(gap)
    environment = {k: v for k, v in trace.meta.items() if ":" not in k and k != "journal_gap"}
    recovered = _core.Trace(
        name=trace.name,
        begin_ns=trace.begin_ns,
        end_ns=trace.end_ns,
        begin_wall_ns=trace.begin_wall_ns,
        channels=trace.channels,
        paths=trace.paths,
        ticks=trace.ticks,
        cells=trace.cells,
        spans=trace.spans,
        gaps=trace.gaps,
        overhead=dict(trace.overhead),
        warnings=warnings,
        **_trace_kernels.of(trace),
    )
    recovered.environment = environment
    return recovered


# ---- finished traces ----


def _columns(trace: _core.Trace) -> dict[str, tuple[Mapping[str, str], dict[str, Any]]]:
    import numpy as np

    units = np.array([c["unit"] for c in trace.channels] or [0.0])
    t, c, s = trace.ticks, trace.cells, trace.spans
    return {
        "readings": (
            _READINGS,
            {
                "channel": t["id"],
                "seen_old_ns": t["b"],
                "seen_new_ns": t["a"],
                "value": t["c"] * units[t["id"]] if len(t) else np.empty(0),
                "raw": t["c"],
                "missed": t["d"],
                "flags": t["flags"],
            },
        ),
        "regions": (
            _REGIONS,
            {
                "time_ns": c["a"],
                "path": c["d"],
                "open_ns": c["b"],
                "enters": c["c"] >> np.uint64(32),
                "exits": c["c"] & np.uint64(0xFFFFFFFF),
                "open": c["id"],
                "cpu": c["flags"],
            },
        ),
        "spans": (
            _SPANS,
            {"begin_ns": s["a"], "end_ns": s["b"], "path": s["d"], "thread": s["c"]},
        ),
    }


def _write_finished(folder: Path, trace: _core.Trace) -> None:
    for name, (types, columns) in _columns(trace).items():
        write_stream(folder / f"{name}.arrows", types, columns)
    _write_names(folder / "names.arrows", trace.paths)
    _trace_kernels.write(folder, trace)
    pm = _trace_pm.write(folder, trace)
    _write_meta(
        folder,
        {
            "format": FORMAT,
            "version": VERSION,
            "state": "finished",
            "name": trace.name,
            "begin_ns": trace.begin_ns,
            "end_ns": trace.end_ns,
            "begin_wall_ns": trace.begin_wall_ns,
            "channels": trace.channels,
            "tracks": trace.tracks,
            "gaps": [
                {"channel": g[0], "begin_ns": g[1], "end_ns": g[2], "reason": g[3]}
                for g in trace.gaps
            ],
            "overhead": dict(trace.overhead),
            "warnings": list(trace.warnings),
            "environment": _environment_of(trace),
            **({"pm": pm} if pm else {}),
        },
    )


def _environment_of(trace: _core.Trace) -> dict[str, Any]:
    known = getattr(trace, "environment", None)
    if known:
        return dict(known)
    from picojoule._environment import environment

    return environment(trace)


_ROWS = 1 << 16  # a batch: bounds what is held twice while writing


def write_stream(
    path: Path,
    types: Mapping[str, str],
    columns: Mapping[str, Any],
    names: Sequence[str] | None = None,
) -> None:
    """Write one Arrow IPC stream: numbers by ``types``, and a column ``name`` if there are any."""
    import nanoarrow as na
    import numpy as np
    from nanoarrow.ipc import StreamWriter

    arrow = {
        "u1": na.uint8, "u2": na.uint16, "u4": na.uint32, "u8": na.uint64, "i8": na.int64,
        "f8": na.float64,
    }  # fmt: skip
    fields = {name: arrow[kind](nullable=False) for name, kind in types.items()}
    if names is not None:
        fields["name"] = na.string(nullable=False)
    schema = na.struct(fields)
    n = len(next(iter(columns.values())))
    with path.open("wb") as file, StreamWriter.from_writable(file) as writer:
        for first in range(0, max(n, 1), _ROWS):
            rows = slice(first, min(n, first + _ROWS))
            children = [
                na.c_array(
                    np.ascontiguousarray(columns[name][rows], dtype="<" + kind),
                    arrow[kind](nullable=False),
                )
                for name, kind in types.items()
            ]
            if names is not None:
                children.append(na.c_array(list(names[rows]), na.string(nullable=False)))
            writer.write_array(
                na.c_array_from_buffers(
                    schema,
                    length=rows.stop - rows.start,
                    buffers=[None],
                    null_count=0,
                    children=children,
                )
            )


def _write_names(path: Path, paths: list[tuple[int, str]]) -> None:
    import nanoarrow as na
    import numpy as np
    from nanoarrow.ipc import StreamWriter

    schema = na.struct({"path": na.uint32(), "parent": na.uint32(), "name": na.string()})
    children = [
        na.c_array(np.arange(len(paths), dtype="<u4"), na.uint32()),
        na.c_array(np.array([p[0] for p in paths], dtype="<u4"), na.uint32()),
        na.c_array([p[1] for p in paths], na.string()),
    ]
    with path.open("wb") as file, StreamWriter.from_writable(file) as writer:
        writer.write_array(
            na.c_array_from_buffers(
                schema, length=len(paths), buffers=[None], null_count=0, children=children
            )
        )


def read_stream(
    path: Path, expected: Mapping[str, str], names: list[str] | None = None
) -> dict[str, NDArray[Any]]:
    """The columns of one stream; the text of its column ``name`` is added to ``names``."""
    import nanoarrow as na
    import numpy as np

    parts: dict[str, list[Any]] = {name: [] for name in expected}

    def take(batch: Any) -> None:
        view = na.c_array(batch).view()
        fields = [f.name for f in na.Schema(batch.schema).fields]
        for name, kind in expected.items():
            if name in _LATER and name not in fields:
                parts[name].append(np.zeros(view.child(0).length, dtype="<" + kind))
                continue
            child = view.child(fields.index(name))
            column = np.frombuffer(child.buffer(1), dtype="<" + kind)
            parts[name].append(column[child.offset : child.offset + child.length].copy())
        if names is not None:
            names.extend(row["name"] for row in batch.to_pylist())

    _each_batch(path, take)
    return {
        name: np.concatenate(parts[name]) if parts[name] else np.empty(0, dtype="<" + kind)
        for name, kind in expected.items()
    }


def _each_batch(path: Path, take: Callable[[Any], None]) -> None:
    import nanoarrow as na

    try:
        with na.ArrayStream.from_path(path) as stream:
            for batch in stream:
                take(batch)
    except FileNotFoundError:
        raise TruncatedTraceError(
            f"{path.parent} lacks {path.name}; the trace is incomplete"
        ) from None
    except TraceError:
        raise
    except Exception as error:
        raise TruncatedTraceError(
            f"{path} is damaged or cut short and cannot be read: {error}"
        ) from error


def _read_finished(folder: Path, meta: Mapping[str, Any]) -> _core.Trace:
    import numpy as np

    dtype = _core.record_dtype()
    readings = read_stream(folder / "readings.arrows", _READINGS)
    regions = read_stream(folder / "regions.arrows", _REGIONS)
    spans = read_stream(folder / "spans.arrows", _SPANS)
    paths: list[tuple[int, str]] = []

    def take(batch: Any) -> None:
        paths.extend((row["parent"], row["name"]) for row in batch.to_pylist())

    _each_batch(folder / "names.arrows", take)

    def rows(n: int, kind: int, **columns: Any) -> NDArray[Any]:
        out = np.zeros(n, dtype=dtype)
        out["kind"] = kind
        for name, column in columns.items():
            out[name] = column
        return out

    ticks = rows(
        len(readings["raw"]), 1, a=readings["seen_new_ns"], b=readings["seen_old_ns"],
        c=readings["raw"], d=readings["missed"], id=readings["channel"], flags=readings["flags"],
    )  # fmt: skip
    cells = rows(
        len(regions["path"]), 2, a=regions["time_ns"], b=regions["open_ns"], d=regions["path"],
        c=(regions["enters"].astype("u8") << np.uint64(32)) | regions["exits"].astype("u8"),
        id=regions["open"], flags=regions["cpu"],
    )  # fmt: skip
    kept = rows(
        len(spans["path"]), 3, a=spans["begin_ns"], b=spans["end_ns"], d=spans["path"],
        c=spans["thread"],
    )  # fmt: skip
    device_parts = _trace_kernels.read(folder, meta)
    try:
        trace = _core.Trace(
            name=meta["name"],
            begin_ns=meta["begin_ns"],
            end_ns=meta["end_ns"],
            begin_wall_ns=meta["begin_wall_ns"],
            channels=meta["channels"],
            paths=paths,
            ticks=ticks,
            cells=cells,
            spans=kept,
            gaps=[(g["channel"], g["begin_ns"], g["end_ns"], g["reason"]) for g in meta["gaps"]],
            overhead=meta["overhead"],
            warnings=meta["warnings"],
            **device_parts,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TruncatedTraceError(f"{folder / META} is damaged: {error}") from error
    trace.environment = meta.get("environment", {})
    trace.pm = _trace_pm.read(folder, meta.get("pm"))
    return trace


# ---- meta.json ----


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ForeignTraceError(f"{folder} is no trace of picojoule: it has no {META}") from None
    except (ValueError, UnicodeDecodeError):
        raise TruncatedTraceError(f"{path} is damaged or cut short") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ForeignTraceError(f"{folder} is no trace of picojoule: {META} is of something else")
    version = meta.get("version")
    if not isinstance(version, int):
        raise TruncatedTraceError(f"{path} has no version")
    if version > VERSION:
        raise NewerTraceError(
            f"{folder} is in trace format {version}; this picojoule reads up to {VERSION}. "
            "Install a newer picojoule: pip install -U picojoule"
        )
    return meta


def _write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    # Renamed into place: a reader sees the old state or the new one, never half of it.
    temporary = folder / (META + ".new")
    temporary.write_text(json.dumps(meta, indent=1, allow_nan=True), encoding="utf-8")
    temporary.replace(folder / META)
