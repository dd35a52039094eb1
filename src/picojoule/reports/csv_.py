"""Comma-separated tables. An unknown number is an empty cell, never 0."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from picojoule.reports import _rows

if TYPE_CHECKING:
    from picojoule.results import Profile


def render(profile: Profile) -> str:
    """One row a region and domain; ``scope`` tells the profile's own rows from the regions'."""
    columns = list(_rows.REGION_COLUMNS)
    return _table(columns, ([row[c] for c in columns] for row in _rows.of_regions(profile)))


def render_kernels(profile: Profile) -> str:
    """One row a kernel and region, launch shape and stream; then the idle time of each device."""
    columns = list(_rows.KERNEL_COLUMNS)
    return _table(columns, ([row[c] for c in columns] for row in _rows.of_kernels(profile)))


def render_readings(profile: Profile) -> str:
    """One row a meter reading: when, how many joules, and how well its end is known."""
    heads = {c.index: _line((c.domain, c.meter, c.provenance)) for c in profile.channels}
    nameless = _line(("", "", ""))
    begin_ns = profile.begin_ns
    # Written by hand: there may be millions, and all but the heads are bare numbers.
    lines = [
        f"{heads.get(index, nameless)},"
        f"{(begin - begin_ns) * 1e-9:.9f},{(end - begin_ns) * 1e-9:.9f},"
        f"{joules if joules == joules else ''},{edge_std_ns * 1e-9:.4g},{flags}\n"
        for index, begin, end, joules, edge_std_ns, flags in profile.readings.tolist()
    ]
    columns = ("domain", "meter", "provenance", "begin_s", "end_s", "joules", "edge_std_s", "flags")
    return _line(columns) + "\n" + "".join(lines)


def _line(values: Sequence[str]) -> str:
    return _table(values, ()).removesuffix("\n")


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return "" if value is None else value
