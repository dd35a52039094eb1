"""Runs as rows of the ledger's table, both ways."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.columns import Columns, Names
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
#: Words of which a study has few: read as one text, since making objects is what reading costs.
_SHARED = frozenset(
    ("study", "role", "status", "device_name", "energy_provenance", "energy_basis",
     "flops_provenance", "origin", "region", "dataset", "score_larger_is_better", "versions")
)  # fmt: skip
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


def select(names: Sequence[str]) -> str:
    """What to select for ``columns_of``: words that repeat come as one text."""
    own, shared = _parted(names)
    return ", ".join([*own, f"json_array({', '.join(shared)})"])


def columns_of(names: Sequence[str], chunks: Iterable[Sequence[Sequence[Any]]]) -> Columns:
    """Columns of those ``names``, of rows of ``select(names)`` which come some at a time.

    What a field's JSON means is found out when it is asked for. Equal texts become one and the
    same object: of 100,000 runs, few have versions of their own.
    """
    own, shared = _parted(names)
    raw: dict[str, list[Any]] = {name: [] for name in (*own, "")}
    for rows in chunks:
        for column, values in zip(raw.values(), zip(*rows, strict=True), strict=True):
            column += values
    several = Names(raw[""])
    codes = several.codes.tolist()
    words: dict[str, Sequence[Any]] = dict.fromkeys(shared, ()) | dict(
        zip(shared, zip(*map(json.loads, several.distinct), strict=True), strict=False)
    )
    known: dict[Any, Any] = {}

    def told(name: str, at: Sequence[int] | None) -> Sequence[Any]:
        if name in words:
            mine = _decoded(name, words[name], known)
            return [mine[i] for i in (codes if at is None else map(codes.__getitem__, at))]
        if name not in raw:
            raise UsageError(f"{name} of the runs was not read; Ledger.study(name) reads all")
        column = raw[name]
        return _decoded(name, column if at is None else [column[i] for i in at], known)

    return Columns(len(codes), told)


def _parted(names: Sequence[str]) -> tuple[list[str], list[str]]:
    return [n for n in names if n not in _SHARED], [n for n in names if n in _SHARED]


def _decoded(name: str, values: Sequence[Any], known: dict[Any, Any]) -> Sequence[Any]:
    if name in REALS:
        return [math.nan if v is None else v for v in values]
    if name in JSON_COLUMNS:
        devices = name == "devices"
        mine = known.setdefault(devices, {None: () if devices else None})
        # As one text: a call for each would take thrice the time.
        new = [text for text in dict.fromkeys(values) if text not in mine]
        made = json.loads(f"[{','.join(new)}]")
        mine.update(zip(new, (tuple(m or ()) for m in made) if devices else made, strict=True))
        return list(map(mine.__getitem__, values))
    if name == "git_dirty":
        return [None if v is None else bool(v) for v in values]
    return values
