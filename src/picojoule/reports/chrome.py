"""Chrome trace JSON: opens in Perfetto, chrome://tracing and Speedscope.

Region calls are slices on their threads, power is a counter track for each domain. Times are
microseconds since the profile began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.reports import _facts, json_
from picojoule.reports._plot import decimate

if TYPE_CHECKING:
    from picojoule.results import Profile

_PID = 1
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


def _meta(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": _PID, "tid": thread, "args": {"name": name}}
