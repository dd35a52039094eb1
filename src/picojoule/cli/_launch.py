"""Runs a Python program inside a profile, so that it cannot tell from ``python program.py``.

Started by ``picojoule run`` as ``python _launch.py script|module SETTINGS PROGRAM ARGUMENTS...``,
by its path and not with ``-m``: that way neither the current folder nor the program's folder
decides which picojoule is imported. The profile is closed by the exit handler registered first,
that is after the program's threads and its own exit handlers; a program that is killed leaves its
journal.
"""

from __future__ import annotations

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # our own folder

import atexit
import builtins
import contextlib
import functools
import importlib.machinery
import io
import json
import os
import runpy
import signal
import types
from pathlib import Path
from typing import Any

_HERE = __file__
_uncaught: BaseException | None = None


def _import_picojoule() -> Any:
    """The picojoule that this file belongs to, wherever our parent found it."""
    root = str(Path(_HERE).resolve().parents[2])
    added = root not in sys.path
    if added:
        sys.path.append(root)
    try:
        import picojoule
        import picojoule.errors

        return picojoule
    finally:
        if added:
            sys.path.remove(root)


def _say(message: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"picojoule: {message}\n")
        sys.stderr.flush()


def _count_or_profile(pj: Any, settings: dict[str, Any]) -> Any:
    """``picojoule count`` measures no energy: it runs every kernel several times."""
    if "count" not in settings:
        told = settings.pop("told", None)
        if told is not None:
            from picojoule.green.recording import Told

            settings["study"] = Told.from_json(told)
        return pj.profile(**settings)
    import picojoule.counters

    return picojoule.counters.Counting(**settings["count"])


def _open_profile(settings: dict[str, Any]) -> None:
    """Begin to measure. The program runs even if that fails, unless what was asked is not here."""
    try:
        pj = _import_picojoule()
        try:
            profile = _count_or_profile(pj, settings)
            profile.__enter__()
        except (pj.errors.NoMeterError, pj.errors.UsageError) as error:
            _say(f"error: {error}")
            os._exit(2 if isinstance(error, pj.errors.UsageError) or "count" in settings else 1)
    except Exception as error:
        _say(f"warning: nothing is measured, the program runs without: {error}")
        return

    owner = os.getpid()

    @atexit.register
    def close() -> None:
        if os.getpid() != owner:
            return  # a forked child that ends like its parent
        try:
            profile.__exit__(type(_uncaught) if _uncaught else None, _uncaught, None)
            if "count" not in settings:
                _ = profile.result  # waits for the closing reading and finishes the trace
        except Exception as error:
            _say(f"warning: the profile could not be finished: {error}")


@atexit.register  # before all others, so that it is called after them
def _end_as_interrupted() -> None:
    """Die of SIGINT after an uncaught KeyboardInterrupt, as the interpreter does.

    It would by itself, but forgets to if any code is compiled between the error and the end.
    """
    if type(_uncaught) is not KeyboardInterrupt:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def _hide_own_frames(hook: Any, kind: Any, error: BaseException, trace: Any) -> None:
    """Show an uncaught error as ``hook`` would have, without the frames of this file."""
    while trace is not None and trace.tb_frame.f_code.co_filename == _HERE:
        trace = trace.tb_next
    error.__traceback__ = sys.last_traceback = trace
    sys.excepthook = hook
    hook(kind, error, trace)


def _new_main() -> dict[str, Any]:
    """A fresh ``__main__``, as the interpreter makes one."""
    main = types.ModuleType("__main__")
    names = main.__dict__
    if sys.version_info < (3, 14):
        names["__annotations__"] = {}
    names["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return names


_kind, _settings, _program = sys.argv[1], sys.argv[2], sys.argv[3]
if _kind == "script":
    sys.argv[:] = sys.argv[3:]
    _path0 = os.path.dirname(os.path.realpath(_program))  # noqa: PTH120
else:
    sys.argv[:] = ["-m", *sys.argv[4:]]
    _path0 = os.getcwd()  # noqa: PTH109
_open_profile(json.loads(_settings))
if not sys.flags.safe_path:
    sys.path.insert(0, _path0)

# From here on at module level: the fewer frames below the program, the less it can see of us.
try:
    _names = _new_main()
    if _kind == "script":
        _file = os.path.join(os.getcwd(), _program)  # noqa: PTH109, PTH118
        _names["__file__"] = _file
        _names["__cached__"] = None
        _names["__loader__"] = importlib.machinery.SourceFileLoader("__main__", _file)
        with io.open_code(_file) as _source:
            _code = compile(_source.read(), _file, "exec", dont_inherit=True)
        exec(_code, _names)
    else:
        runpy._run_module_as_main(_program)  # type: ignore[attr-defined]
except SystemExit:
    raise
except BaseException as error:
    _uncaught = error
    sys.excepthook = functools.partial(_hide_own_frames, sys.excepthook)
    raise
