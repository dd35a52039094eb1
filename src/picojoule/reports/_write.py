"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from pathlib import Path
from typing import IO, Any


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write ``content`` to ``path``, all of it or nothing: a temporary neighbour, then a rename.

    What is not a regular file (a pipe, ``/dev/stdout``) is written to directly.

    Raises:
        OSError: it cannot be written; ``filename`` is ``path``.
    """
    data = _encode(content)
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except OSError:
        mode = None
    try:
        if mode is not None and not stat.S_ISREG(mode):
            with open(path, "wb") as file:  # noqa: PTH123 - a folder must fail under its own name
                file.write(data)
            return
        _replace(target, data, mode)
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, FileNotFoundError) and not target.parent.exists():
            why = f"there is no folder {target.parent} to write into"
        raise OSError(error.errno, why, os.fspath(path)) from error


def send(file: IO[Any], content: str | bytes) -> None:
    """Write ``content`` to an open file, of text or of bytes."""
    if isinstance(content, str) and hasattr(file, "encoding"):
        try:
            file.write(content)
        except UnicodeEncodeError:
            file.write(_escaped(content, str(file.encoding)))
        return
    binary = getattr(file, "buffer", file)
    if binary is not file:
        file.flush()
    binary.write(_encode(content))
    if binary is not file:
        binary.flush()


def _escaped(content: str, encoding: str) -> str:
    """``content`` with what ``encoding`` cannot say written as escapes."""
    return content.encode(encoding, "backslashreplace").decode(encoding)


def _encode(content: str | bytes) -> bytes:
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content


def _replace(target: Path, data: bytes, mode: int | None) -> None:
    temporary = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.tmp")
    # Not tempfile: its 0600 would outlive the rename; the reader's umask shall decide.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if mode is not None:
            temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
