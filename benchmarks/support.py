"""What the benchmarks share: the fake NVML, the machine's description, and where results go."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def compile_c(source: Path, output: Path, *flags: str) -> Path:
    """Compile one C or C++ file with the machine's compiler."""
    compiler = "c++" if source.suffix == ".cpp" else "cc"
    subprocess.run([compiler, "-O2", str(source), "-o", str(output), *flags], check=True)
    return output


def build_fake_nvml(folder: Path) -> Path:
    """The scripted vendor library, under its real name."""
    return compile_c(
        ROOT / "tests" / "fakes" / "fake_nvml.c",
        folder / "libnvidia-ml.so.1",
        "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-lpthread", "-lm",
    )  # fmt: skip


class FakeNvml:
    """Truth functions of the fake; loads it, so that the loader finds it by its soname."""

    def __init__(self, script: str = "", folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="picojoule-bench-"))
        path = self.folder / "libnvidia-ml.so.1"
        if not path.exists():
            build_fake_nvml(self.folder)
        self.library = lib = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        lib.fake_nvml_configure.argtypes = [ctypes.c_char_p]
        lib.fake_nvml_configure.restype = None
        lib.fake_nvml_true_energy_j.argtypes = [ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
        lib.fake_nvml_true_energy_j.restype = ctypes.c_double
        for name in ("fake_nvml_tick_ns", "fake_nvml_last_tick_before"):
            getattr(lib, name).argtypes = [ctypes.c_int, ctypes.c_longlong]
            getattr(lib, name).restype = ctypes.c_longlong
        lib.fake_nvml_calls.restype = ctypes.c_ulonglong
        lib.fake_nvml_calls_by_thread.restype = ctypes.c_ulonglong
        self.configure(script)

    def configure(self, script: str) -> None:
        self.library.fake_nvml_configure(script.encode())

    def energy_j(self, gpu: int, begin_ns: int, end_ns: int) -> float:
        return float(self.library.fake_nvml_true_energy_j(gpu, begin_ns, end_ns))

    def latest_tick_ns(self, gpu: int, before_ns: int) -> int:
        k = self.library.fake_nvml_last_tick_before(gpu, before_ns)
        return int(self.library.fake_nvml_tick_ns(gpu, k))


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    from picojoule._environment import _cpu_model

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": subprocess.run(
            ["c++", "--version"], capture_output=True, text=True, check=False
        ).stdout.partition("\n")[0],
        "gpu": "none; NVML figures are against the scripted fake in tests/fakes",
    }


def save(name: str, figures: dict[str, Any]) -> None:
    """Write one benchmark's figures, with the machine they were taken on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    print(f"-> {path.relative_to(ROOT)}", file=sys.stderr)


def thread_cpu_s(name: str) -> float:
    """CPU seconds of this process's thread called ``name``."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            fields = (task / "schedstat").read_text().split()
            return int(fields[0]) * 1e-9
    return float("nan")


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
