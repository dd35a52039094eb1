"""Regions, kernels and runs of kernels as Parquet, for DuckDB, Polars, pandas and their kin."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from picojoule.errors import MissingExtraError
from picojoule.reports import _rows, json_
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.results import Profile


def render(profile: Profile) -> bytes:
    """One row a region and domain, the same rows as CSV; unknown numbers are null."""
    return _write(profile, _rows.REGION_COLUMNS, _rows.of_regions(profile))


def render_kernels(profile: Profile) -> bytes:
    """One row a kernel and device's idle time, the same rows as CSV; unknown numbers are null."""
    return _write(profile, _rows.KERNEL_COLUMNS, _rows.of_kernels(profile))


def render_runs(profile: Profile) -> bytes:
    """One row a run of a kernel, in time order: when, what, from where, and at which power.

    Times are differences to the row before, names and all else that runs of one kernel share are
    dictionary encoded, so that a row takes few bytes. ``watts`` is the mean power of all runs of
    the kernel, so that ``watts * duration_ns`` shares out its joules by time (of a run that reaches
    over an end of the profile only the time inside counts); null if not known.
    """
    pa, pq = _pyarrow()
    import numpy as np

    from picojoule.reports._lanes import watts_of

    runs = profile.kernels.runs
    which = pa.array(runs["kernel"].astype("i4"))
    duration_ns = runs["end_ns"] - runs["begin_ns"]
    watts = watts_of(profile)[runs["kernel"]]

    def shared(values: list[Any]) -> Any:
        """A column that is the same in all runs of a kernel; each different value stored once."""
        kept = {value: i for i, value in enumerate(dict.fromkeys(values))}
        places = np.array([kept[value] for value in values], dtype="i4")
        return pa.DictionaryArray.from_arrays(
            pa.array(places[runs["kernel"]] if len(places) else which),
            pa.array([_value(value) for value in kept]),
        )

    rows = [row for row in _rows.of_kernels(profile) if row["scope"] == "kernel"]
    names = ("name", "kind", "region", "domain", "grid", "block", "provenance")
    columns = {
        "begin_ns": pa.array(runs["begin_ns"] - profile.begin_ns),
        "duration_ns": pa.array(duration_ns),
        "kernel": which,
        **{name: shared([row[name] for row in rows]) for name in names},
        "stream": shared([row["stream"] for row in rows]),
        "graph_node": pa.array(runs["graph_node"].astype("i8")),
        "watts": pa.array(watts, mask=np.isnan(watts)),
    }
    deltas = ("begin_ns", "duration_ns")
    return _bytes(
        pq,
        pa.table(columns).replace_schema_metadata(_metadata(profile)),
        use_dictionary=[name for name in columns if name not in deltas],
        column_encoding=dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
    )


def _write(
    profile: Profile, types: Mapping[str, type], found: Iterable[Mapping[str, Any]]
) -> bytes:
    pa, pq = _pyarrow()
    known = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    rows = list(found)
    columns = {
        name: pa.array([_value(row[name]) for row in rows], type=known[kind])
        for name, kind in types.items()
    }
    return _bytes(pq, pa.table(columns).replace_schema_metadata(_metadata(profile)))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", "the Parquet export") from error
    return pa, pq


def _metadata(profile: Profile) -> dict[str, str]:
    return {"schema": json_.SCHEMA, "name": clean(profile.name), "begin_ns": str(profile.begin_ns)}


def _bytes(pq: Any, table: Any, **more: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", **more)
    return out.getvalue()


def _value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    # Arrow strings are UTF-8, which has no lone surrogates.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
