"""The tables of factors that ship with picojoule, and the user's own in their place.

Every function of ``picojoule.green`` that reads a table takes ``tables=``: a mapping from the name
of a table to a path (a CSV file with the same columns, in its place) or to a mapping (own entries,
before those of the shipped table)::

    tables = {"grid_intensity": {"GBR": 180, "our cluster": {"value": 42, "year": 2026}}}
"""

from __future__ import annotations

import csv
import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.quantities import Quantity

#: Tables by name, and what each is keyed by and holds.
TABLES: Mapping[str, str] = {
    "grid_intensity": "g CO2e/kWh by country",
    "grid_intensity_us_states": "g CO2e/kWh by US state",
    "cloud_regions": "PUE and water use by cloud region",
    "cloud_locations": "country or US state by cloud region",
    "cloud_prices": "USD a chip-hour by hardware, vendor and location",
    "electricity_wholesale_2024": "EUR/kWh by country",
    "known_systems": "training FLOPs of published systems",
    "ai_and_compute": "FLOPs of systems up to 2018 with the factors they were computed from",
    "embodied_devices": "kg CO2e of making an accelerator",
    "embodied_methods": "how published reports share the making of servers",
    "wue_offsite": "litres a kWh of generation",
    "fuel_intensity": "g CO2e/kWh by fuel",
    "countries": "ISO codes, names, size of the grid",
    "us_states": "codes and names",
}

Row = Mapping[str, str]
Tables = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One own entry: a number in the unit of its table, when it is of and who says so."""

    value: float | Quantity
    year: str
    source: str


def rows(name: str, tables: Tables | None = None) -> tuple[Row, ...]:
    """All rows of a table: the shipped one, or the file that ``tables`` names in its place.

    Args:
        name: one of ``TABLES``.
        tables: own tables by name; see the head of this module.

    Raises:
        UsageError: there is no such table; the file is missing or lacks columns.
    """
    if name not in TABLES:
        raise UsageError(f"there is no table {name!r}; there are: {', '.join(TABLES)}")
    for other in tables or ():
        if other not in TABLES:
            raise UsageError(f"tables= has no table {other!r}; there are: {', '.join(TABLES)}")
    given = (tables or {}).get(name)
    if isinstance(given, (str, os.PathLike)):
        return _own(name, os.fspath(given), Path(given).stat().st_mtime_ns if _is(given) else 0)
    return _shipped(name)


def own_entry(name: str, key: str, tables: Tables | None = None) -> Entry | None:
    """The user's own number for ``key`` in a table; None if there is none.

    Raises:
        UsageError: it is no number.
    """
    given = (tables or {}).get(name)
    if not isinstance(given, Mapping):
        return None
    wanted = key.strip().casefold()
    for k, told in given.items():
        if str(k).strip().casefold() != wanted:
            continue
        year, source = "", "told by the user"
        if isinstance(told, Mapping):
            year = str(told.get("year", ""))
            source = str(told.get("source", source))
            told = told.get("value")
        if isinstance(told, Quantity):
            return Entry(told, year, source)
        return Entry(number(told, f"{name}[{k!r}]"), year, source)
    return None


def number(text: Any, what: str) -> float:
    """A finite number that is not negative.

    Raises:
        UsageError: it is not one.
    """
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise UsageError(f"{what} is not a number: {text!r}") from None
    if not 0 <= value < math.inf:
        raise UsageError(f"{what} must be a finite number of at least 0, not {value}")
    return value


def maybe(row: Row, column: str) -> float:
    """A cell as a number; nan if it is empty."""
    return float(row[column]) if row.get(column) else math.nan


def _is(path: str | os.PathLike[str]) -> bool:
    return Path(path).is_file()


@functools.cache
def _shipped(name: str) -> tuple[Row, ...]:
    text = (files("picojoule") / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@functools.lru_cache(maxsize=32)
def _own(name: str, path: str, _mtime_ns: int) -> tuple[Row, ...]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the table {name} cannot be read from {path}: {error}") from error
    read = csv.DictReader(text.splitlines())
    needed = set(_shipped(name)[0])
    missing = sorted(needed - set(read.fieldnames or ()))
    if missing:
        raise UsageError(f"{path} has no column {', '.join(missing)}; {name} needs them")
    return tuple(read)
