"""The ledger: every run of every study of a project, in one SQLite file.

>>> from picojoule.green import ledger
>>> book = ledger.open("runs.db")                  # doctest: +SKIP
>>> [s.name for s in book.studies()], len(book.study("ablation"))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from picojoule.errors import LedgerError, UsageError
from picojoule.green import database, inside, rows, spool, summaries
from picojoule.green.columns import Columns, collector_held
from picojoule.green.model import Run, Study, made_of
from picojoule.green.process import Process, status_now
from picojoule.green.quantities import Quantity
from picojoule.green.summaries import Summary

_OWN = ", ".join(rows.OWN_COLUMNS)
#: How long reading a study may spend on traces of killed runs; repair() takes what time it needs.
_RECOVER_S = 2.0


def open(path_or_url: str | os.PathLike[str] | None = None) -> Ledger:
    """The ledger at a path or URL; made when something is first written.

    Args:
        path_or_url: a path, ``file:/path`` or ``sqlite:////path``; None for the environment's
            PICOJOULE_LEDGER, else ``picojoule-ledger.db`` in the project's folder (the top of its
            git work tree, else the current folder).

    Raises:
        UsageError: a URL of something else.
    """
    return Ledger(database.resolve(path_or_url))


@dataclass(slots=True)
class Merged:
    """What came of taking in other rows."""

    added: int = 0
    updated: int = 0
    known: int = 0
    settings: int = 0
    complaints: list[str] = field(default_factory=list)


class Ledger:
    """Runs of any number of studies. Safe to use from many processes at once.

    Every method opens the file and closes it again. Reading first takes in rows that processes
    have kept aside, and shows runs whose process is gone as "lost"; what a lost run used is read
    from its trace, if it has one.
    """

    def __init__(self, path: Path) -> None:
        """See ``open``."""
        self.path = path

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r})"

    # ---- reading ----

    def studies(self) -> list[Summary]:
        """All studies, the latest first; an empty list if there is no ledger yet.

        Raises:
            LedgerError: it cannot be read.
        """
        self.take_in()
        if not self.path.exists():
            return []
        found: list[Summary] = self._read(summaries.of)
        return found

    def study(self, name: str, only: Sequence[str] = ()) -> Study:
        """The runs and settings of one study, in order of their begin.

        A run that others of the same study ran inside of, in one program, has only the energy and
        time outside of them: the joules of a study are counted once.

        Args:
            name: of the study.
            only: fields of ``Run`` that will be asked for, "uid" and "begin_wall_s" among them;
                others may then be missing, and the study's runs are not told one by one. A large
                study is read faster that way.

        Raises:
            UsageError: there is no such study; names those that sound like it.
            LedgerError: the ledger cannot be read.
        """
        self.take_in()
        if not self.path.exists():
            raise UsageError(f"there is no ledger at {self.path}, and so no study {name!r}")
        settings = self.settings(name)
        found = self._runs("WHERE study = ?", (name,), net=True, only=only)
        if not found.size and not settings:
            raise UsageError(self._no_such(name))
        return Study(name, found, settings)

    def runs(self, *, uid: str = "") -> list[Run]:
        """All runs of all studies, or those whose id begins with ``uid``, as they were written.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        self.take_in()
        where = ("WHERE substr(uid, 1, ?) = ?", (len(uid), uid)) if uid else ("", ())
        return list(made_of(self._runs(*where, net=False)))

    def settings(self, study: str) -> dict[str, Any]:
        """The latest value of each setting of ``study``."""
        latest = {key: value for key, value, _ in self.settings_history(study)}
        return {key: value for key, value in latest.items() if value is not None}

    def settings_history(self, study: str) -> list[tuple[str, Any, float]]:
        """(key, value, Unix time it was set at) of every setting ever made, the oldest first."""
        if not self.path.exists():
            return []
        query = "SELECT key, value, set_wall_s FROM settings WHERE study = ? ORDER BY set_wall_s"
        found = self._read(lambda c: c.execute(query, (study,)).fetchall())
        return [(key, json.loads(value, object_hook=_quantity), when) for key, value, when in found]

    # ---- writing ----

    def add(self, run: Run, *more: Run) -> None:
        """Write runs; one with the id of a run there replaces it.

        Raises:
            UsageError: a run that cannot be: a negative number, an unknown role or status.
            LedgerError: the ledger cannot be written.
        """
        self.add_all([run, *more])

    def add_all(self, runs: Iterable[Run]) -> None:
        """``add`` of many, in one transaction: all of them, or none."""
        new = [rows.row_of(run) for run in runs]
        for row in new:
            try:
                rows.check(row)
            except UsageError as error:
                raise UsageError(f"run {row['uid']!r} of {row['study']!r}: {error}") from None

        def write(connection: Any) -> None:
            with database.transaction(connection):
                known = dict(connection.execute("SELECT uid, revision FROM runs").fetchall())
                for row in new:
                    row["revision"] = known.get(row["uid"], 0) + 1
                connection.executemany(rows.UPSERT, [rows.encode(row) for row in new])

        self._write(write)

    def set(self, study: str, **settings: Any) -> None:
        """Keep settings of ``study``, with the date; None takes one back.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        now = time.time()
        new = [(study, key, setting_text(value), now) for key, value in settings.items()]
        database.patiently(lambda: database.write(self.path, (), new))

    def merge(self, other: Ledger | str | os.PathLike[str]) -> Merged:
        """Take in all runs and settings of another ledger; of one run the newer row stays.

        Raises:
            LedgerError: ``other`` cannot be read, or this one not written.
        """
        source = other if isinstance(other, Ledger) else open(other)
        source.take_in()
        columns = ", ".join(rows.COLUMNS)
        new, settings = source._read(
            lambda c: (
                c.execute(f"SELECT {columns} FROM runs").fetchall(),
                c.execute("SELECT study, key, value, set_wall_s FROM settings").fetchall(),
            )
        )
        uid, revision = rows.COLUMNS.index("uid"), rows.COLUMNS.index("revision")

        def write(connection: Any) -> Merged:
            done = Merged()
            with database.transaction(connection):
                known = dict(connection.execute("SELECT uid, revision FROM runs").fetchall())
                for row in new:
                    old = known.get(row[uid])
                    if old is None:
                        done.added += 1
                    elif row[revision] > old:
                        done.updated += 1
                    else:
                        done.known += 1
                connection.executemany(rows.UPSERT, new)
                before = connection.total_changes
                connection.executemany("INSERT OR IGNORE INTO settings VALUES (?,?,?,?)", settings)
                done.settings = connection.total_changes - before
            return done

        done: Merged = self._write(write)
        return done

    def take_in(self, *files: Path) -> list[str]:
        """Take in rows kept aside, beside the ledger and in the current folder, or in ``files``.

        Returns:
            What could not be taken in, one sentence each. It stays where it is.
        """
        if not files:
            return spool.take_in_all(self.path, [Path.cwd()])
        return [words for file in files for words in spool.take_in(self.path, file)]

    def repair(self, *files: Path) -> list[str]:
        """Take in what was kept aside, and end the rows of lost runs for good.

        Args:
            *files: spool files from elsewhere, as a warning named them.

        Returns:
            What was done, and what could not be, one sentence each.

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        said = [*self.take_in(), *(self.take_in(*files) if files else [])]
        if not self.path.exists():
            return said
        found, own = self._read(lambda c: _stored(c, "WHERE status = 'running'", ()))
        for run in made_of(found):
            if run.status != "lost":
                continue
            known = inside.recovered(run)
            self._settle(known or run, own[run.uid]["revision"])
            how = "energy from its trace" if known else "energy up to its last heartbeat"
            said.append(f"{run.study}: run {run.uid[:8]} was lost; {how}: {(known or run).energy}")
        return said

    # ---- inside ----

    def _read(self, action: Callable[[Any], Any]) -> Any:
        def attempt() -> Any:
            with database.connected(self.path, write=False) as connection:
                return action(connection)

        return database.patiently(attempt)

    def _write(self, action: Callable[[Any], Any]) -> Any:
        def attempt() -> Any:
            with database.connected(self.path, write=True) as connection:
                return action(connection)

        return database.patiently(attempt)

    def _runs(
        self, where: str, values: Sequence[Any], *, net: bool, only: Sequence[str] = ()
    ) -> Columns:
        runs: Columns
        runs, own = self._read(lambda c: _stored(c, where, values, only))
        if not own:
            return runs
        lost = np.flatnonzero([error == _LOST for error in runs.column("error")]).tolist()
        changed: dict[int, Run] = {}
        deadline = time.monotonic() + _RECOVER_S
        for i, run in zip(lost, made_of(runs.where(lost)), strict=True):
            if not run.trace or time.monotonic() > deadline:
                continue
            known = inside.recovered(run)
            if known is not None:
                changed[i] = known
                with contextlib.suppress(LedgerError):
                    self._settle(known, own[run.uid]["revision"])
        runs = runs.replaced(changed)
        parents = {uid: known["parent"] for uid, known in own.items() if known["parent"]}
        return inside.net(runs, parents) if net and parents else runs

    def _settle(self, run: Run, revision: int) -> None:
        # With its revision: should it live after all, its next row is newer and stays.
        columns = [c for c in rows.RUN_COLUMNS if c != "uid"]
        encoded = dict(zip(rows.COLUMNS, rows.encode(rows.row_of(run)), strict=True))
        query = f"UPDATE runs SET {', '.join(f'{c} = ?' for c in columns)} "
        query += "WHERE uid = ? AND revision = ?"
        values = [*(encoded[c] for c in columns), run.uid, revision]
        self._write(lambda c: c.execute(query, values))

    def _no_such(self, name: str) -> str:
        query = "SELECT DISTINCT study FROM runs"
        known = [row[0] for row in self._read(lambda c: c.execute(query).fetchall())]
        close = get_close_matches(name, known, 3, 0.4) or sorted(known)[:5]
        there = ", ".join(close) or "none"
        return f"the ledger {self.path} has no study {name!r}; there are: {there}"


def setting_text(value: Any) -> str:
    """A setting as the ledger keeps it: JSON, in which a quantity has a place of its own."""
    if isinstance(value, Quantity):
        value = {_QUANTITY: dataclasses.asdict(value)}
    return json.dumps(value)


def _quantity(value: dict[str, Any]) -> Any:
    if value.keys() != {_QUANTITY}:
        return value
    parts = value[_QUANTITY]
    return Quantity(**{**parts, "dimension": tuple((b, n) for b, n in parts["dimension"])})


_QUANTITY = "picojoule.quantity"
_LOST = "its process is gone, without an end: killed, out of memory, preempted or machine down"


def _stored(
    connection: Any, where: str, values: Sequence[Any], only: Sequence[str] = ()
) -> tuple[Columns, dict[str, dict[str, Any]]]:
    """Runs as they are now; and of those that run, or ran inside of others, what else is kept."""
    connection.execute("BEGIN")  # all queries see the ledger at one moment
    also = f"{where} AND" if where else "WHERE"
    columns = f"uid, {_OWN}"
    own = {
        uid: dict(zip(rows.OWN_COLUMNS, rest, strict=True))
        for query in (
            f"SELECT {columns} FROM runs {also} status = 'running'",
            f"SELECT {columns} FROM runs {also} parent <> ''",
        )
        for uid, *rest in connection.execute(query, values)
    }
    # Runs to be looked into are needed whole.
    names = tuple(only) if only and not own else rows.RUN_COLUMNS
    with collector_held():
        cursor = connection.execute(f"SELECT {rows.select(names)} FROM runs {where}", values)
        runs = rows.columns_of(names, iter(lambda: cursor.fetchmany(2000), []))
    connection.execute("COMMIT")
    order = np.argsort(runs.numbers("begin_wall_s"), kind="stable")  # those without one last
    if (np.diff(order) != 1).any():
        runs = runs.where(order.tolist())
    return (_as_they_are(runs, own) if own else runs), own


def _as_they_are(runs: Columns, own: Mapping[str, Mapping[str, Any]]) -> Columns:
    """The runs, those that are gone as "lost"."""
    now = time.time()
    changed = {}
    open_ones = np.flatnonzero(runs.names("status").being("running")).tolist()
    for i, run in zip(open_ones, made_of(runs.where(open_ones)), strict=True):
        known = own[run.uid]
        process = Process(run.host, known["machine"], run.pid, known["started"])
        status = status_now(run.status, process, run.heartbeat_wall_s, now)
        if status != run.status:
            basis = run.energy_basis or "unknown: it was gone before it was first asked"
            changed[i] = replace(run, status=status, error=_LOST, energy_basis=basis)
    return runs.replaced(changed)
