"""The line that shows a long run is alive."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from picojoule.cli import _terminal

if TYPE_CHECKING:
    from picojoule.results import Profile

_FIRST_S = 5.0
_EVERY_S = 2.0
#: Looking at the run may take this share of the time: it would be measured too.
_SHARE = 0.01


class StatusLine:
    """One line on the terminal, rewritten in place."""

    def __init__(self, stream: TextIO) -> None:
        """Begin to count seconds."""
        self._stream = stream
        self._began = time.monotonic()
        self._next_show = self._began + _FIRST_S
        self._next_look = self._next_show
        self._known = ""
        self._shown = False

    @classmethod
    def for_terminal(cls) -> StatusLine | None:
        """A line, if one may be drawn.

        That is on a terminal that the program does not write to: its stdout goes elsewhere. Two
        programs that write to one terminal garble each other's lines.
        """
        dumb = os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("CI", "") not in ("", "0")
        if dumb or not _terminal.is_tty(sys.stderr) or _terminal.is_tty(sys.stdout):
            return None
        return cls(sys.stderr)

    def update(self, snapshot: Callable[[], Profile | None]) -> None:
        """Draw anew if it is time; never raises."""
        now = time.monotonic()
        if now < self._next_show:
            return
        self._next_show = now + _EVERY_S
        if now >= self._next_look:
            with contextlib.suppress(Exception):
                self._known = describe(snapshot())
            after = time.monotonic()
            self._next_look = after + max(_EVERY_S, (after - now) / _SHARE)
        text = f"picojoule: {clock(now - self._began)}{self._known}"
        columns = _terminal.width(self._stream) or 80
        self._write(f"\r\x1b[K{text[: columns - 1]}")
        self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def describe(profile: Profile | None) -> str:
    """``, 1.23 kJ, 210 W (measured)``, or nothing where nothing is known."""
    if profile is None or not math.isfinite(profile.energy_j):
        return ""
    energy = f"{in_si(profile.energy_j)}J"
    return f", {energy}, {in_si(profile.watts)}W ({profile.total.provenance})"


def in_si(value: float) -> str:
    """Three digits and a prefix: ``1.23 k``."""
    if not math.isfinite(value):
        return "? "
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        if abs(value) >= scale:
            return f"{_three_digits(value / scale)} {prefix}"
    return f"{_three_digits(value * 1e3)} m"


def _three_digits(value: float) -> str:
    for digits, limit in ((2, 9.995), (1, 99.95)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.0f}"


def clock(seconds: float) -> str:
    """``01:23``, or ``1:02:03``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"
