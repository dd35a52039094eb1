"""The ledger: every run of every study of a project, in one SQLite file.

>>> from picojoule.green import ledger
>>> book = ledger.open("runs.db")                  # doctest: +SKIP
>>> [s.name for s in book.studies()], len(book.study("ablation"))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path
from typing import Any

from picojoule.errors import LedgerError, UsageError
from picojoule.green import database, inside, rows, spool, summaries
from picojoule.green.model import Run, Study
from picojoule.green.process import Process, status_now
from picojoule.green.quantities import Quantity
from picojoule.green.summaries import Summary

_RUN = ", ".join(rows.RUN_COLUMNS)
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

    def study(self, name: str) -> Study:
        """The runs and settings of one study, in order of their begin.

        A run that others of the same study ran inside of, in one program, has only the energy and
        time outside of them: the joules of a study are counted once.

        Raises:
            UsageError: there is no such study; names those that sound like it.
            LedgerError: the ledger cannot be read.
        """
        self.take_in()
        if not self.path.exists():
            raise UsageError(f"there is no ledger at {self.path}, and so no study {name!r}")
        settings = self.settings(name)
        found = self._runs("WHERE study = ?", (name,), net=True)
        if not found and not settings:
            raise UsageError(self._no_such(name))
        return Study(name, found, settings)

    def runs(self, *, uid: str = "") -> list[Run]:
        """All runs of all studies, or those whose id begins with ``uid``, as they were written.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        self.take_in()
        where = ("WHERE substr(uid, 1, ?) = ?", (len(uid), uid)) if uid else ("", ())
        return self._runs(*where, net=False)

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
            rows.check(row)

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
        for run in found:
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

    def _runs(self, where: str, values: Sequence[Any], *, net: bool) -> list[Run]:
        runs, own = self._read(lambda c: _stored(c, where, values))
        deadline = time.monotonic() + _RECOVER_S
        for i, run in enumerate(runs if own else ()):
            if run.error != _LOST or not run.trace or time.monotonic() > deadline:
                continue
            known = inside.recovered(run)
            if known is not None:
                runs[i] = known
                with contextlib.suppress(LedgerError):
                    self._settle(known, own[run.uid]["revision"])
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
    connection: Any, where: str, values: Sequence[Any]
) -> tuple[list[Run], dict[str, dict[str, Any]]]:
    """Runs as they are now; and of those that run, or ran inside of others, what else is kept."""
    connection.execute("BEGIN")  # both queries see the ledger at one moment
    runs: list[Run] = []
    with rows.collector_held():
        cursor = connection.execute(f"SELECT {_RUN} FROM runs {where}", values)
        known_texts: dict[Any, Any] = {}
        while found := cursor.fetchmany(2000):
            runs += rows.decode(found, known_texts)
        timeless = [r for r in runs if math.isnan(r.begin_wall_s)]
        if timeless:
            runs = [r for r in runs if not math.isnan(r.begin_wall_s)]
        runs.sort(key=attrgetter("begin_wall_s"))
        runs += timeless
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
    connection.execute("COMMIT")
    now = time.time()
    for i, run in enumerate(runs if own else ()):
        if run.status == "running":
            known = own[run.uid]
            process = Process(run.host, known["machine"], run.pid, known["started"])
            status = status_now(run.status, process, run.heartbeat_wall_s, now)
            if status != run.status:
                basis = run.energy_basis or "unknown: it was gone before it was first asked"
                runs[i] = replace(run, status=status, error=_LOST, energy_basis=basis)
    return runs, own
