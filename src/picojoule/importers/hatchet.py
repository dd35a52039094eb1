"""Proton's hatchet JSON: a tree of scopes and kernels with totals, and no times of day."""

from __future__ import annotations

import math
from typing import Any

from picojoule.errors import ForeignTraceError
from picojoule.importers.timeline import Builder, ImportedTimeline, whole

_FLOPS = ("flops", "flops8", "flops16", "flops32", "flops64")


def looks_like_hatchet(document: object) -> bool:
    """Whether a JSON document begins with a tree of frames."""
    return (
        isinstance(document, list)
        and bool(document)
        and isinstance(document[0], dict)
        and isinstance(document[0].get("frame"), dict)
    )


def read_hatchet(document: object) -> ImportedTimeline:
    """The totals of a hatchet file, as ``cells``; it has neither kernels nor spans.

    Raises:
        ForeignTraceError: it is no tree of frames.
    """
    if not looks_like_hatchet(document) or not isinstance(document, list):
        raise ForeignTraceError(
            "the JSON holds no tree of frames; what is supported is the .hatchet file that "
            "triton.profiler (Proton) writes with data='tree'"
        )
    builder = Builder("Proton hatchet")
    devices = _devices(document[1:])
    # A stack and not recursion: a tree may be deeper than Python's stack.
    open_nodes: list[tuple[object, int]] = [
        (d, 0) for d in document if isinstance(d, dict) and "frame" in d
    ]
    open_nodes.reverse()
    depth_zero = {id(node) for node, _ in open_nodes}
    while open_nodes:
        node, parent = open_nodes.pop()
        if not isinstance(node, dict) or not isinstance(node.get("frame"), dict):
            builder.count("nodes of the tree have no frame and were left out")
            continue
        name = str(node["frame"].get("name", "") or "(unnamed)")
        root = id(node) in depth_zero and name == "ROOT"
        children = node.get("children")
        children = children if isinstance(children, list) else []
        metrics = node.get("metrics")
        _cell(builder, name, parent, metrics if isinstance(metrics, dict) else {}, devices)
        if children:
            path = parent if root else builder.path(parent, name)
            open_nodes.extend((child, path) for child in reversed(children))
    builder.note("a hatchet file has totals only: there is no timeline to join with power")
    return builder.finish("relative")


def _cell(
    builder: Builder, name: str, parent: int, metrics: dict[Any, Any], devices: dict[Any, str]
) -> None:
    """One row of totals, if the node has any.

    A node without time but with FLOPs or bytes is a scope that a user gave metrics: its row has no
    class and no track, and its path is that of the scope.
    """
    flops = [_number(metrics.get(key)) for key in _FLOPS]
    known = [f for f in flops if not math.isnan(f)]
    total = sum(known) if known else math.nan
    size = _number(metrics.get("bytes"))
    time_ns, count = _number(metrics.get("time (ns)")), whole(metrics.get("count"))
    ran = (time_ns > 0) or count > 0
    if not ran and not total > 0 and not size > 0:
        return
    cell: dict[str, Any] = {"flops": total, "bytes": size}
    if ran:
        kind, device = str(metrics.get("device_type", "GPU")), str(metrics.get("device_id", "0"))
        cell |= {
            "path": parent,
            "class": builder.kernel_class("kernel", name),
            "track": builder.track(f"gpu:{device}", devices.get((kind, device), kind), 0, 0),
            "count": count,
            "time_ns": 0.0 if math.isnan(time_ns) else time_ns,
        }
    else:
        path = builder.path(parent, name)
        cell |= {"path": path, "class": None, "track": None, "count": 0, "time_ns": 0.0}
    builder.cells.append(cell)


def _number(value: object) -> float:
    """A finite number of at least 0, else NaN: a figure that nobody knows is never 0."""
    if isinstance(value, bool) or value is None:
        return math.nan
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if 0 <= number < math.inf else math.nan


def _devices(rest: list[Any]) -> dict[Any, str]:
    """What the entries after the tree say about devices: (type, id) to a name for people."""
    names: dict[Any, str] = {}
    for entry in rest:
        for kind, devices in entry.items() if isinstance(entry, dict) else ():
            for number, about in devices.items() if isinstance(devices, dict) else ():
                if isinstance(about, dict) and about.get("arch"):
                    names[(kind, str(number))] = f"{kind} (arch {about['arch']})"
    return names
