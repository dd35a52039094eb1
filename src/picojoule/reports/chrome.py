"""Chrome trace JSON: opens in Perfetto, chrome://tracing and Speedscope.

Region calls are slices on their threads, power is a counter track for each domain, and so is what
else its devices told (clocks, how busy they were). Kernels are
slices on the streams of their device, which stands below as a process of its own and has a counter
of how busy it was. Times are microseconds since the profile began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.reports import _facts, _kernels, _rows, json_
from picojoule.reports._lanes import busy_steps, seconds_inside, watts_of
from picojoule.reports._plot import decimate

if TYPE_CHECKING:
    from picojoule.kernels import Kernel
    from picojoule.results import Profile

_PID = 1
#: Devices come last, with room between for what belongs under power.
_FIRST_DEVICE_PID = 100
#: More points on one counter track than any viewer draws: beyond, each stretch keeps its extremes.
_MOST_POINTS = 100_000
_GAUGES = ("ratio", "rate", "frequency", "temperature")


def render(profile: Profile) -> str:
    """The trace as one JSON document."""
    other = {
        "schema": json_.SCHEMA,
        "name": profile.name,
        "total": json_.estimate(profile.total),
        "energy": {d: json_.estimate(e) for d, e in profile.energy.items()},
        "counted": profile.counted,
        "warnings": profile.warnings,
        "kernels": "joules of a run are its kernel's, shared out over all its runs by time",
        "kernels_basis": _kernels.basis(profile.kernels),
    }
    events = [_json(event) for event in _events(profile)]
    events += _device_events(profile)
    return (
        f'{{"displayTimeUnit": "ms", "traceEvents": [{", ".join(events)}], '
        f'"otherData": {_json(_facts.plain(other))}}}\n'
    )


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


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
    yield from _counters(profile)
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


def _counters(profile: Profile) -> Iterator[dict[str, Any]]:
    """A track for each series that is no energy: its value from each instant on."""
    for c in profile.counters.values():
        edges, values = np.append(c.time_ns, c.end_ns), c.value
        if c.quantity in _GAUGES:  # extremes of a mask or of a sum mean nothing
            edges, values = decimate(edges, values, _MOST_POINTS)
        name = f"{c.field} {c.domain} ({c.unit}), {c.provenance}"
        for at, value in zip(edges[:-1].tolist(), values.tolist(), strict=True):
            if value == value:
                yield {
                    "ph": "C",
                    "name": name,
                    "pid": _PID,
                    "ts": (at - profile.begin_ns) / 1000,
                    "args": {c.field: value},
                }


def _device_events(profile: Profile) -> Iterator[str]:
    """The devices, each as a process: its streams as threads, and how busy it was; as JSON."""
    table, runs = profile.kernels, profile.kernels.runs
    watts = watts_of(profile).tolist()
    inside = seconds_inside(profile)
    domain_of = np.array([k.domain for k in table], dtype=object)
    for at, domain in enumerate(sorted({k.domain for k in table}) if len(runs) else ()):
        pid = _FIRST_DEVICE_PID + at
        here = (domain_of == domain)[runs["kernel"]]
        mine, ran = runs[here], inside[here].tolist()
        if not len(mine):
            continue
        yield _json(_meta("process_name", 0, f"{domain} kernels", pid))
        yield _json(_order("process_sort_index", 0, pid, pid))
        used = np.unique(mine["kernel"]).tolist()
        for stream in sorted({table[i].stream for i in used}):
            yield _json(_meta("thread_name", stream, f"stream {stream}", pid))
            yield _json(_order("thread_sort_index", stream, stream, pid))
        edges, busy = busy_steps(mine, profile.begin_ns, profile.end_ns, _MOST_POINTS)
        for begin, share in zip(edges[:-1].tolist(), busy.tolist(), strict=True):
            yield _json(
                {
                    "ph": "C",
                    "name": f"busy {domain} (share of time)",
                    "pid": pid,
                    "ts": (begin - profile.begin_ns) / 1000,
                    "args": {"busy": share},
                }
            )
        halves = {i: _slice(table[i], pid) for i in used}
        # Written by hand: there may be millions, and all but the times is the same in many.
        for (begin, end, i, node), ran_s in zip(mine.tolist(), ran, strict=True):
            head, args = halves[i]
            if watts[i] == watts[i]:
                args += f', "joules": {watts[i] * ran_s!r}'
            if node:
                args += f', "graph_node": {node}'
            yield (
                f'{head}, "ts": {(begin - profile.begin_ns) / 1000!r}, '
                f'"dur": {(end - begin) / 1000!r}, "args": {args}}}}}'
            )


def _slice(kernel: Kernel, pid: int) -> tuple[str, str]:
    """What is the same in all slices of a kernel, as JSON that still is open at its end."""
    head = {
        "ph": "X",
        "cat": kernel.kind,
        "name": kernel.short_name,
        "pid": pid,
        "tid": kernel.stream,
    }
    args = {
        "kernel": kernel.name,
        "region": "/".join(kernel.region),
        **_rows.shape(kernel),
        "provenance": _kernels.how(kernel),
    }
    known = {name: value for name, value in args.items() if value}
    return _json(head).removesuffix("}"), _json(known).removesuffix("}")


def _meta(kind: str, thread: int, name: str, pid: int = _PID) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": thread, "args": {"name": name}}


def _order(kind: str, thread: int, index: int, pid: int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": thread, "args": {"sort_index": index}}
