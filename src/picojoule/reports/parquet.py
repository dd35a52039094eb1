"""The region table as Parquet, for DuckDB, Polars, pandas and their kin."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from picojoule.errors import MissingExtraError
from picojoule.reports import _rows, json_
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.results import Profile


def render(profile: Profile) -> bytes:
    """One row a region and domain, the same rows as CSV; unknown numbers are null."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", "the Parquet export") from error

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    rows = list(_rows.of_regions(profile))
    columns = {
        name: pa.array([_value(row[name]) for row in rows], type=types[kind])
        for name, kind in _rows.REGION_COLUMNS.items()
    }
    table = pa.table(columns).replace_schema_metadata(
        {"schema": json_.SCHEMA, "name": clean(profile.name)}
    )
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    # Arrow strings are UTF-8, which has no lone surrogates.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
