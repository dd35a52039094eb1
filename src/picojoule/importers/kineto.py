"""Chrome traces of torch.profiler (Kineto): ``export_chrome_trace`` and its gzip.

``ts`` and ``dur`` are us with a fraction; ``baseTimeNanoseconds``, where there is one, is added to
them. A kernel finds its launch by ``correlation``, else its op by ``External id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from picojoule.errors import ForeignTraceError
from picojoule.importers.timeline import Builder, ImportedTimeline, Kind, Launch, triple, whole

_DEVICE: dict[str, Kind] = {
    "kernel": "kernel",
    "gpu_memcpy": "memcpy",
    "gpu_memset": "memset",
}
_CALLS = ("cuda_runtime", "cuda_driver", "hip_runtime", "privateuse1_runtime")
_HOST = ("cpu_op", "user_annotation", *_CALLS)
_KNOWN = {*_DEVICE, *_CALLS, "cpu_op", "user_annotation", "fwdbwd", "python_function"}
_BACKWARD = "autograd::engine::evaluate_function"
_ABSOLUTE_NS = 10**17  # older files have no base: their times are us since 1970

Event = Mapping[str, Any]


def read_kineto(document: object, *, ops: bool = False) -> ImportedTimeline:
    """The timeline of a parsed Chrome trace; ``ops`` makes a region of each CPU op too.

    The JSON should be parsed with ``parse_float=Decimal``: us since 1970 with ns do not fit a
    float.

    Raises:
        ForeignTraceError: it is a Chrome trace of some other program.
    """
    header: Event = document if isinstance(document, dict) else {}
    found = header.get("traceEvents") if header else document
    events: list[Event] = (
        [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
    )
    kinds = {str(e.get("cat")) for e in events}
    if not kinds & _KNOWN and "deviceProperties" not in header:
        some = ", ".join(sorted(kinds - {"None", ""})[:5]) or "none"
        raise ForeignTraceError(
            "the Chrome trace is not of PyTorch's profiler (categories of its events: "
            f"{some}). Supported are traces of torch.profiler's export_chrome_trace; of JAX, give "
            "the *.xplane.pb beside it"
        )
    builder = Builder("PyTorch Kineto")
    _threads(events, builder)
    launches, by_op = _launches(events)
    devices = _device_names(header)
    smallest: int | None = None
    for event in events:
        category = event.get("cat")
        if event.get("ph") != "X":
            continue
        if category in _DEVICE:
            times = _times(event)
            if times is None:
                builder.count("kernels have no readable time and were left out")
                continue
            _kernel(event, _DEVICE[str(category)], times, builder, launches, by_op, devices)
        elif category == "user_annotation" or (ops and category == "cpu_op"):
            times = _times(event)
            if times is None:
                builder.count("host ranges have no readable time and were left out")
                continue
            builder.range(_tid(event), *times, str(event.get("name", "")) or "(unnamed)")
        else:
            continue
        smallest = times[0] if smallest is None else min(smallest, times[0])
    base = whole(header.get("baseTimeNanoseconds"))
    if base or (smallest is not None and smallest >= _ABSOLUTE_NS):
        return builder.finish("realtime", base)
    builder.note("the file has no baseTimeNanoseconds, so its times have no known origin")
    return builder.finish("relative")


def _times(event: Event) -> tuple[int, int] | None:
    begin, duration = _ns(event.get("ts")), _ns(event.get("dur", 0))
    return None if begin is None or duration is None else (begin, begin + duration)


def _ns(us: object) -> int | None:
    if isinstance(us, bool):
        return None
    if isinstance(us, int):
        return us * 1000
    try:
        value = (us if isinstance(us, Decimal) else Decimal(str(us))) * 1000
    except ArithmeticError:
        return None
    return round(value) if value.is_finite() and abs(value) < 1 << 70 else None


def _tid(event: Event) -> tuple[object, object]:
    """The thread; what is no number (some exporters write names) stays text."""
    pid, tid = event.get("pid"), event.get("tid")
    return _key(pid), _key(tid)


def _key(value: object) -> object:
    return value if isinstance(value, int) else str(value)


def _args(event: Event) -> Mapping[str, Any]:
    args = event.get("args")
    return args if isinstance(args, dict) else {}


def _threads(events: list[Event], builder: Builder) -> None:
    """Find the main thread, and the threads that run backward passes for another one.

    A backward pass may also run on the thread that asked for it (it does on the CPU). So a thread
    that has forward ops of its own, which is where the arrows of "fwdbwd" start, is none of them.
    The arrows say for which thread a backward thread works at a time; not more, since the region
    to book on is the one that waits now and not the one that was open in the forward pass.
    """
    starts: dict[object, object] = {}
    ends: list[tuple[object, int | None, tuple[object, object]]] = []
    backward: set[tuple[object, object]] = set()
    for event in events:
        thread = _tid(event)
        if event.get("cat") == "fwdbwd":
            if event.get("ph") == "s":
                starts[_key(event.get("id"))] = thread
            elif event.get("ph") == "f":
                ends.append((_key(event.get("id")), _ns(event.get("ts")), thread))
        elif event.get("cat") in _HOST:
            if thread[0] == thread[1]:
                builder.main_thread = thread  # on Linux the first thread's id is the process's
            if str(event.get("name", "")).startswith(_BACKWARD):
                backward.add(thread)
    fronts = {*starts.values(), builder.main_thread}
    for thread in backward - fronts:
        builder.backward(thread)
    for key, time, thread in ends:
        if key in starts and thread not in fronts:
            builder.backward(thread, time, starts[key])


def _launches(events: list[Event]) -> tuple[dict[int, Launch], dict[int, Launch]]:
    """Host calls by correlation id, and the ops by external id."""
    calls: dict[int, Launch] = {}
    by_op: dict[int, Launch] = {}
    for event in events:
        category = event.get("cat")
        if category not in _HOST or event.get("ph") != "X":
            continue
        begin = _ns(event.get("ts"))
        if begin is None:
            continue
        launch = Launch(_tid(event), begin)
        if category in _CALLS:
            number = whole(_args(event).get("correlation"))
            if number:
                calls.setdefault(number, launch)
        elif category in ("cpu_op", "user_annotation"):
            number = whole(_args(event).get("External id"))
            if number:
                by_op.setdefault(number, launch)
    return calls, by_op


def _device_names(header: Mapping[str, Any]) -> dict[int, str]:
    found = header.get("deviceProperties")
    return {
        whole(d.get("id")): str(d.get("name", ""))
        for d in (found if isinstance(found, list) else [])
        if isinstance(d, dict)
    }


def _kernel(
    event: Event,
    kind: Kind,
    times: tuple[int, int],
    builder: Builder,
    launches: Mapping[int, Launch],
    by_op: Mapping[int, Launch],
    devices: Mapping[int, str],
) -> None:
    args = _args(event)
    device = whole(args.get("device", event.get("pid")))
    builder.kernel(
        *times,
        builder.kernel_class(
            kind,
            str(event.get("name", "")) or "(unnamed)",
            triple(args.get("grid")),
            triple(args.get("block")),
            # Kineto writes the sum of static and dynamic shared memory.
            dynamic_shared=max(0, whole(args.get("shared memory"))),
            size=max(0, whole(args.get("bytes"))),
        ),
        builder.track(
            f"gpu:{device}",
            devices.get(device, ""),
            whole(args.get("context")),
            whole(args.get("stream", event.get("tid"))),
        ),
        launches.get(whole(args.get("correlation"))) or by_op.get(whole(args.get("External id"))),
        graph_node=whole(args.get("graph node id")),
    )
