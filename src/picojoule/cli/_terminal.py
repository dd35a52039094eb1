"""How the command line speaks: one voice on stderr, and what a stream can show."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO


def complain(message: str) -> None:
    """Say why a command cannot go on."""
    _say(f"picojoule: error: {message}")


def warn(message: str) -> None:
    """Say what went wrong while the command goes on."""
    _say(f"picojoule: warning: {message}")


def note(message: str) -> None:
    """Say something that is not a fault."""
    _say(f"picojoule: {message}")


def _say(line: str) -> None:
    # Whoever runs us may have closed stderr; that is no reason to fail.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def is_tty(stream: TextIO | None) -> bool:
    """Whether a person looks at ``stream``."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def color(stream: TextIO | None) -> bool:
    """Whether ``stream`` wants colour: NO_COLOR, then FORCE_COLOR, then what it is."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return is_tty(stream) and os.environ.get("TERM") != "dumb"


def width(stream: TextIO | None) -> int | None:
    """Columns of ``stream``: what COLUMNS says, what the terminal says, or None."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    if stream is not None and is_tty(stream):
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(stream.fileno()).columns or None
    return None


def tolerate_encoding(stream: TextIO | None) -> None:
    """Show '?' for what ``stream`` cannot encode, rather than fail on it."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def discard_stdout() -> None:
    """Let what is left for stdout go nowhere, once whoever read it has gone."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
