"""Figures printed in papers, from their own inputs, by the public functions."""

import inspect
import json
from pathlib import Path

import pytest

from picojoule.green import published

DATA = Path(__file__).parents[2] / "data" / "green"
ROWS = [
    row
    for name in ("published_figures.json", "published_more.json")
    for row in json.loads((DATA / name).read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_printed_figure(row):
    got = getattr(published, row["fn"])(**row["inputs"])
    assert got == pytest.approx(row["expected"], rel=row["rel_tol"])


def test_every_row_can_fail():
    """A tolerance that takes anything would be no test."""
    assert all(0 < row["rel_tol"] <= 0.07 for row in ROWS)
    assert len({row["id"] for row in ROWS}) == len(ROWS)


def test_every_function_says_whose_equation_it_is():
    own = [
        f
        for name, f in inspect.getmembers(published, inspect.isfunction)
        if not name.startswith("_") and f.__module__ == published.__name__
    ]
    assert len(own) > 25
    assert all(f.__doc__ for f in own)


def test_printed_digits_are_kept():
    """The computed column of the table agrees to nine digits, not only within its tolerance."""
    first = json.loads((DATA / "published_figures.json").read_text(encoding="utf-8"))
    for row in first:
        got = getattr(published, row["fn"])(**row["inputs"])
        assert got == pytest.approx(row["computed"], rel=2e-8), row["id"]
