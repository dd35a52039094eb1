"""The tables that ship: each is read, dated, and has its source and licence written down."""

import csv
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from picojoule.errors import UsageError
from picojoule.green import tables

DATA = Path(str(files("picojoule") / "data"))
CSVS = sorted(p.name for p in DATA.glob("*.csv"))


@pytest.mark.parametrize("name", CSVS)
def test_every_table_has_its_source_and_licence(name):
    said = (DATA / "README.md").read_text(encoding="utf-8")
    row = next(line for line in said.splitlines() if line.startswith(f"| `{name}`"))
    *_, source, licence = (cell.strip() for cell in row.strip("|").split("|"))
    assert source and re.fullmatch(r"facts|CC BY 4.0|facts; CC BY 4.0", licence)


def test_every_table_is_known_by_its_name():
    assert {f"{name}.csv" for name in tables.TABLES} == set(CSVS) - {"accelerators.csv"}
    for name in tables.TABLES:
        assert tables.rows(name)
    with pytest.raises(UsageError, match="no table"):
        tables.rows("weather")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("grid_intensity", 216), ("grid_intensity_us_states", 53), ("cloud_regions", 102),
        ("cloud_prices", 167), ("electricity_wholesale_2024", 29), ("known_systems", 413),
    ],
)  # fmt: skip
def test_size(name, rows):
    read = tables.rows(name)
    # known_systems.csv has one system whose name holds a line break.
    assert len(read) == rows
    assert all(None not in r.values() and None not in r for r in read)


def test_only_disclosures_of_providers_ship():
    with (DATA / "cloud_regions.csv").open(encoding="utf-8") as f:
        columns = next(csv.reader(f))
    assert columns == ["provider", "region", "year", "location", "pue", "wue_l_per_kwh", "source"]


def test_dated():
    for name in ("grid_intensity", "grid_intensity_us_states", "cloud_regions"):
        assert all(re.fullmatch(r"20\d\d", r["year"]) for r in tables.rows(name))
    assert all(
        re.fullmatch(r"20\d\d-\d\d-\d\d", r["price_date"]) for r in tables.rows("cloud_prices")
    )


def test_importing_picojoule_loads_none_of_it():
    code = "import sys, picojoule; print([m for m in sys.modules if 'picojoule.green' in m])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
