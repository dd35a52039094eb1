"""picojoule for the Python that runs this, built from this tree where it is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_WORKS = "import picojoule, nanoarrow"


def make_importable(root: Path, wheels: Path | None = None, seconds: float = 300.0) -> str:
    """See to it that children of this process can import picojoule; why not, or "".

    An installed one is taken as it is. Else the tree ``root`` is built into ``build/validate``,
    which then leads ``PYTHONPATH``; with ``wheels``, what that lacks comes from there and nothing
    is fetched.
    """
    if _works():
        return ""
    target = root / "build" / "validate" / f"py{sys.version_info.major}{sys.version_info.minor}"
    _lead_with(target)
    if _works():
        return ""
    offline = ["--no-index", "--find-links", str(wheels)] if wheels else []
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(target)]
    why = ""
    os.environ.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 2))
    # What builds it may be here already; only if it is not, an isolated build fetches it.
    steps = [["--no-deps", "--no-build-isolation", str(root)], ["--no-deps", str(root)]]
    for arguments in steps:
        if (why := _run([*pip, *offline, *arguments], seconds)) == "":
            break
    if why:
        return why
    if not _has("nanoarrow") and (why := _run([*pip, *offline, "--no-deps", "nanoarrow"], 60)):
        return f"it needs nanoarrow ({why}); --wheels takes a folder that has it"
    return "" if _works() else _run([sys.executable, "-c", _WORKS], 60)


def _works() -> bool:
    return _run([sys.executable, "-c", _WORKS], 60) == ""


def _has(module: str) -> bool:
    return _run([sys.executable, "-c", f"import {module}"], 60) == ""


def _lead_with(folder: Path) -> None:
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before}" if before else str(folder)


def _run(command: list[str], seconds: float) -> str:
    """ "" if it ends well, else the last line that it said."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=max(10.0, seconds)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"[:300]
    lines = [x for x in (done.stderr + done.stdout).splitlines() if x.strip()]
    return "" if done.returncode == 0 else (lines or [f"status {done.returncode}"])[-1][:300]
