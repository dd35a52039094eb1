"""Rows kept aside, in a file of each process, until the ledger has them.

One JSON object a line, appended by one ``write``: that takes microseconds, and a line is safe from
then on even if the process is killed. Rows carry their revision, so taking one in twice, or an old
one late, changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from picojoule.errors import LedgerError, UsageError
from picojoule.green import database, process, rows

_SUFFIX = ".jsonl"


def folder_of(ledger: Path) -> Path:
    """Where the processes that write ``ledger`` keep their rows aside."""
    return ledger.with_name(ledger.name + "-spool")


class Spool:
    """This process's file. Not for two threads at once."""

    def __init__(self, ledger: Path, also: Sequence[Path] = ()) -> None:
        """Nothing is made before the first line.

        Args:
            ledger: whose rows they are.
            also: other folders to try where there is no room beside the ledger.
        """
        self._name = folder_of(ledger).name
        self._folders = [folder_of(ledger)]
        self.also(also)
        self._at = 0  # which of the folders is in use
        self._file = -1
        self._torn = False
        self._lines = 0
        self._left: list[Path] = []  # files in folders that filled up
        self.path: Path | None = None

    def also(self, folders: Sequence[Path]) -> None:
        """More folders to try where there is no room beside the ledger."""
        for folder in folders:
            if (place := folder / self._name) not in self._folders:
                self._folders.append(place)

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; where a disk is full, in the next folder.

        Raises:
            OSError: it cannot be written anywhere.
        """
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        trouble: OSError | None = None
        while True:
            try:
                self._put(data)
                return
            except OSError as error:
                trouble = trouble or error
            if self._at + 1 >= len(self._folders):
                raise trouble
            self._leave()
            self._at += 1

    def _put(self, data: bytes) -> None:
        if self._file >= 0 and not os.fstat(self._file).st_nlink:
            os.close(self._file)  # another machine took it in, thinking us dead
            self._file = -1
        if self._file < 0:
            self._create(self._folders[self._at])
        if self._torn:
            data = b"\n" + data
        written = os.write(self._file, data)
        if written < len(data):
            self._torn = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._torn = False
        self._lines += 1

    def _create(self, folder: Path) -> None:
        path = folder / (process.here().label + _SUFFIX)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        for last in (False, False, False, True):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, flags, 0o666)
                self.path = path
                return
            except FileNotFoundError:  # others remove the folder when they are the last to leave
                if last:
                    raise

    def _leave(self) -> None:
        """Close the file; it stays if there is something in it."""
        if self._file < 0 or self.path is None:
            return
        os.close(self._file)
        if self._lines:
            self._left.append(self.path)
        else:
            _remove(self.path)
        self._file, self._lines, self._torn = -1, 0, False

    def clear(self) -> None:
        """The ledger has all of it."""
        for path in self._left:
            _remove(path)
        self._left.clear()
        if self._file >= 0 and (self._lines or self._torn):
            os.ftruncate(self._file, 0)
            self._lines, self._torn = 0, False
        if self._at:
            self._leave()
            self._at = 0

    def close(self) -> None:
        """Remove the file, unless something in it is still needed."""
        self._leave()

    def forget(self) -> None:
        """In a forked child: the file is its parent's."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def waiting(ledger: Path, also: Sequence[Path] = ()) -> Iterator[Path]:
    """Files with rows that ``ledger`` may not have yet."""
    beside = folder_of(ledger)
    folders = dict.fromkeys([beside, *(folder / beside.name for folder in also)])
    for folder in folders:
        with contextlib.suppress(OSError):
            yield from sorted(folder.glob("*" + _SUFFIX))


def take_in(ledger: Path, file: Path) -> list[str]:
    """Put what ``file`` holds into the ledger; remove it if its process is gone.

    Returns:
        What could not be read, by line. The end of a line that a full disk cut is left out.

    Raises:
        LedgerError: the ledger cannot be written; the file stays.
    """
    gone = _gone(file)  # asked before reading: what it wrote until then is read below
    runs: dict[str, dict[str, Any]] = {}
    settings = []
    complaints = []
    for number, line in _lines(file):
        try:
            row = json.loads(line)
            if row.pop("kind") == "settings":
                settings.append((row["study"], row["key"], row["value"], float(row["when"])))
                continue
            rows.check(row)
            if row["revision"] >= runs.get(row["uid"], row)["revision"]:
                runs[row["uid"]] = row
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            complaints.append(f"{file}:{number}: not a row of a run ({error})")
    if runs or settings:
        database.patiently(lambda: database.write(ledger, runs.values(), settings), 5.0)
    if gone and not complaints:
        _remove(file)
    return complaints


def take_in_all(ledger: Path, also: Sequence[Path] = ()) -> list[str]:
    """``take_in`` of all ``waiting`` files; what cannot be written now is said and stays."""
    complaints = []
    for file in waiting(ledger, also):
        try:
            complaints += take_in(ledger, file)
        except (LedgerError, OSError) as error:
            complaints.append(f"{file} is not in the ledger yet: {error}")
    return complaints


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    with contextlib.suppress(FileNotFoundError), file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.endswith(b"\n") and line.strip():
                yield number, line


def _gone(file: Path) -> bool:
    words = file.name.removesuffix(_SUFFIX).split("-")
    if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()):
        return False
    living = process.alive(process.Process("", words[0], int(words[1]), int(words[2])))
    if living is None:  # of another machine, or of this one before it was started anew
        with contextlib.suppress(OSError):
            living = time.time() - file.stat().st_mtime <= process.QUIET_S
    return living is False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # only when the last one has gone
