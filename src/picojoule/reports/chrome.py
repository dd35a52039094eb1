"""Chrome trace JSON: opens in Perfetto, chrome://tracing and Speedscope.

Region calls are slices on their threads, power is a counter track for each domain. Kernels are
slices on the streams of their device, which stands below as a process of its own and has a counter
of how busy it was. Times are microseconds since the profile began.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.reports import _facts, _rows, json_
from picojoule.reports._lanes import busy_steps
from picojoule.reports._plot import decimate

if TYPE_CHECKING:
    from picojoule.kernels import Kernel
    from picojoule.results import Profile

_PID = 1
#: Devices come last, with room between for what belongs under power.
_FIRST_DEVICE_PID = 100
#: More points on one counter track than any viewer draws: beyond, each stretch keeps its extremes.
_MOST_POINTS = 100_000


def render(profile: Profile) -> str:
    """The trace as one JSON document."""
    trace = {
        "displayTimeUnit": "ms",
        "traceEvents": list(_events(profile)),
        "otherData": _facts.plain(
            {
                "schema": json_.SCHEMA,
                "name": profile.name,
                "total": json_.estimate(profile.total),
                "energy": {d: json_.estimate(e) for d, e in profile.energy.items()},
                "counted": profile.counted,
                "warnings": profile.warnings,
            }
        ),
    }
    return json.dumps(trace, allow_nan=False) + "\n"


def _events(profile: Profile) -> Iterator[dict[str, Any]]:
    yield _meta("process_name", 0, f"picojoule: {profile.name}" if profile.name else "picojoule")
    if len(profile.kernels.runs):  # more processes than one: power and regions come first
        yield _order("process_sort_index", 0, 0, _PID)
    for thread in np.unique(profile.spans["thread"]).tolist():
        yield _meta("thread_name", thread, f"thread {thread}")
    for begin, end, path, thread in profile.spans.tolist():
        names = profile.paths[path] or (profile.name,)
        yield {
            "ph": "X",
            "cat": "region",
            "name": names[-1],
            "pid": _PID,
            "tid": thread,
            "ts": (begin - profile.begin_ns) / 1000,
            "dur": (end - begin) / 1000,
            "args": {"path": "/".join(names)},
        }
    for series in profile.power:
        edges, watts = decimate(series.edges_ns, series.watts, _MOST_POINTS)
        name = f"power {series.domain} (W), {series.provenance}"
        for at, value in zip(edges[:-1].tolist(), watts.tolist(), strict=True):
            if value == value:  # a gap has no number, and a counter track no word for that
                yield {
                    "ph": "C",
                    "name": name,
                    "pid": _PID,
                    "ts": (at - profile.begin_ns) / 1000,
                    "args": {"W": value},
                }
    for gap in profile.gaps:
        for at, what in ((gap.begin_ns, "begins"), (gap.end_ns, "ends")):
            yield {
                "ph": "i",
                "s": "p",
                "cat": "gap",
                "name": f"gap {what}: {gap.domain}",
                "pid": _PID,
                "tid": 0,
                "ts": (at - profile.begin_ns) / 1000,
                "args": {"meter": gap.meter, "reason": gap.reason},
            }
    yield from _kernels(profile)


def _kernels(profile: Profile) -> Iterator[dict[str, Any]]:
    """The devices, each as a process: its streams as threads, and how busy it was."""
    table, runs = profile.kernels, profile.kernels.runs
    domain_of = np.array([k.domain for k in table], dtype=object)
    for at, domain in enumerate(sorted({k.domain for k in table}) if len(runs) else ()):
        pid = _FIRST_DEVICE_PID + at
        mine = runs[(domain_of == domain)[runs["kernel"]]]
        if not len(mine):
            continue
        yield _meta("process_name", 0, f"{domain} kernels", pid)
        yield _order("process_sort_index", 0, pid, pid)
        used = np.unique(mine["kernel"]).tolist()
        for stream in sorted({table[i].stream for i in used}):
            yield _meta("thread_name", stream, f"stream {stream}", pid)
            yield _order("thread_sort_index", stream, stream, pid)
        edges, busy = busy_steps(mine, profile.begin_ns, profile.end_ns, _MOST_POINTS)
        for begin, share in zip(edges[:-1].tolist(), busy.tolist(), strict=True):
            yield {
                "ph": "C",
                "name": f"busy {domain} (share of time)",
                "pid": pid,
                "ts": (begin - profile.begin_ns) / 1000,
                "args": {"busy": share},
            }
        facts = {i: _facts_of(table[i]) for i in used}
        for begin, end, i, node in mine.tolist():
            kernel, (name, facts_of_all) = table[i], facts[i]
            args = dict(facts_of_all)
            if kernel.watts == kernel.watts:
                args["joules"] = kernel.watts * (end - begin) * 1e-9
            if node:
                args["graph_node"] = node
            yield {
                "ph": "X",
                "cat": kernel.kind,
                "name": name,
                "pid": pid,
                "tid": kernel.stream,
                "ts": (begin - profile.begin_ns) / 1000,
                "dur": (end - begin) / 1000,
                "args": args,
            }


def _facts_of(kernel: Kernel) -> tuple[str, dict[str, Any]]:
    """The name of a kernel's slices, and what is the same in all of them."""
    known = not math.isnan(kernel.energy_j)
    args = {
        "kernel": kernel.name,
        "region": "/".join(kernel.region),
        **_rows.shape(kernel),
        # Joules are the kernel's, shared out over its runs by time.
        "provenance": kernel.energy.provenance if known else "unknown",
        "basis": kernel.energy.basis,
    }
    return kernel.short_name, {name: value for name, value in args.items() if value}


def _meta(kind: str, thread: int, name: str, pid: int = _PID) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": thread, "args": {"name": name}}


def _order(kind: str, thread: int, index: int, pid: int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": thread, "args": {"sort_index": index}}
