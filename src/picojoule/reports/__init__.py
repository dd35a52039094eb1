"""Everything that shows or writes a finished ``Profile``: one file an output, each a pure function.

A new format is one module with ``render(profile)`` and one line in a table below.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

from picojoule.errors import UsageError
from picojoule.reports import _write

if TYPE_CHECKING:
    from picojoule.results import Profile

    Renderer = Callable[[Profile], str | bytes]


def _of(module: str, function: str = "render") -> Renderer:
    """The function of a module that is loaded when first used: nobody pays for formats unused."""

    def render(profile: Profile) -> str | bytes:
        found: Renderer = getattr(import_module(f"{__name__}.{module}"), function)
        return found(profile)

    return render


#: For people: name -> (summary, Profile -> text).
REPORTERS: Mapping[str, tuple[str, Renderer]] = {
    "table": ("plain text for a terminal", _of("table")),
    "html": ("one offline page with timeline, regions and provenance", _of("html")),
}

#: For other programs: name -> (summary, Profile -> text or bytes).
EXPORTERS: Mapping[str, tuple[str, Renderer]] = {
    "json": ("the whole profile, schema picojoule.profile/1", _of("json_")),
    "csv": ("one row a region and domain", _of("csv_")),
    "csv-readings": ("one row a meter reading", _of("csv_", "render_readings")),
    "csv-kernels": (
        "one row a kernel, and the idle time of each device",
        _of("csv_", "render_kernels"),
    ),
    "chrome": ("trace JSON for Perfetto, chrome://tracing, Speedscope", _of("chrome")),
    "parquet": ("one row a region and domain, columns (needs pyarrow)", _of("parquet")),
    "parquet-kernels": (
        "one row a kernel, and the idle time of each device (needs pyarrow)",
        _of("parquet", "render_kernels"),
    ),
    "parquet-runs": (
        "one row a run of a kernel, a few bytes each (needs pyarrow)",
        _of("parquet", "render_runs"),
    ),
}


def export(profile: Profile, to: str, path_or_file: str | os.PathLike[str] | IO[Any]) -> None:
    """Write ``profile`` in the format ``to``; a path gets the whole file or keeps what it had.

    Args:
        profile: what a measurement found.
        to: a name from ``EXPORTERS`` or ``REPORTERS``.
        path_or_file: where to; an open file may be of text or of bytes.

    Raises:
        UsageError: there is no such format.
        MissingExtraError: the format needs a package that is not installed.
        OSError: the path cannot be written.
    """
    known = {**EXPORTERS, **REPORTERS}
    if to not in known:
        raise UsageError(f"there is no format {to!r}; there are: {', '.join(known)}")
    content = known[to][1](profile)
    if isinstance(path_or_file, (str, os.PathLike)):
        _write.write(path_or_file, content)
    else:
        _write.send(path_or_file, content)


__all__ = ["EXPORTERS", "REPORTERS", "export"]
