"""A timeline that another tool recorded: what the importers fill, and how regions get kernels.

Times are whole ns. A kernel belongs to the innermost host range that was open on the thread that
launched it, at the instant of the launch. Threads of PyTorch's backward engine have no ranges of
their own: what they launch belongs to the region that waits for the backward pass *now*.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from picojoule.errors import TraceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Clock = Literal["monotonic", "realtime", "relative"]
Kind = Literal["kernel", "memcpy", "memset", "other"]

KERNEL = np.dtype(
    [
        ("begin_ns", "<i8"),
        ("end_ns", "<i8"),
        ("kernel_class", "<u4"),
        ("track", "<u2"),
        ("path", "<u4"),
        ("graph_node", "<u4"),
        ("flags", "u1"),
    ]
)
SPAN = np.dtype([("begin_ns", "<i8"), ("end_ns", "<i8"), ("path", "<u4"), ("thread", "<u4")])

UNMATCHED = 1  # the file has no launch for this kernel: its path is the root
WAITING = 2  # launched by a backward thread: the path is that of the thread that waited for it
GRAPH = 4  # a node of a CUDA graph: the path is that of the graph's launch

_TIME_LIMIT = 1 << 62  # beyond this a time is damage; sums and differences below it cannot overflow
_U4 = (1 << 32) - 1
_U8 = (1 << 64) - 1


@dataclass(frozen=True)
class ImportedTimeline:
    """Kernels, host ranges and totals read from one foreign file.

    Attributes:
        kernels: one row for each kernel or copy (dtype ``KERNEL``), sorted by ``begin_ns``.
        classes: what ``kernel_class`` refers to: kind, name, grid, block, static_shared and
            dynamic_shared (bytes), bytes (moved by one copy; 0 for kernels).
        tracks: what ``track`` refers to: domain ("gpu:0"), device, context, stream.
        paths: (parent, name) of each region path; path 0 is the root, parents come first.
        spans: the host ranges (dtype ``SPAN``), sorted by ``begin_ns``.
        clock: what the times are on. "realtime" is ns since 1970; "relative" has no known origin.
        offset_ns: to be added to all times to get CLOCK_MONOTONIC; None if the file cannot tell.
        source: the tool whose file it was.
        notes: what was left out or guessed, one sentence each.
        cells: totals for files without a timeline: dicts of path, class, track (each None where
            it does not apply), count, time_ns, flops, bytes (the last two NaN where unknown).
    """

    kernels: NDArray[Any]
    classes: list[dict[str, Any]]
    tracks: list[dict[str, Any]]
    paths: list[tuple[int, str]]
    spans: NDArray[Any]
    clock: Clock
    offset_ns: int | None
    source: str
    notes: tuple[str, ...] = ()
    cells: list[dict[str, Any]] = field(default_factory=list)

    def path_names(self, path: int) -> tuple[str, ...]:
        """The names from the outermost region to ``path``; () for the root."""
        names: list[str] = []
        while path:
            path, name = self.paths[path]
            names.append(name)
        return tuple(reversed(names))

    def on_monotonic(self, offset_ns: int) -> ImportedTimeline:
        """The same timeline with ``offset_ns`` added to all times, on CLOCK_MONOTONIC.

        For "realtime" the offset is monotonic minus wall clock at one instant, such as
        ``begin_ns - begin_wall_ns`` of a picojoule trace.
        """
        kernels, spans = self.kernels.copy(), self.spans.copy()
        for rows in (kernels, spans):
            rows["begin_ns"] += offset_ns
            rows["end_ns"] += offset_ns
        return replace(self, kernels=kernels, spans=spans, clock="monotonic", offset_ns=0)


class Launch(NamedTuple):
    """The host call that launched something: when (ns), and on which thread."""

    thread: Hashable
    time_ns: int


class Range(NamedTuple):
    """A named host range of one thread (ns)."""

    begin_ns: int
    end_ns: int
    name: str


class ThreadStack:
    """What was open on one thread: nests its ranges, and answers for any instant.

    A range is a child of the one that was opened last among those still open. Ranges that overlap
    without nesting are allowed. A range is open at its begin and no longer at its end.
    """

    def __init__(
        self,
        ranges: Iterable[Range],
        child: Callable[[int, str], int],
        outside: Callable[[int], int] = lambda _time: 0,
    ) -> None:
        """Nest ``ranges``.

        Args:
            ranges: those of one thread, in any order; ``end_ns >= begin_ns``.
            child: the path of a name below a parent path.
            outside: the path around the thread's outermost ranges, by time.
        """
        order = sorted(ranges, key=lambda r: (r.begin_ns, -r.end_ns))
        ends = sorted(range(len(order)), key=lambda i: order[i].end_ns)
        closed = [False] * len(order)
        stack: list[int] = []
        self.rows: list[tuple[int, int, int]] = []  # begin, end, path, by begin
        self._times: list[int] = []
        self._paths: list[int | None] = []
        next_end = 0

        def close_until(time: int) -> None:
            nonlocal next_end
            while next_end < len(ends) and order[ends[next_end]].end_ns <= time:
                index = ends[next_end]
                next_end += 1
                closed[index] = True
                while stack and closed[stack[-1]]:
                    stack.pop()
                top = self.rows[stack[-1]][2] if stack else None
                # Only those already begun can be on the stack; the others change nothing.
                if index < len(self.rows):
                    self._mark(order[index].end_ns, top)

        for index, (begin, end, name) in enumerate(order):
            close_until(begin)
            parent = self.rows[stack[-1]][2] if stack else outside(begin)
            path = child(parent, name)
            self.rows.append((begin, end, path))
            if end > begin:
                stack.append(index)
                self._mark(begin, path)
        close_until(_TIME_LIMIT)

    def at(self, time_ns: int) -> int | None:
        """The innermost path open at ``time_ns``; None if no range of the thread was."""
        index = bisect_right(self._times, time_ns) - 1
        return self._paths[index] if index >= 0 else None

    def _mark(self, time: int, path: int | None) -> None:
        if self._times and self._times[-1] == time:
            self._paths[-1] = path
        else:
            self._times.append(time)
            self._paths.append(path)


class Builder:
    """Collects what an importer finds, interns it, and joins kernels with regions at the end."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.cells: list[dict[str, Any]] = []
        self.main_thread: Hashable | None = None
        self._classes: dict[tuple[Any, ...], int] = {}
        self._tracks: dict[tuple[Any, ...], int] = {}
        self._paths: dict[tuple[int, str], int] = {(0, ""): 0}
        self._threads: dict[Hashable, int] = {}
        self._ranges: dict[Hashable, list[Range]] = {}
        self._kernels: list[tuple[int, int, int, int, int, int]] = []
        self._launches: list[tuple[Launch | None, tuple[str, ...]]] = []
        self._backward: dict[Hashable, list[tuple[int, Hashable]]] = {}
        self._counts: Counter[str] = Counter()
        self._notes: list[str] = []

    # ---- interning ----

    def kernel_class(
        self,
        kind: Kind,
        name: str,
        grid: tuple[int, int, int] = (0, 0, 0),
        block: tuple[int, int, int] = (0, 0, 0),
        static_shared: int = 0,
        dynamic_shared: int = 0,
        size: int = 0,
    ) -> int:
        """The number of this class; ``size`` is what a copy moves, in bytes."""
        key = (kind, name, grid, block, static_shared, dynamic_shared, size)
        return self._classes.setdefault(key, len(self._classes))

    def track(self, domain: str, device: str, context: int, stream: int) -> int:
        """The number of this stream of this device."""
        number = self._tracks.setdefault((domain, device, context, stream), len(self._tracks))
        if number > 0xFFFF:
            raise TraceError(
                f"the file names more than {0xFFFF} streams; no program has so many, "
                "so it is damaged. Record or export it again"
            )
        return number

    def path(self, parent: int, name: str) -> int:
        """The number of the region ``name`` below ``parent``."""
        return self._paths.setdefault((parent, name), len(self._paths))

    # ---- what the file has ----

    def note(self, text: str) -> None:
        """Keep a sentence for the report, once."""
        if text not in self._notes:
            self._notes.append(text)

    def count(self, what: str) -> None:
        """Count one more of ``what``; becomes the note "N <what>"."""
        self._counts[what] += 1

    def range(self, thread: Hashable, begin_ns: int, end_ns: int, name: str) -> None:
        """A named range of a host thread; impossible ones are counted and left out."""
        if self._possible(begin_ns, end_ns, "host ranges"):
            self._ranges.setdefault(thread, []).append(Range(begin_ns, end_ns, name))

    def backward(
        self, thread: Hashable, time_ns: int | None = None, forward: Hashable | None = None
    ) -> None:
        """``thread`` runs backward passes; from ``time_ns`` on, it does so for ``forward``."""
        known = self._backward.setdefault(thread, [])
        if time_ns is not None and forward is not None and forward != thread:
            known.append((time_ns, forward))

    def kernel(
        self,
        begin_ns: int,
        end_ns: int,
        kernel_class: int,
        track: int,
        launch: Launch | None,
        *,
        graph_node: int = 0,
        scope: tuple[str, ...] = (),
    ) -> None:
        """Something that ran on a device; ``scope`` are names below the region that launched it.

        Zero times (records that the driver never filled in) and negative durations are counted and
        left out.
        """
        if end_ns == 0:
            self.count("kernels had no end (still running, or never stamped) and were left out")
        elif self._possible(begin_ns, end_ns, "kernels"):
            flags = GRAPH if graph_node else 0
            node = graph_node if 0 <= graph_node <= _U8 else 0
            self._kernels.append((begin_ns, end_ns, kernel_class, track, node, flags))
            self._launches.append((launch, scope))

    def _possible(self, begin_ns: int, end_ns: int, what: str) -> bool:
        if not (-_TIME_LIMIT < begin_ns < _TIME_LIMIT and -_TIME_LIMIT < end_ns < _TIME_LIMIT):
            self.count(f"{what} had an impossible time and were left out")
            return False
        if end_ns < begin_ns:
            self.count(f"{what} ended before they began and were left out")
            return False
        return True

    # ---- joining ----

    def finish(self, clock: Clock, origin_ns: int = 0) -> ImportedTimeline:
        """The timeline; ``origin_ns`` is added to all times to put them on ``clock``."""
        stacks, fronts = self._nest()
        spans = self._span_rows(stacks, origin_ns)
        kernels = self._kernel_rows(stacks, fronts, origin_ns)
        for what, n in self._counts.items():
            self._notes.append(f"{n} {what}")
        keys = ("kind", "name", "grid", "block", "static_shared", "dynamic_shared", "bytes")
        return ImportedTimeline(
            kernels=kernels,
            classes=[dict(zip(keys, c, strict=True)) for c in self._classes],
            tracks=[
                dict(zip(("domain", "device", "context", "stream"), t, strict=True))
                for t in self._tracks
            ],
            paths=list(self._paths),
            spans=spans,
            clock=clock,
            offset_ns=0 if clock == "monotonic" else None,
            source=self.source,
            notes=tuple(self._notes),
            cells=self.cells,
        )

    def _nest(self) -> tuple[dict[Hashable, ThreadStack], dict[Hashable, ThreadStack]]:
        """The stacks of all threads, and of those that are no backward threads."""
        for known in self._backward.values():
            known.sort(key=lambda entry: entry[0])
        # Those that wait come first: ranges inside a backward pass go below what waits for it.
        fronts: dict[Hashable, ThreadStack] = {
            thread: ThreadStack(ranges, self.path)
            for thread, ranges in self._ranges.items()
            if thread not in self._backward
        }
        stacks = dict(fronts)
        for thread in self._backward:
            if thread in self._ranges:
                around = partial(self._waiting, thread, fronts=fronts)
                stacks[thread] = ThreadStack(self._ranges[thread], self.path, around)
        return stacks, fronts

    def _waiting(
        self, thread: Hashable, time: int, *, fronts: Mapping[Hashable, ThreadStack]
    ) -> int:
        """The region that waits at ``time`` for the backward pass of ``thread``; 0 if unknown."""
        known = self._backward.get(thread, [])
        index = bisect_right(known, time, key=lambda entry: entry[0]) - 1
        if index >= 0 and known[index][1] in fronts:
            path = fronts[known[index][1]].at(time)
            if path is not None:
                return path
        if self.main_thread in fronts:
            path = fronts[self.main_thread].at(time)
            if path is not None:
                return path
        candidates = {p for s in fronts.values() if (p := s.at(time)) is not None}
        if len(candidates) == 1:
            return candidates.pop()
        if candidates:
            self.count(
                "launches or ranges of a backward thread fit several waiting threads "
                "and are booked outside all regions"
            )
        return 0

    def _span_rows(self, stacks: Mapping[Hashable, ThreadStack], origin: int) -> NDArray[Any]:
        rows = [
            (begin + origin, end + origin, path, self._thread(thread))
            for thread, stack in stacks.items()
            for begin, end, path in stack.rows
        ]
        spans = np.array(rows, dtype=SPAN) if rows else np.empty(0, SPAN)
        return spans[np.argsort(spans["begin_ns"], kind="stable")]

    def _thread(self, thread: Hashable) -> int:
        """Its own number where that fits (a thread id of the system), else a made-up one."""
        number = thread[-1] if isinstance(thread, tuple) else thread
        if isinstance(number, int) and 0 <= number <= _U4:
            return number
        return self._threads.setdefault(thread, len(self._threads) + 1)

    def _kernel_rows(
        self,
        stacks: Mapping[Hashable, ThreadStack],
        fronts: Mapping[Hashable, ThreadStack],
        origin: int,
    ) -> NDArray[Any]:
        nodes = self._graph_nodes()
        rows = []
        for kernel, (launch, scope) in zip(self._kernels, self._launches, strict=True):
            begin, end, kernel_class, track, node, flags = kernel
            path, how = self._path_of(launch, stacks, fronts)
            for name in scope:
                path = self.path(path, name)
            rows.append(
                (begin + origin, end + origin, kernel_class, track, path, nodes(node), flags | how)
            )
        kernels = np.array(rows, dtype=KERNEL) if rows else np.empty(0, KERNEL)
        unmatched = int(np.count_nonzero(kernels["flags"] & UNMATCHED))
        if unmatched:
            self.note(
                f"{unmatched} of {len(kernels)} kernels have no launch in the file "
                "and are booked outside all regions"
            )
        return kernels[np.argsort(kernels["begin_ns"], kind="stable")]

    def _path_of(
        self,
        launch: Launch | None,
        stacks: Mapping[Hashable, ThreadStack],
        fronts: Mapping[Hashable, ThreadStack],
    ) -> tuple[int, int]:
        if launch is None:
            return 0, UNMATCHED
        own = stacks[launch.thread].at(launch.time_ns) if launch.thread in stacks else None
        if own is not None:
            return own, 0
        if launch.thread in self._backward:
            return self._waiting(launch.thread, launch.time_ns, fronts=fronts), WAITING
        return 0, 0

    def _graph_nodes(self) -> Callable[[int], int]:
        """Node ids as they are if they fit in 32 bits, else renumbered from 1."""
        ids = {kernel[4] for kernel in self._kernels}
        if max(ids, default=0) <= _U4:
            return lambda node: node
        numbers = {node: n for n, node in enumerate(sorted(ids - {0}), start=1)} | {0: 0}
        self.note("graph nodes have 64-bit ids in the file; they are renumbered from 1")
        return numbers.__getitem__


def whole(value: object, default: int = 0) -> int:
    """``value`` as an int if it is a number or the text of one, else ``default``."""
    if isinstance(value, bool) or value is None:
        return default
    # An exponent in a damaged file must not become a number of a billion digits.
    if isinstance(value, Decimal) and not (value.is_finite() and abs(value) <= _U8):
        return default
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        return default


def triple(value: object) -> tuple[int, int, int]:
    """A grid or a block; (0, 0, 0) if ``value`` is not three numbers."""
    if isinstance(value, (list, tuple)) and len(value) == 3:
        return whole(value[0]), whole(value[1]), whole(value[2])
    return 0, 0, 0
