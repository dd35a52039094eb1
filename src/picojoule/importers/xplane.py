"""JAX and XLA profiles: ``host.xplane.pb``, an XSpace in protobuf.

A plane is a device or the host; a line is a stream or a thread; events refer to names by number.
Times are ``timestamp_ns`` of the line plus ``offset_ps`` of the event, either since 1970 or since
the profile's start, which the plane "Task Environment" then tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from picojoule.errors import ForeignTraceError, TruncatedTraceError
from picojoule.importers._protobuf import WireError, blob, double, fields, signed, text
from picojoule.importers.timeline import Builder, ImportedTimeline, Kind, Launch, whole

Value = int | float | str

_ABSOLUTE_NS = 10**17  # times beyond this (1973) are since 1970, those below since the start
_DEVICE = re.compile(r"^/device:([A-Z]+):(\d+)")
_STREAM = re.compile(r"^Stream #(\d+)")
_DETAIL = re.compile(r"(\w+):(\S+)")
_KIND: dict[str, Kind] = {"memcpy": "memcpy", "memset": "memset"}
# What XLA and JAX themselves write on the host; the annotations of users are what remains.
_INTERNAL = re.compile(
    r"^\$|^\w*(PjRt|Tfrt|Thunk|Thread|RefManager|Executable|Client|Buffer|Allocator|Stream)\w*::|"
    r"^(PjitFunction|ParseArguments|Handle input|Wait for |end: |AllocateOutput|XlaModule:|"
    r"cu[A-Z]|cuda[A-Z])"
)


@dataclass
class _Event:
    name: str
    begin_ns: int
    end_ns: int
    stats: dict[str, Value]


@dataclass
class _Line:
    number: int = 0
    name: str = ""
    timestamp_ns: int = 0
    events: list[bytes] = field(default_factory=list)


@dataclass
class _Plane:
    name: str = ""
    lines: list[bytes] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    stat_names: dict[int, str] = field(default_factory=dict)
    stats: list[bytes] = field(default_factory=list)
    common: dict[int, list[bytes]] = field(default_factory=dict)  # stats of an event's metadata


def read_xplane(data: bytes, *, ops: bool = False) -> ImportedTimeline:
    """The timeline of an XSpace; ``ops`` also keeps the runtime's own host ranges.

    Raises:
        ForeignTraceError: it is no XSpace.
        TruncatedTraceError: it is one, but cut or damaged.
    """
    try:
        planes = [_plane(blob(value)) for number, value in fields(data) if number == 1]
    except WireError as error:
        raise TruncatedTraceError(
            f"the XPlane profile is damaged or cut short ({error}). "
            "Copy it again, or record anew and end jax.profiler.trace before the program ends"
        ) from None
    if not any(p.name.startswith(("/host:", "/device:", "Task Environment")) for p in planes):
        raise ForeignTraceError(
            "the file is protobuf but has no planes of hosts or devices; what is supported is the "
            "*.xplane.pb that jax.profiler.trace writes below plugins/profile"
        )
    try:
        return _timeline(planes, ops)
    except WireError as error:
        raise TruncatedTraceError(
            f"the XPlane profile is damaged ({error}). Copy it again, or record anew"
        ) from None


def _timeline(planes: list[_Plane], ops: bool) -> ImportedTimeline:
    builder = Builder("JAX xplane")
    start = 0
    launches: dict[int, Launch] = {}
    smallest: int | None = None
    for plane in planes:
        if plane.name.startswith("Task Environment"):
            start = whole(_stats(plane, plane.stats).get("profile_start_time"))
        elif plane.name.startswith("/host:") and plane.name != "/host:metadata":
            smallest = _least(smallest, _host(plane, builder, launches, ops))
    for plane in planes:
        match = _DEVICE.match(plane.name)
        if match and match[1] != "CPU":
            smallest = _least(smallest, _device(plane, match, builder, launches))
    if smallest is None or smallest >= _ABSOLUTE_NS:
        return builder.finish("realtime")
    if start:
        return builder.finish("realtime", start)
    builder.note("the file does not tell when the profile began, so its times have no origin")
    return builder.finish("relative")


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _host(plane: _Plane, builder: Builder, launches: dict[int, Launch], ops: bool) -> int | None:
    smallest: int | None = None
    for line, events in _lines(plane):
        if line.events:
            smallest = _least(smallest, line.timestamp_ns)
        thread = line.number
        for event in events:
            correlation = whole(event.stats.get("correlation_id"))
            if correlation:
                launches.setdefault(correlation, Launch(thread, event.begin_ns))
            if "hlo_op" in event.stats:
                builder.count("operations that XLA ran on the CPU are no regions and were left out")
            elif ops or not ("_src" in event.stats or _INTERNAL.search(event.name)):
                builder.range(thread, event.begin_ns, event.end_ns, event.name)
            else:
                builder.count("host ranges of the runtime itself were left out")
    return smallest


def _device(
    plane: _Plane, match: re.Match[str], builder: Builder, launches: dict[int, Launch]
) -> int | None:
    domain = f"{match[1].lower()}:{match[2]}"
    about = _stats(plane, plane.stats)
    device = str(about.get("device_type_string") or about.get("device_name") or domain)
    smallest: int | None = None
    for line, events in _lines(plane):
        stream = _STREAM.match(line.name)
        if not stream:
            # Lines such as "XLA Ops" and "Steps" are drawn from the streams; the kernels of the
            # streams would count twice.
            builder.note(f'the line "{line.name}" of {plane.name} is derived and was left out')
            continue
        if line.events:
            smallest = _least(smallest, line.timestamp_ns)
        for event in events:
            _kernel(event, builder, domain, device, int(stream[1]), launches)
    return smallest


def _kernel(
    event: _Event,
    builder: Builder,
    domain: str,
    device: str,
    stream: int,
    launches: dict[int, Launch],
) -> None:
    stats = event.stats
    kind: Kind = "kernel"
    details = dict(_DETAIL.findall(str(stats.get("kernel_details", ""))))
    for copy, its_kind in _KIND.items():
        if f"{copy}_details" in stats:
            kind = its_kind
            details = dict(_DETAIL.findall(str(stats[f"{copy}_details"])))
    where = "/".join(str(stats[k]) for k in ("hlo_module", "hlo_op") if stats.get(k))
    sizes = {k: _dims(details.get(k, "")) for k in ("grid", "block")}
    builder.kernel(
        event.begin_ns,
        event.end_ns,
        builder.kernel_class(
            kind,
            f"{event.name} [{where}]" if where else event.name,
            sizes["grid"],
            sizes["block"],
            whole(details.get("static_shared")),
            whole(details.get("dynamic_shared")),
            whole(details.get("size") or details.get("num_bytes")),
        ),
        builder.track(domain, device, whole(stats.get("context_id")), stream),
        launches.get(whole(stats.get("correlation_id"))),
        graph_node=max(0, whole(stats.get("cuda_graph_node_id") or stats.get("graph_node_id"))),
        scope=_scope(str(stats.get("tf_op") or stats.get("name") or "")),
    )


def _dims(words: str) -> tuple[int, int, int]:
    parts = [whole(word, 1) for word in words.split(",")] if words else [0, 0, 0]
    x, y, z = [*parts, 1, 1][:3]
    return x, y, z


def _scope(op: str) -> tuple[str, ...]:
    """The named scopes in an op name: "jit(step)/layer/dot_general" has ("layer",)."""
    parts = [part for part in op.split("/") if part]
    return tuple(part for part in parts[:-1] if not re.match(r"^\w+\(.*\)$", part))


# ---- the messages ----


def _plane(data: bytes) -> _Plane:
    plane = _Plane()
    for number, value in fields(data):
        if number == 2:
            plane.name = text(value)
        elif number == 3:
            plane.lines.append(blob(value))
        elif number == 4:
            key, name, stats = _metadata(blob(value))
            plane.names[key] = name
            plane.common[key] = stats
        elif number == 5:
            key, name, _ = _metadata(blob(value))
            plane.stat_names[key] = name
        elif number == 6:
            plane.stats.append(blob(value))
    return plane


def _metadata(entry: bytes) -> tuple[int, str, list[bytes]]:
    """Key and name of a map entry; the stats that all events of this name share."""
    key, name, shown, stats = 0, "", "", []
    for number, value in fields(entry):
        if number == 1:
            key = signed(value)
        elif number == 2:
            for inner, part in fields(blob(value)):
                if inner == 2:
                    name = text(part)
                elif inner == 4 and isinstance(part, bytes):
                    shown = text(part)
                elif inner == 5:
                    stats.append(blob(part))
    return key, name or shown, stats


def _lines(plane: _Plane) -> Iterator[tuple[_Line, Iterator[_Event]]]:
    for data in plane.lines:
        line = _Line()
        shown = ""
        for number, value in fields(data):
            if number == 1:
                line.number = signed(value)
            elif number == 2:
                line.name = text(value)
            elif number == 3:
                line.timestamp_ns = signed(value)
            elif number == 4:
                line.events.append(blob(value))
            elif number == 11:
                shown = text(value)
        line.name = line.name or shown
        yield line, _events(plane, line)


def _events(plane: _Plane, line: _Line) -> Iterator[_Event]:
    for data in line.events:
        key = offset = duration = 0
        occurrences = False
        stats: list[bytes] = []
        for number, value in fields(data):
            if number == 1:
                key = signed(value)
            elif number == 2:
                offset = signed(value)
            elif number == 3:
                duration = signed(value)
            elif number == 4:
                stats.append(blob(value))
            elif number == 5:
                occurrences = True
        if occurrences:
            continue  # a sum over the plane, not an event in time
        begin_ps = line.timestamp_ns * 1000 + offset
        yield _Event(
            plane.names.get(key, "") or f"event {key}",
            begin_ps // 1000,
            (begin_ps + duration) // 1000,
            _stats(plane, plane.common.get(key, []) + stats),
        )


def _stats(plane: _Plane, stats: list[bytes]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for data in stats:
        key = 0
        content: Value | None = None
        for number, value in fields(data):
            if number == 1:
                key = signed(value)
            elif number == 2:
                content = double(value)
            elif number == 3:
                content = value if isinstance(value, int) else None
            elif number == 4:
                content = signed(value)
            elif number == 5:
                content = text(value)
            elif number == 7:
                content = plane.stat_names.get(signed(value), "")
        if content is not None:
            found[plane.stat_names.get(key, str(key))] = content
    return found
