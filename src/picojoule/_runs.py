"""The runs of kernels one by one, beside the table of what they add up to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from picojoule import _core
from picojoule.flops.work import below
from picojoule.kernels import Kernel, KernelTable, no_runs

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from picojoule._counts import CountTable
    from picojoule.flops.energy_prior import Priors
    from picojoule.results import Profile

_REPLAYED, _UNMATCHED = 1, 2


def profile_of(trace: _core.Trace, counts: CountTable | None = None) -> Profile:
    """The profile that ``trace`` holds, with its kernels' runs and its FLOPs.

    Pure, as ``_build.build`` is. ``counts`` come on top of what the trace knows of its work.
    """
    return _profile_with(trace, counts)


def _profile_with(
    trace: _core.Trace, counts: CountTable | None, expected: Priors | None = None
) -> Profile:
    from picojoule._build import build
    from picojoule.flops.summary import with_flops
    from picojoule.flops.work import from_json

    profile = build(trace, expected)
    table = profile.kernels
    # A sample of them is for the solver: as a timeline it would show gaps that were none.
    if len(trace.kernels) and len(table) and _core.KERNEL_SAMPLE_KEY not in trace.overhead:
        runs = _runs(trace, table, profile.paths, profile.own_path)
        profile = replace(profile, kernels=KernelTable(tuple(table), table.devices, runs))
    known = getattr(trace, "environment", None) or {}
    work = from_json(known.get("work"))
    if counts:
        from picojoule.flops.counted import kernel_costs

        more = tuple(kernel_costs(trace.kernel_classes, counts))
        work = replace(work, kernels=(*work.kernels, *more))
    pm = getattr(trace, "pm", None)
    said = pm.warnings if pm is not None else tuple(filter(None, [known.get("pm_refusal")]))
    if said or pm is not None:
        warnings = tuple(dict.fromkeys((*profile.warnings, *said)))
        profile = replace(profile, pm=pm, warnings=warnings)
    profile = with_flops(profile, work)
    # What kernels cost lets expect what they draw; joules are then solved for once more.
    if expected is None and work and len(trace.kernels) and len(profile.kernels):
        from picojoule.flops.energy_prior import priors

        expected = priors(profile, trace.kernel_classes)
        if expected is not None:
            return _profile_with(trace, counts, expected)
    return profile


def load(path: str | os.PathLike[str], *, counts: str | os.PathLike[str] | None = None) -> Profile:
    """The profile stored at ``path``; what a killed program left behind is recovered.

    Args:
        path: the folder that a profile or ``picojoule run -o`` wrote.
        counts: a file of ``picojoule count`` for the same program.

    Raises:
        FileNotFoundError: nothing is there.
        ForeignTraceError: it is something else.
        NewerTraceError: a newer picojoule wrote it.
        TruncatedTraceError: a part of it is missing.
    """
    from picojoule import _trace

    if counts is None:
        return profile_of(_trace.read(path))
    from picojoule._counts import load_counts

    return profile_of(_trace.read(path), load_counts(counts))


def _runs(
    trace: _core.Trace,
    table: KernelTable,
    paths: tuple[tuple[str, ...], ...],
    own_path: tuple[str, ...],
) -> NDArray[Any]:
    """``KernelTable.runs``: each run belongs to the row made of the cell that it was summed in."""
    import numpy as np

    places: dict[Any, list[int]] = {}
    for at, kernel in enumerate(table):
        places.setdefault(_key_of_row(kernel), []).append(at)
    classes, tracks = trace.kernel_classes, trace.tracks
    place_of: dict[tuple[int, ...], int] = {}
    for cell in trace.kernel_cells:
        rows = places.get(_key_of_cell(cell, classes, tracks, paths, own_path))
        if rows:
            # Rows alike in all but their joules (two contexts of one device) come in any order.
            key = tuple(int(cell[n]) for n in ("path", "kernel_class", "track", "flags"))
            place_of[key] = rows.pop()
    records = trace.kernels
    columns = (
        records["c"] & np.uint64(0xFFFFFFFF),
        records["d"].astype("u8"),
        records["id"].astype("u8"),
        records["flags"].astype("u8"),
    )
    # Rows that differ in one number, then in the next, ...: far faster than unique rows of four.
    which = np.zeros(len(records), dtype="u8")
    for column in columns:
        _, which = np.unique(which << np.uint64(32) | column, return_inverse=True)
        which = which.reshape(-1).astype("u8")
    _, first, which = np.unique(which, return_index=True, return_inverse=True)
    keys = zip(*(column[first].tolist() for column in columns), strict=True)
    place = np.array([place_of.get(key, -1) for key in keys], dtype="i8")[which.reshape(-1)]
    out = no_runs(len(records))
    out["begin_ns"], out["end_ns"] = records["a"], records["b"]
    out["kernel"] = np.maximum(place, 0)
    out["graph_node"] = records["c"] >> np.uint64(32)
    if (place < 0).any():
        out = out[place >= 0]
    in_order = bool((out["begin_ns"][1:] >= out["begin_ns"][:-1]).all())
    return out if in_order else out[np.argsort(out["begin_ns"], kind="stable")]


def _key_of_row(k: Kernel) -> Any:
    return (
        (k.name, k.kind, k.region, k.domain, k.stream, k.grid, k.block, k.captured, k.unmatched),
        (k.calls, k.time_s, k.least_s, k.most_s),
    )


def _key_of_cell(cell: Any, classes: Any, tracks: Any, paths: Any, own_path: Any) -> Any:
    what, where = classes[int(cell["kernel_class"])], tracks[int(cell["track"])]
    flags = int(cell["flags"])
    return (
        (
            what["name"],
            what["kind"],
            below(paths[int(cell["path"])], own_path),
            where["domain"],
            int(where["stream"]),
            tuple(what["grid"]),
            tuple(what["block"]),
            bool(flags & _REPLAYED),
            bool(flags & _UNMATCHED),
        ),
        (int(cell["count"]), *(int(cell[n]) * 1e-9 for n in ("time_ns", "least_ns", "most_ns"))),
    )
