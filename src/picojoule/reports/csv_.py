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


def render_readings(profile: Profile) -> str:
    """One row a meter reading: when, how many joules, and how well its end is known."""
    channels = {c.index: c for c in profile.channels}
    columns = ("domain", "meter", "provenance", "begin_s", "end_s", "joules", "edge_std_s", "flags")

    def rows() -> Iterable[Sequence[Any]]:
        for index, begin, end, joules, edge_std_ns, flags in profile.readings.tolist():
            channel = channels.get(index)
            yield (
                channel.domain if channel else "",
                channel.meter if channel else "",
                channel.provenance if channel else "",
                f"{(begin - profile.begin_ns) * 1e-9:.9f}",
                f"{(end - profile.begin_ns) * 1e-9:.9f}",
                joules,
                edge_std_ns * 1e-9,
                flags,
            )

    return _table(columns, rows())


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
