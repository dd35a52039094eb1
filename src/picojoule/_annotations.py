"""Ranges that a program marks for other profilers, as regions: NVTX and ``record_function``.

NVTX's ranges are taken by the native half (``cpp/bindings/nvtx.cpp``), which NVTX loads because
``NVTX_INJECTION64_PATH`` names it. PyTorch's ``record_function`` is patched, while a profile that
wants annotations is open and only if torch was imported before it.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from picojoule import _core

_NVTX = "NVTX_INJECTION64_PATH"
#: Where an instance of ``record_function`` keeps the regions it has opened.
_OPENED = "_picojoule_regions"


def offer_to_nvtx() -> None:
    """Name the native half to NVTX, in this process and in those it starts.

    NVTX looks once, at a library's first call. Another tool's choice stands; that of another
    picojoule (a parent process of another environment) does not. ``PICOJOULE_NVTX=0`` turns it off.
    """
    if os.environ.get("PICOJOULE_NVTX") == "0" or not _core.__file__:
        return
    present = os.environ.get(_NVTX)
    if not present or _is_picojoule(Path(present)):
        os.environ[_NVTX] = str(Path(_core.__file__).absolute())


def _is_picojoule(library: Path) -> bool:
    return library.parent.name == "picojoule" and library.name.startswith("_core.")


def begin() -> None:
    """One more open profile wants annotations."""
    _core.want_annotations(True)
    _record_function.begin()


def end() -> None:
    """One less does."""
    _core.want_annotations(False)
    _record_function.end()


class _RecordFunction:
    """The patch of ``record_function``: put on by the first who wants it, taken off by the last.

    ``__exit__`` stays patched until the regions that were opened are closed, else those of ranges
    that outlive the profile would stay open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._open = 0
        self._class: Any = None
        #: name of a method -> what was there, what we put there
        self._patched: dict[str, tuple[Any, Any]] = {}

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            module = sys.modules.get("torch.autograd.profiler")
            found = getattr(module, "record_function", None)
            if found is None or self._class not in (None, found):
                return
            self._class = found
            self._patch("__enter__", self._entering)
            self._patch("__exit__", self._exiting)

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            self._restore_what_is_done()

    def _patch(self, name: str, make: Callable[[Any], Any]) -> None:
        if name not in self._patched:
            before = self._class.__dict__[name]
            ours = make(before)
            setattr(self._class, name, ours)
            self._patched[name] = (before, ours)

    def _restore_what_is_done(self) -> None:
        if self._users:
            return
        self._restore("__enter__")
        if not self._open:
            self._restore("__exit__")
        if not self._patched:
            self._class = None

    def _restore(self, name: str) -> None:
        before, ours = self._patched.get(name, (None, None))
        # Somebody who patched after us calls us still; then we stay, and do nothing.
        if ours is not None and self._class.__dict__.get(name) is ours:
            setattr(self._class, name, before)
            del self._patched[name]

    def _entering(self, before: Any) -> Any:
        def enter(range_: Any) -> Any:
            if self._users and isinstance(range_.name, str):
                region = _core.region(range_.name)
                region.__enter__()
                range_.__dict__.setdefault(_OPENED, []).append(region)
                with self._lock:
                    self._open += 1
            return before(range_)

        return functools.wraps(before)(enter)

    def _exiting(self, before: Any) -> Any:
        def leave(range_: Any, *error: Any) -> Any:
            try:
                return before(range_, *error)
            finally:
                opened = range_.__dict__.get(_OPENED)
                if opened:
                    opened.pop().__exit__(None, None, None)
                    with self._lock:
                        self._open -= 1
                        self._restore_what_is_done()

        return functools.wraps(before)(leave)


_record_function = _RecordFunction()
