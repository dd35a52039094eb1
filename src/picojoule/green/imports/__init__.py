"""Runs that other tools recorded, as rows of a ledger.

Each format is one module with ``read(rows, options) -> Runs``. Imported runs say so: their
``origin`` names tool and file. An energy that the tool knew is "imported"; one made of hours and a
power that the user told is "modelled". Where there is neither it is unknown.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from picojoule.errors import UsageError
from picojoule.green.imports._table import Options, Runs, Table, read_table

#: Format -> (module, what it is).
FORMATS = {
    "codecarbon": ("codecarbon", "CodeCarbon's emissions.csv"),
    "sacct": ("slurm", "Slurm's 'sacct --parsable2'"),
    "mlflow": ("mlflow", "MLflow's 'mlflow experiments csv', or search_runs() as CSV"),
    "wandb": ("wandb", "Weights & Biases' CSV export, or its API's runs as CSV or JSON"),
}

__all__ = ["FORMATS", "Options", "Runs", "read"]


def read(path: str | os.PathLike[str], options: Options, format: str | None = None) -> Runs:
    """The runs in a file of another tool.

    Args:
        path: what it wrote.
        options: which study they are of, and what the file does not say.
        format: one of ``FORMATS``; None tells it by the names of columns.

    Raises:
        UsageError: an unknown format, or a file that is none of them.
        OSError: the file cannot be read.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"no format {format!r}; there are: {', '.join(FORMATS)}")
    table = read_table(Path(path))
    if format is None:
        format = next((name for name in FORMATS if _module(name).is_mine(table)), None)
    if format is None:
        raise UsageError(
            f"{path} has columns of no tool known here ({', '.join(FORMATS)}); name the format"
        )
    runs: Runs = _module(format).read(table, options)
    return runs


def _module(format: str) -> _Format:
    module: _Format = importlib.import_module(f"{__name__}.{FORMATS[format][0]}")  # type: ignore[assignment]
    return module


class _Format:
    """What a module of a format has."""

    @staticmethod
    def is_mine(table: Table) -> bool:
        """Whether the columns are those of the tool."""
        raise NotImplementedError

    @staticmethod
    def read(table: Table, options: Options) -> Runs:
        """The runs."""
        raise NotImplementedError
