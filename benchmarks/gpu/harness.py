"""Steps, each in a process of its own, with a share of the time; what a step found stays."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What a step gives: plain values for JSON, and a line for the table under "said".
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One question; ``run(seconds, dry, folder)`` answers it.

    ``seconds`` is what it may take. ``dry``: there is no GPU, and what needs none is to be tried.
    ``needs``: modules without which it is skipped.
    """

    name: str
    what: str
    seconds: float
    run: Callable[[float, bool, Path], Found]
    needs: tuple[str, ...] = ()

    def lacks(self) -> str:
        """The module that is missing; "" if none is."""
        for name in self.needs:
            if importlib.util.find_spec(name) is None:
                return name
        return ""


class Deadline:
    """The time that is left, dealt out by the steps' own wishes."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._end - self._clock())

    def share(self, wish: float, wishes_after: Sequence[float]) -> float:
        """What a step gets: its wish, or its part of what is left; a tenth is kept back."""
        total = wish + sum(wishes_after)
        return min(wish, 0.9 * self.left * wish / total) if total > 0 else 0.0


def run_step(
    step: Step, seconds: float, dry: bool, folder: Path, entry: Path, most_s: float = 600.0
) -> Found:
    """Run one step in a child; a crash, a hang and an exception are findings, too.

    A child may take longer than it was told, since libraries load and kernels compile: half as long
    again and 20 s, but never more than ``most_s``.
    """
    limit = min(seconds * 1.5 + 20, max(5.0, most_s))
    target = folder / f"{step.name}.json"
    target.unlink(missing_ok=True)
    command = [sys.executable, str(entry), "--step", step.name, "--out", str(folder)]
    command += ["--seconds", f"{seconds:.1f}", *(["--dry-run"] if dry else [])]
    begin = time.monotonic()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    why = ""
    try:
        output, _ = child.communicate(timeout=limit)
        if child.returncode:
            why = f"ended with {child.returncode}: {_tail(output)}"
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
        why = f"did not end within {limit:.0f} s: {_tail(output)}"
    found: Found = {}
    if target.exists():
        found = json.loads(target.read_text(encoding="utf-8"))
    if why:
        found["failed"] = why
        write(folder, step.name, found)
    found["wall_s"] = round(time.monotonic() - begin, 1)
    return found


def write(folder: Path, name: str, found: Found) -> None:
    """Write a step's result whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.json"
    unfinished.write_text(json.dumps(plain(found), indent=1) + "\n", encoding="utf-8")
    unfinished.rename(folder / f"{name}.json")


def plain(value: Any) -> Any:
    """As JSON knows it: nan is null, arrays are lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and value != value:
        return None
    return value


def table(results: dict[str, Found]) -> str:
    """A line for each step."""
    width = max([len(name) for name in results], default=4)
    lines = []
    for name, found in results.items():
        said = found.get("failed") or found.get("skipped") or found.get("said") or "done"
        mark = "FAILED " if "failed" in found else "skipped: " if "skipped" in found else ""
        lines.append(f"{name:<{width}}  {mark}{' '.join(str(said).split())[:160]}")
    return "\n".join(lines)


def _tail(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-400:]
