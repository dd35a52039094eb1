"""Ranges that a program marks for other profilers, as regions: NVTX and ``record_function``.

NVTX's ranges are taken by the native half (``cpp/bindings/nvtx.cpp``), which NVTX loads because
``NVTX_INJECTION64_PATH`` names it. PyTorch's ``record_function`` is patched while a profile that
wants annotations is open. Nothing here imports torch; if the program does so inside the block, as
under ``picojoule run``, the patch waits for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from picojoule import _core

_NVTX = "NVTX_INJECTION64_PATH"
#: The module that has ``record_function``; a part of torch that ``import torch`` imports.
_TORCH = "torch.autograd.profiler"
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


def nvtx_obstacle() -> str:
    """Why NVTX ranges cannot be seen in this process, and the remedy; "" if they can."""
    if os.environ.get("PICOJOULE_NVTX") == "0":
        return "not seen: PICOJOULE_NVTX=0 is set; unset it to have them as regions"
    present = os.environ.get(_NVTX, "")
    if _is_picojoule(Path(present)):
        return ""
    return (
        f"not seen: another tool takes them ({_NVTX}={present}); "
        "run without that tool, or unset the variable, to have them as regions"
    )


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
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)
        self._users = 0
        self._open = 0
        self._class: Any = None
        self._finder: _TorchFinder | None = None
        #: name of a method -> what was there, what we put there
        self._patched: dict[str, tuple[Any, Any]] = {}

    def _renew_lock(self) -> None:
        """Also in a forked child, which may inherit it in the hands of a thread it has not."""
        self._lock = threading.RLock()  # a signal's handler may open a profile

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            self._patch_if_there()
            if self._class is None and self._finder is None:
                self._finder = _TorchFinder(self._torch_is_there)
                sys.meta_path.insert(0, self._finder)

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            self._restore_what_is_done()

    def _torch_is_there(self) -> None:
        with self._lock:
            self._stop_waiting()
            if self._users:
                self._patch_if_there()

    def _stop_waiting(self) -> None:
        finder, self._finder = self._finder, None
        if finder is not None:
            with contextlib.suppress(ValueError):  # the program may have cleared the list
                sys.meta_path.remove(finder)

    def _patch_if_there(self) -> None:
        found = getattr(sys.modules.get(_TORCH), "record_function", None)
        if found is None or self._class not in (None, found):
            return
        self._class = found
        self._patch("__enter__", self._entering)
        self._patch("__exit__", self._exiting)

    def _patch(self, name: str, make: Callable[[Any], Any]) -> None:
        if name not in self._patched:
            before = self._class.__dict__[name]
            ours = make(before)
            setattr(self._class, name, ours)
            self._patched[name] = (before, ours)

    def _restore_what_is_done(self) -> None:
        if self._users:
            return
        self._stop_waiting()
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


class _TorchFinder:
    """Finds nothing, but calls ``then`` once torch's module is imported."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Give what the next finder would, with a loader that tells us when it is done."""
        if name != _TORCH:
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = None if spec is None else spec.loader
        if loader is None:
            return None

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # the class's own is back
            loader.exec_module(module)
            self._then()

        with contextlib.suppress(AttributeError):  # a loader without attributes of its own
            loader.exec_module = exec_module
        return spec


_record_function = _RecordFunction()
