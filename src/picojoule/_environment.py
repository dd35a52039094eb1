"""Where a profile was recorded: kept in every trace."""

from __future__ import annotations

import functools
import os
import platform
import sys
from typing import Any

from picojoule import _core
from picojoule._version import __version__


@functools.lru_cache(maxsize=1)
def _static(_pid: int) -> tuple[str, ...]:
    return (
        f"picojoule={__version__}",
        f"python={platform.python_version()}",
        f"implementation={sys.implementation.name}",
        f"system={platform.system()} {platform.release()}",
        f"machine={platform.machine()}",
        f"host={platform.node()}",
        f"cpu={_cpu_model()}",
        f"cpus={os.cpu_count() or 0}",
        f"pid={os.getpid()}",
    )


def describe() -> list[str]:
    """``key=value`` lines: versions, host, command."""
    return [*_static(os.getpid()), "command=" + " ".join(sys.argv)[:4096]]


def environment(trace: _core.Trace) -> dict[str, Any]:
    """What a trace keeps of where it was recorded, and of what its meters and tracers said."""
    known: dict[str, Any] = dict(line.split("=", 1) for line in describe())
    known["findings"] = _core.findings()
    if words := trace.meta.get("kernels"):
        known["tracing"] = words
    return known


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(("model name", "Model", "CPU part")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"
