"""Runs as rows of the ledger's table, both ways."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.model import ROLES, STATUSES, Run
from picojoule.green.quantities import PROVENANCES

_FIELDS = dataclasses.fields(Run)
#: Columns in the order of ``Run``'s fields, so that a row is a run's arguments.
RUN_COLUMNS = tuple(f.name for f in _FIELDS)
#: What the ledger keeps beside them: which of two versions of a row is the newer one, the process
#: that wrote it, and the run that it ran inside of.
OWN_COLUMNS = ("revision", "machine", "started", "parent")
COLUMNS = (*RUN_COLUMNS, *OWN_COLUMNS)

JSON_COLUMNS = frozenset(
    ("config", "devices", "domain_j", "scores", "score_larger_is_better", "versions")
)
REALS = frozenset(f.name for f in _FIELDS if f.type == "float")
INTEGERS = frozenset(("pid", "git_dirty", "revision", "started"))

_DEFAULTS: dict[str, Any] = {
    **{f.name: f.default for f in _FIELDS if f.default is not dataclasses.MISSING},
    **{
        f.name: f.default_factory() for f in _FIELDS if f.default_factory is not dataclasses.MISSING
    },
    "revision": 1,
    "machine": "",
    "started": 0,
    "parent": "",
}
_POSITIVE = (
    "duration_s", "device_count", "energy_j", "energy_low_j", "energy_high_j", "flops",
    "examples", "dataset_size", "parameters",
)  # fmt: skip

UPSERT = (
    f"INSERT INTO runs ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    "ON CONFLICT (uid) DO UPDATE SET "
    + ", ".join(f"{c} = excluded.{c}" for c in COLUMNS if c != "uid")
    + " WHERE excluded.revision > runs.revision"
)


def check(row: Mapping[str, Any]) -> None:
    """Refuse what cannot be a run.

    Args:
        row: fields of a ``Run``; those that are missing have their defaults.

    Raises:
        UsageError: no study or uid, an unknown role, status or provenance, a number that is
            negative or infinite, or a range that does not hold its value.
    """
    for name in ("uid", "study"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise UsageError(f"a run needs a {name}")
    for name, known in (
        ("role", ROLES), ("status", STATUSES), ("energy_provenance", PROVENANCES),
        ("flops_provenance", PROVENANCES),
    ):  # fmt: skip
        value = row.get(name, _DEFAULTS[name])
        if value not in known:
            raise UsageError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    for name in _POSITIVE:
        value = row.get(name, math.nan)
        if not math.isnan(value) and not 0.0 <= value < math.inf:
            raise UsageError(f"{name} must be a positive number or unknown (nan), not {value!r}")
    for domain, joules in row.get("domain_j", {}).items():
        if joules < 0 or math.isinf(joules):
            raise UsageError(f"energy of {domain} must be a positive number, not {joules!r}")
    value, low, high = (row.get(n, math.nan) for n in _POSITIVE[2:5])
    if low > value * (1 + 1e-9) or high < value * (1 - 1e-9):
        raise UsageError(f"energy_j={value!r} does not lie in its range, {low!r} to {high!r}")


def encode(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row for ``UPSERT``; what ``row`` lacks has its default."""
    out = []
    for name in COLUMNS:
        value = row.get(name, _DEFAULTS.get(name))
        if name in JSON_COLUMNS:
            value = None if value is None else json.dumps(value, separators=(",", ":"))
        elif name == "git_dirty" and value is not None:
            value = int(value)
        out.append(value)  # SQLite keeps nan as NULL
    return tuple(out)


def row_of(run: Run) -> dict[str, Any]:
    """The run's fields by name."""
    return {name: getattr(run, name) for name in RUN_COLUMNS}


def decode(rows: Sequence[Sequence[Any]], known: dict[Any, Any]) -> list[Run]:
    """Runs of rows of ``RUN_COLUMNS``.

    Equal texts become one and the same object, which ``known`` keeps from one call to the next: of
    100,000 runs, few have versions of their own.
    """
    runs = [_EMPTY(Run) for _ in rows]
    if rows:
        # Column by column, as the constructor of a frozen class takes five times as long.
        for name, values in zip(RUN_COLUMNS, zip(*rows, strict=True), strict=True):
            deque(map(_SET[name], runs, _decoded(name, values, known)), maxlen=0)
    return runs


@contextlib.contextmanager
def collector_held() -> Iterator[None]:
    """Keep the garbage collector from looking at 100,000 new objects again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


_EMPTY: Any = Run.__new__
_SET = {name: Run.__dict__[name].__set__ for name in RUN_COLUMNS}


def _decoded(name: str, values: tuple[Any, ...], known: dict[Any, Any]) -> Iterable[Any]:
    if name in REALS:
        return [math.nan if v is None else v for v in values]
    if name in JSON_COLUMNS:
        devices = name == "devices"
        for text in set(values):
            if (devices, text) not in known:
                value = None if text is None else json.loads(text)
                known[devices, text] = tuple(value or ()) if devices else value
        return [known[devices, text] for text in values]
    if name == "git_dirty":
        return [None if v is None else bool(v) for v in values]
    return values
