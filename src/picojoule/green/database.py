"""The ledger's SQLite file: opening, schema, locks, and what its errors mean.

Nothing of SQLite is open between two calls, and no fork happens while something is: SQLite keeps
its locks in the memory of the process, and a child that inherits them can damage the file.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from picojoule.errors import LedgerBusyError, LedgerError, NewerLedgerError, UsageError
from picojoule.green import rows
from picojoule.green.keys import project_folder

T = TypeVar("T")

DEFAULT_NAME = "picojoule-ledger.db"
_APPLICATION = 0x706A6C67  # "pjlg"
#: How long one attempt waits for others; a fork in another thread has to wait as long.
_SLICE_S = 0.1
#: File systems without shared memory between hosts, which WAL needs.
_NETWORKED = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "ceph", "fuse.ceph", "fuse.sshfs",
    "glusterfs", "fuse.glusterfs", "beegfs", "gpfs", "9p", "afs", "panfs", "orangefs",
)  # fmt: skip

_gate = threading.RLock()
os.register_at_fork(
    before=_gate.acquire, after_in_parent=_gate.release, after_in_child=_gate.release
)


def _first(database: sqlite3.Connection) -> None:
    kinds = {
        name: "REAL" if name in rows.REALS else "INTEGER" if name in rows.INTEGERS else "TEXT"
        for name in rows.COLUMNS
    }
    columns = ", ".join(
        f"{name} {kind}{' PRIMARY KEY' if name == 'uid' else ''}" for name, kind in kinds.items()
    )
    database.execute(f"CREATE TABLE runs ({columns})")
    database.execute("CREATE INDEX runs_by_study ON runs (study, begin_wall_s)")
    database.execute("CREATE INDEX runs_open ON runs (status) WHERE status = 'running'")
    database.execute("CREATE INDEX runs_inside ON runs (parent) WHERE parent <> ''")
    # All that 'study list' asks for, so that it need not read the rows themselves.
    database.execute(
        "CREATE INDEX runs_summary ON runs (study, status, energy_provenance, energy_j, "
        "energy_low_j, energy_high_j, duration_s, device_count, begin_wall_s)"
    )
    database.execute(
        "CREATE TABLE settings (study TEXT NOT NULL, key TEXT NOT NULL, value TEXT, "
        "set_wall_s REAL NOT NULL, PRIMARY KEY (study, key, set_wall_s)) WITHOUT ROWID"
    )


#: What makes version n + 1 of the schema of version n.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first,)


def resolve(given: str | os.PathLike[str] | None) -> Path:
    """The file that a path, a URL (``file:``, ``sqlite:``) or nothing means.

    Nothing: the environment's PICOJOULE_LEDGER, else ``picojoule-ledger.db`` in the project's
    folder, which is the git work tree around the current folder, or that folder itself.

    Raises:
        UsageError: a URL of something else, or an empty path.
    """
    if given is None:
        given = os.environ.get("PICOJOULE_LEDGER") or project_folder() / DEFAULT_NAME
    text = os.fspath(given)
    if not text:
        raise UsageError("the ledger's path is empty")
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("file", "sqlite"):
        url = urlsplit(text)
        # SQLAlchemy's way: sqlite:///relative.db, sqlite:////absolute.db.
        rest = url.path.removeprefix("/") if scheme == "sqlite" and "//" in text else url.path
        if url.netloc not in ("", "localhost") or not rest:
            raise UsageError(f"{text!r} names no file; write sqlite:////folder/{DEFAULT_NAME}")
        text = unquote(rest)
    elif "://" in text:
        raise UsageError(f"a ledger is an SQLite file; {scheme}: is not supported ({text})")
    return Path(text).expanduser().absolute()


@contextlib.contextmanager
def connected(path: Path, *, write: bool) -> Iterator[sqlite3.Connection]:
    """An open ledger for one transaction of this thread; made if it is to be written.

    Raises:
        LedgerBusyError: locked by others just now.
        NewerLedgerError: of a newer schema.
        LedgerError: missing, unreadable, read-only, full, or something else than a ledger.
    """
    with _gate:
        connection = None
        try:
            if not write and not path.exists():
                raise LedgerError(f"there is no ledger at {path}; PICOJOULE_LEDGER names another")
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = _open(path, write)
            yield connection
        except sqlite3.Error as error:
            raise explained(error, path, write=write) from error
        except OSError as error:
            raise LedgerError(f"the ledger {path}: {error.strerror}") from error
        finally:
            if connection is not None:
                connection.close()


def _open(path: Path, write: bool) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=_SLICE_S, isolation_level=None)
        try:
            _prepare(connection, path, write)
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.OperationalError as error:
        if write or error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
    connection = _read_only(path)
    try:
        _prepare(connection, path, write=False)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_only(path: Path) -> sqlite3.Connection:
    """Of a folder that may not be written, as even readers of a log must.

    An immutable file is read without its log, so rows that are still in a log are read in a copy.
    """
    log = path.with_name(path.name + "-wal")
    if not log.exists() or not log.stat().st_size:
        return sqlite3.connect(
            f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None
        )
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with tempfile.TemporaryDirectory(prefix="picojoule-ledger-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        with contextlib.closing(sqlite3.connect(copy)) as whole:
            whole.backup(memory)
    return memory


def _prepare(connection: sqlite3.Connection, path: Path, write: bool) -> None:
    version, mode = _looked_at(connection, path)
    if write:
        wanted = "delete" if _networked(path) else "wal"
        if mode != wanted:
            connection.execute(f"PRAGMA journal_mode = {wanted}").fetchall()
        connection.execute("PRAGMA synchronous = NORMAL")
    if version < len(MIGRATIONS):
        if not write:
            if version == 0:
                raise LedgerError(f"the ledger {path} is empty")
            raise LedgerError(
                f"the ledger {path} is of an older picojoule; 'picojoule study repair' brings it "
                "up to date, where it may be written"
            )
        with transaction(connection):
            for migrate in MIGRATIONS[_looked_at(connection, path)[0] :]:
                migrate(connection)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _looked_at(connection: sqlite3.Connection, path: Path) -> tuple[int, str]:
    """(version of the schema, journal mode). One statement: each may wait for the GIL."""
    version, application, mode, tables = connection.execute(
        "SELECT user_version, application_id, journal_mode, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_user_version, pragma_application_id, pragma_journal_mode"
    ).fetchone()
    if tables and application != _APPLICATION:
        raise LedgerError(f"{path} is an SQLite file, but no ledger of picojoule; not touched")
    if version > len(MIGRATIONS):
        raise NewerLedgerError(
            f"the ledger {path} has schema {version}; this picojoule knows up to "
            f"{len(MIGRATIONS)}. Update picojoule, or set PICOJOULE_LEDGER to another file"
        )
    return int(version), str(mode)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; holds the right to write from the beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def patiently(action: Callable[[], T], patience_s: float = 30.0) -> T:
    """``action()``, again and again while the ledger is locked.

    Raises:
        LedgerBusyError: it still is after ``patience_s``.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return action()
        except LedgerBusyError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(random.uniform(0.001, 0.03))


def write(
    path: Path,
    runs: Iterable[Mapping[str, Any]],
    settings: Iterable[tuple[str, str, str, float]] = (),
) -> None:
    """Put rows into the ledger, in one transaction; of a row known already the newer one stays.

    Args:
        path: the file.
        runs: rows as ``rows.encode`` takes them.
        settings: (study, key, JSON, when) each.

    Raises:
        LedgerError: as ``connected``.
    """
    encoded = [rows.encode(row) for row in runs]
    with connected(path, write=True) as connection, transaction(connection):
        connection.executemany(rows.UPSERT, encoded)
        for study, key, value, when in settings:
            connection.execute(
                "INSERT OR IGNORE INTO settings SELECT ?1, ?2, ?3, ?4 WHERE ?3 IS NOT (SELECT "
                "value FROM settings WHERE study = ?1 AND key = ?2 AND set_wall_s <= ?4 "
                "ORDER BY set_wall_s DESC LIMIT 1)",
                (study, key, value, when),
            )


def explained(error: sqlite3.Error, path: Path, *, write: bool) -> LedgerError:
    """What an error of SQLite means for the ledger at ``path``, and the remedy."""
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        return LedgerBusyError(f"the ledger {path} is locked by another process")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        verb, may = ("written", "write") if write else ("read", "read")
        return LedgerError(
            f"the ledger {path} cannot be {verb} by this user ({error}); get the right to it and "
            f"its folder, or set PICOJOULE_LEDGER to a file that you may {may}"
        )
    if code.startswith("SQLITE_FULL"):
        return LedgerError(f"the ledger {path}: no space left")
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return LedgerError(
            f"{path} is damaged or no ledger ({error}); 'sqlite3 {path} .recover' saves what is "
            "left"
        )
    return LedgerError(f"the ledger {path}: {error}")


def _networked(path: Path) -> bool:
    """Whether the file lies on a file system of another machine."""
    best, kind = "", ""
    with contextlib.suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        for line in mounts.splitlines():
            left, _, right = line.partition(" - ")
            point = left.split(" ")[4].replace("\\040", " ")
            if len(point) >= len(best) and path.is_relative_to(point):
                best, kind = point, right.split(" ")[0]
    return kind in _NETWORKED
