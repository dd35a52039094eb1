"""Nsight Systems: the database of ``nsys export --type sqlite``.

Tables exist only if something was recorded for them, and columns come and go with versions: only
what is there is asked for. Times are ns since the session's start.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from picojoule.errors import ForeignTraceError, TruncatedTraceError
from picojoule.importers.timeline import Builder, ImportedTimeline, Launch, whole

_COPIES = {1: "HtoD", 2: "DtoH", 3: "HtoA", 4: "AtoH", 5: "AtoA", 6: "AtoD", 7: "DtoA", 8: "DtoD"}
_COPIES |= {9: "HtoH", 10: "PtoP"}
_RANGES = (59, 60, 70, 71)  # push/pop and start/end; the last two are their older numbers
_OP = re.compile(r",\s*(op_id|seq|sizes)\s*=")  # torch's emit_nvtx writes its ops like this
_BACKWARD = re.compile(r"^pt_autograd")
_PROCESS = ~0xFFFFFF  # of a global thread id: all but the thread
_PLACE = (
    "start",
    "end",
    "deviceId",
    "contextId",
    "streamId",
    "correlationId",
    "globalPid",
    "graphNodeId",
)

Row = dict[str, Any]


def read_nsys(path: Path, *, ops: bool = False) -> ImportedTimeline:
    """The timeline of the database at ``path``; ``ops`` keeps ranges of torch's emit_nvtx too.

    Raises:
        ForeignTraceError: it is a database of something else.
        TruncatedTraceError: it is damaged.
    """
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            return _Reader(database).read(ops)
        finally:
            database.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the second: damaged column names
        raise TruncatedTraceError(
            f"{path} is a damaged or incomplete SQLite database ({error}). "
            "Export it again: nsys export --type sqlite REPORT.nsys-rep"
        ) from None


class _Reader:
    """One database, while it is read."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        names = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        self.tables = {str(row[0]) for row in names}
        self.builder = Builder("Nsight Systems")
        self.strings: dict[int, str] = {}
        self.gpus: dict[int, str] = {}
        self.launches: dict[tuple[int, int], Launch] = {}

    def read(self, ops: bool) -> ImportedTimeline:
        known = [t for t in self.tables if t.startswith(("CUPTI_", "NVTX_", "TARGET_INFO_"))]
        if not known:
            some = ", ".join(sorted(self.tables)[:5]) or "none"
            raise ForeignTraceError(
                f"the SQLite database is not of Nsight Systems (its tables: {some}). "
                "Supported is what nsys export --type sqlite writes"
            )
        self._missing()
        self.strings = {
            whole(r["id"]): str(r["value"]) for r in self._rows("StringIds", "id", "value")
        }
        for row in self._rows("TARGET_INFO_GPU", "id", "name"):
            self.gpus[whole(row["id"])] = str(row["name"] or "")
        self._threads()
        self._ranges(ops)
        self._calls()
        self._kernels()
        self._copies()
        for row in self._rows("TARGET_INFO_SESSION_START_TIME", "utcEpochNs"):
            if whole(row["utcEpochNs"]):
                return self.builder.finish("realtime", whole(row["utcEpochNs"]))
        self.builder.note("the file does not tell when the session began; its times have no origin")
        return self.builder.finish("relative")

    def _missing(self) -> None:
        for table, lost in (
            ("CUPTI_ACTIVITY_KIND_KERNEL", "no kernels were recorded"),
            ("CUPTI_ACTIVITY_KIND_RUNTIME", "kernels cannot be matched with their launches"),
            ("NVTX_EVENTS", "there are no regions"),
            ("StringIds", "names are missing"),
            ("ThreadNames", "backward threads are unknown, their kernels stay outside regions"),
        ):
            if table not in self.tables:
                self.builder.note(f"the file has no table {table}: {lost}")

    def _rows(self, table: str, *wanted: str) -> Iterator[Row]:
        """The rows of ``table`` with the wanted columns; None for those that it lacks."""
        if table not in self.tables:
            return
        there = {str(row[1]) for row in self.database.execute(f'PRAGMA table_info("{table}")')}
        columns = [column for column in wanted if column in there]
        if not columns:
            return
        absent: Row = dict.fromkeys(wanted)
        listed = ", ".join(f'"{column}"' for column in columns)
        for row in self.database.execute(f'SELECT {listed} FROM "{table}"'):
            yield absent | dict(zip(columns, row, strict=True))

    def _string(self, number: object) -> str:
        return self.strings.get(whole(number, -1), "")

    def _threads(self) -> None:
        for row in self._rows("ThreadNames", "nameId", "globalTid"):
            if _BACKWARD.match(self._string(row["nameId"])):
                self.builder.backward(_thread(row["globalTid"]))

    def _ranges(self, ops: bool) -> None:
        wanted = ("start", "end", "eventType", "text", "textId", "globalTid")
        for row in self._rows("NVTX_EVENTS", *wanted):
            if row["eventType"] is not None and whole(row["eventType"]) not in _RANGES:
                continue
            name = str(row["text"] or self._string(row["textId"]) or "(unnamed)")
            if row["start"] is None or row["end"] is None:
                self.builder.count("NVTX ranges were never closed and were left out")
            elif _OP.search(name) and not ops:
                self.builder.count("ranges of single torch ops (emit_nvtx) were left out")
            else:
                thread = _thread(row["globalTid"])
                if thread[0] == thread[1]:
                    self.builder.main_thread = thread
                self.builder.range(thread, whole(row["start"]), whole(row["end"]), name)

    def _calls(self) -> None:
        for table in ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_DRIVER"):
            for row in self._rows(table, "start", "globalTid", "correlationId"):
                if row["start"] is None or row["correlationId"] is None:
                    continue
                key = (whole(row["globalTid"]) & _PROCESS, whole(row["correlationId"]))
                launch = Launch(_thread(row["globalTid"]), whole(row["start"]))
                self.launches.setdefault(key, launch)
                # Older exports have no process on the side of the kernels.
                self.launches.setdefault((0, key[1]), launch)

    def _kernels(self) -> None:
        names = ("demangledName", "shortName", "mangledName")
        sizes = ("gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ")
        shared = ("staticSharedMemory", "dynamicSharedMemory")
        wanted = (*_PLACE, *names, *sizes, *shared)
        for row in self._rows("CUPTI_ACTIVITY_KIND_KERNEL", *wanted):
            name = next((s for n in names if (s := self._string(row[n]))), "(unnamed)")
            x, y, z, bx, by, bz = (whole(row[s]) for s in sizes)
            static, dynamic = (max(0, whole(row[s])) for s in shared)
            made = self.builder.kernel_class(
                "kernel", name, (x, y, z), (bx, by, bz), static, dynamic
            )
            self._place(row, made)
        for row in self._rows("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", *_PLACE, "graphId"):
            self.builder.note("whole CUDA graphs were recorded and not their kernels")
            name = f"CUDA graph {whole(row['graphId'])}"
            self._place(row, self.builder.kernel_class("other", name))

    def _copies(self) -> None:
        for row in self._rows("CUPTI_ACTIVITY_KIND_MEMCPY", *_PLACE, "bytes", "copyKind"):
            name = f"Memcpy {_COPIES.get(whole(row['copyKind']), '')}".strip()
            size = max(0, whole(row["bytes"]))
            self._place(row, self.builder.kernel_class("memcpy", name, size=size))
        for row in self._rows("CUPTI_ACTIVITY_KIND_MEMSET", *_PLACE, "bytes"):
            size = max(0, whole(row["bytes"]))
            self._place(row, self.builder.kernel_class("memset", "Memset", size=size))

    def _place(self, row: Row, kernel_class: int) -> None:
        if row["start"] is None:
            self.builder.count("kernels have no begin and were left out")
            return
        device = whole(row["deviceId"])
        correlation = whole(row["correlationId"])
        process = whole(row["globalPid"]) & _PROCESS
        self.builder.kernel(
            whole(row["start"]),
            whole(row["end"]),
            kernel_class,
            self.builder.track(
                f"gpu:{device}",
                self.gpus.get(device, ""),
                whole(row["contextId"]),
                whole(row["streamId"]),
            ),
            self.launches.get((process, correlation)) if correlation else None,
            graph_node=whole(row["graphNodeId"]),
        )


def _thread(global_tid: object) -> tuple[int, int]:
    """Process and thread of a global thread id: 24 bits each, below those of the machine."""
    number = whole(global_tid)
    return (number >> 24) & 0xFFFFFF, number & 0xFFFFFF
