"""``pj.count_flops``: a short stretch in which every operation is looked at."""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from picojoule import _core
from picojoule.errors import MissingExtraError, UsageError
from picojoule.flops import cublas_log, triton_meta
from picojoule.flops.cost import Cost
from picojoule.flops.work import OP_MARK, OpRow, Path, Window

if TYPE_CHECKING:
    from picojoule.flops.torch_ops import OpCounter

#: Windows that this process remembers for its profiles; a program needs a handful.
_MOST_WINDOWS = 256
_windows: collections.deque[Window] = collections.deque(maxlen=_MOST_WINDOWS)
_lock = threading.Lock()


class count_flops:  # noqa: N801 - a verb to its users: `with pj.count_flops():`
    """Look at every PyTorch operation in a block: its FLOPs, its bytes, its region.

    Products that cuBLAS runs for others (CuPy, raw CUDA) are seen by its log, where it has one:
    their FLOPs belong to their regions, and to no kernel.

    Meant for one or two steps of a warm-up. Each signature (operation, shapes, dtypes) is costed
    once; every profile that is open then takes the cost of its regions' calls, and on a GPU of its
    kernels' launches, from here and multiplies by what it sees later. Looking costs tens of
    microseconds an operation; after the block nothing stays installed. The block holds whole calls
    of the regions in it; directly inside a region it stands for one call of that one.

    >>> with pj.profile() as prof:                                  # doctest: +SKIP
    ...     for i, batch in enumerate(loader):
    ...         with pj.region("step"):
    ...             if i == 3:
    ...                 with pj.count_flops():
    ...                     step(batch)
    ...             else:
    ...                 step(batch)

    Raises:
        MissingExtraError: PyTorch is not installed, and cuBLAS not loaded.
        UsageError: entered a second time.
    """

    def __init__(self) -> None:
        """Nothing is looked at before the block is entered."""
        self._session: _core.Session | None = None
        self._counter: OpCounter | None = None
        self._triton: dict[tuple[str, Path], list[Cost]] = {}
        self._products: dict[tuple[str, Path], list[Cost]] = {}
        self._in_op = threading.local()
        self._undo = ExitStack()
        self._window: Window | None = None
        self._inside: Path = ()
        self._traced = False

    def __enter__(self) -> Self:
        """Begin to look."""
        if self._session is not None:
            raise UsageError("a count_flops() is good for one block; make another")
        self._counter = self._new_counter()
        self._inside = _region()
        # A session without meters counts how often each region is entered meanwhile.
        self._session = _core.begin("", [], 0.0, "", [], "off")
        with ExitStack() as undo:
            undo.callback(self._session.end)
            self._traced = _core.tracer_status()["mode"] in ("single", "shared")
            undo.enter_context(cublas_log.looking(self._product))
            undo.enter_context(triton_meta.looking(self._told, lambda name: _mark(name, "")))
            if self._counter is not None:
                undo.enter_context(self._counter)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; what was seen is kept, whatever ended the block."""
        assert self._session is not None
        self._undo.close()
        seen = self._counter.rows if self._counter is not None else ()
        rows = [OpRow(r.op, r.signature, r.path, r.calls, r.cost) for r in seen]
        for (signature, path), costs in self._products.items():
            rows.append(OpRow("cublas.matmul", signature, path, len(costs), costs[0]))
        for (name, path), costs in self._triton.items():
            rows.append(OpRow(name, "", path, len(costs), _mean(costs)))
        trace = self._session.trace()
        calls = _calls(trace)
        # Inside a region that stays open, the block stands for one call of it.
        if self._inside and not calls.get(self._inside) and _region() == self._inside:
            calls[self._inside] = 1
        self._window = Window(
            begin_ns=trace.begin_ns,
            end_ns=trace.end_ns,
            rows=tuple(rows),
            calls=calls,
            notes=tuple(self._counter.notes) if self._counter is not None else (),
        )
        with _lock:
            _windows.append(self._window)

    def _new_counter(self) -> OpCounter | None:
        try:
            from picojoule.flops.torch_ops import OpCounter
        except MissingExtraError:
            if not cublas_log.loaded():
                raise
            return None
        return OpCounter(path=_region, around=self._around)

    @contextmanager
    def _around(self, op: str, signature: str) -> Iterator[None]:
        self._in_op.depth = getattr(self._in_op, "depth", 0) + 1
        try:
            if self._traced:
                with _mark(op, signature):
                    yield
            else:
                yield
        finally:
            self._in_op.depth -= 1

    def _product(self, signature: str, cost: Cost) -> None:
        # What an operation of PyTorch runs is in the operation's own row.
        if not getattr(self._in_op, "depth", 0):
            self._products.setdefault((signature, _region()), []).append(cost)

    def _told(self, name: str, cost: Cost) -> None:
        self._triton.setdefault((name, _region()), []).append(cost)

    @property
    def window(self) -> Window:
        """What was seen.

        Raises:
            UsageError: the block was not left yet.
        """
        if self._window is None:
            raise UsageError("the block is still open")
        return self._window

    @property
    def flops(self) -> float:
        """FLOPs of all operations in the block; nan if one of them is not known."""
        return math.fsum(r.cost.flops * r.calls for r in self.window.rows)


def windows_within(begin_ns: int, end_ns: int) -> Sequence[Window]:
    """Windows of this process that lie in a stretch of time."""
    with _lock:
        return [w for w in _windows if w.begin_ns >= begin_ns and w.end_ns <= end_ns]


def _region() -> Path:
    """The region that runs now, without ops that are being looked at."""
    path = _core.current_path()
    return tuple(name for name in path if not name.startswith(OP_MARK))


def _mean(costs: Sequence[Cost]) -> Cost:
    """The cost of a call, from calls that may differ in size."""
    return Cost(
        flops=math.fsum(c.flops for c in costs) / len(costs),
        bytes=math.fsum(c.bytes for c in costs) / len(costs),
        type=costs[0].type,
        source=costs[0].source,
        kind=costs[0].kind,
        note=costs[0].note,
    )


def _mark(op: str, signature: str) -> _core.region:
    return _core.region(f"{OP_MARK}{op}|{signature}")


def _calls(trace: _core.Trace) -> dict[Path, int]:
    names: list[Path] = [()]
    for parent, name in trace.paths[1:]:
        names.append((*names[parent], name))
    enters = trace.analyse()["enters"]
    return {
        path: int(n)
        for path, n in zip(names, enters, strict=True)
        if n and path and not path[-1].startswith(OP_MARK)
    }
