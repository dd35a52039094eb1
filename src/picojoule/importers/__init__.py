"""Timelines that other tools recorded, read into one form.

    from picojoule import importers
    timeline = importers.read("trace.json.gz")

Supported are Chrome traces of PyTorch's profiler, Nsight Systems' SQLite export, JAX's xplane.pb
and Proton's hatchet JSON. None of these tools is needed to read their files.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from picojoule.errors import ForeignTraceError, PicojouleError, TraceError, TruncatedTraceError

if TYPE_CHECKING:
    from picojoule import _core
    from picojoule.importers.timeline import ImportedTimeline

__all__ = ["SUPPORTED", "read", "to_trace"]

SUPPORTED = (
    "a Chrome trace of torch.profiler (.json, .json.gz), an SQLite export of Nsight Systems "
    "(.sqlite), an XPlane profile of JAX (.xplane.pb) or a hatchet file of Proton (.hatchet)"
)
_SQLITE = b"SQLite format 3\0"
_GZIP = b"\x1f\x8b"
# What cannot be read, but can be turned into something that can.
_ELSEWHERE = {
    ".nsys-rep": "an Nsight Systems report. Export it: nsys export --type sqlite REPORT.nsys-rep",
    ".qdrep": "an Nsight Systems report. Export it: nsys export --type sqlite REPORT.qdrep",
    ".ncu-rep": "an Nsight Compute report, which has no timeline. Record one with nsys",
    ".pftrace": "a Perfetto trace in protobuf. Export the Chrome trace (JSON) instead",
}


def to_trace(timeline: ImportedTimeline, power: _core.Trace | None = None) -> _core.Trace:
    """``timeline`` as a trace of ours; see ``picojoule.importers.overlay``."""
    from picojoule.importers import overlay

    return overlay.to_trace(timeline, power)


def read(path: str | os.PathLike[str], *, ops: bool = False) -> ImportedTimeline:
    """The timeline in the file at ``path``, whatever tool wrote it.

    Args:
        path: the file, or a folder that holds exactly one ``*.xplane.pb``.
        ops: also make regions of what the framework itself annotated (CPU ops of PyTorch, the
            runtime's ranges in JAX), not only of what users did.

    Raises:
        FileNotFoundError: nothing is there.
        ForeignTraceError: it is none of the supported formats; the message says what it is.
        TruncatedTraceError: it is one of them, but damaged or cut short.
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}")
    if file.is_dir():
        file = _in_folder(file)
    try:
        return _read(file, ops)
    except (PicojouleError, OSError):
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        # A format has more ways to be wrong than its reader can name.
        raise TraceError(
            f"{file} cannot be read as what it seems to be ({type(error).__name__}: {error}). "
            "Export it again from the tool that recorded it"
        ) from error


def _read(file: Path, ops: bool) -> ImportedTimeline:
    with file.open("rb") as stream:
        head = stream.read(len(_SQLITE))
    if head == _SQLITE:
        from picojoule.importers.nsys import read_nsys

        return read_nsys(file, ops=ops)
    if not head:
        raise TruncatedTraceError(f"{file} is empty. Record or export it again")
    data = _unzip(file) if head.startswith(_GZIP) else file.read_bytes()
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start in (b"{", b"["):
        return _read_json(file, data, ops)
    if data.startswith(_SQLITE):
        raise ForeignTraceError(f"{file} is a compressed database. Unpack it first: gunzip {file}")
    if file.suffix in _ELSEWHERE:
        raise ForeignTraceError(f"{file} is {_ELSEWHERE[file.suffix]}")
    # An XSpace begins with its first plane: field 1, length-delimited.
    if data[:1] == b"\x0a" or file.name.removesuffix(".gz").endswith(".xplane.pb"):
        from picojoule.importers.xplane import read_xplane

        return read_xplane(data, ops=ops)
    raise ForeignTraceError(
        f"{file} is of no known format (it begins with {data[:8]!r}). Supported: {SUPPORTED}"
    )


def _read_json(file: Path, data: bytes, ops: bool) -> ImportedTimeline:
    from picojoule.importers.hatchet import looks_like_hatchet, read_hatchet
    from picojoule.importers.kineto import read_kineto

    try:
        # Names of kernels may be cut inside a character; a number may be us since 1970 with ns.
        document = json.loads(
            data.decode("utf-8-sig", "replace"),
            strict=False,
            parse_float=Decimal,
            parse_constant=lambda _: None,
        )
    except (ValueError, RecursionError) as error:
        raise TruncatedTraceError(
            f"{file} is JSON that ends too early or is damaged ({error}). "
            "Export it again, after the profiler has stopped"
        ) from None
    if looks_like_hatchet(document):
        return read_hatchet(document)
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if isinstance(events, list) and (
        isinstance(document, dict) or any(isinstance(e, dict) and "ph" in e for e in events)
    ):
        return read_kineto(document, ops=ops)
    keys = ", ".join(sorted(map(str, document))[:5]) if isinstance(document, dict) else "a list"
    raise ForeignTraceError(
        f"{file} is JSON, but of no known tool (it has: {keys or 'nothing'}). "
        f"Supported: {SUPPORTED}"
    )


def _unzip(file: Path) -> bytes:
    try:
        with gzip.open(file) as stream:
            return stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TruncatedTraceError(
            f"{file} is a gzip file that is cut short or damaged ({error}). Copy or export it again"
        ) from None


def _in_folder(folder: Path) -> Path:
    if (folder / "meta.json").exists():
        raise ForeignTraceError(
            f"{folder} is a trace of picojoule itself; load it with picojoule.load"
        )
    found = sorted(folder.rglob("*.xplane.pb"))
    if len(found) == 1:
        return found[0]
    if found:
        raise ForeignTraceError(
            f"{folder} holds {len(found)} profiles, one for each host or run; give one file: "
            + ", ".join(str(f.relative_to(folder)) for f in found[:5])
        )
    raise ForeignTraceError(f"{folder} is a folder without *.xplane.pb. Supported: {SUPPORTED}")
