"""What the tests of the ledger share."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

from picojoule.green.model import Run


def run(uid: str = "a" * 32, **more: Any) -> Run:
    return Run(**{"uid": uid, "study": "s", "begin_wall_s": 1.7e9, **more})


def same(a: Run, b: Run) -> bool:
    """Equal, with nan equal to nan."""
    return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(Run))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return bool(a == b)


def python(code: str, *arguments: str, cwd: Path, check: bool = True, **environment: str) -> Any:
    """Run a program of its own."""
    import os

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=check,
        timeout=120,
    )  # fmt: skip
