"""Programs of their own against meters that are scripted: real libraries, real files, real time.

Nothing in the product knows of this. A scripted NVML is found by the loader's search path, a
scripted kernel tree by ``PICOJOULE_SYSFS``; every scenario is a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FAKES = Path(__file__).resolve().parents[1] / "fakes"
sys.path.insert(0, str(FAKES))  # trees.py, for this process

#: What every scenario begins with.
PRELUDE = """
import ctypes, json, math, os, sys, threading, time
import picojoule as pj

def say(**values):
    print(json.dumps(values, default=float), flush=True)

# So wide that some fifty comparisons a run fail by chance once in two thousand runs.
def doubt(joules, estimate):
    low, high = estimate.interval(0.99999)
    return {"joules": estimate.joules, "low": low, "high": high, "truth": joules}
"""

NVML = """
fake = ctypes.CDLL("libnvidia-ml.so.1")
fake.fake_nvml_true_energy_j.restype = ctypes.c_double
fake.fake_nvml_true_energy_j.argtypes = [ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
for name in ("fake_nvml_tick_ns", "fake_nvml_last_tick_before"):
    getattr(fake, name).restype = ctypes.c_longlong
    getattr(fake, name).argtypes = [ctypes.c_int, ctypes.c_longlong]
for name in ("fake_nvml_calls", "fake_nvml_calls_by_thread"):
    getattr(fake, name).restype = ctypes.c_ulonglong

# The scripted counters begin at 0 in the middle of a tick, when the library is loaded; real ones do
# so when the driver is, long before.
time.sleep(0.25)

def configure(script):
    fake.fake_nvml_configure(script.encode())

def truth(prof, gpu=0):
    found = prof.result
    return fake.fake_nvml_true_energy_j(gpu, found.begin_ns, found.end_ns)

def compare(prof, gpu=0):
    return doubt(truth(prof, gpu), prof.energy[f"gpu:{gpu}"])
"""


def environment(**changes: str | None) -> dict[str, str]:
    """This process's, without what would reach into a scenario."""
    env = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PICOJOULE", "CUDA_", "FAKE_", "COV_"))
    }
    env.pop("PYTHONPATH", None)
    for key, value in changes.items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    return env


def run(code: str, folder: Path, env: dict[str, str], timeout: float = 60, **more: Any) -> Any:
    """Run ``code`` as a script; what it said, merged, as attributes."""
    script = folder / "scenario.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **more,
    )
    assert done.returncode == 0, f"rc {done.returncode}\n{done.stdout}\n{done.stderr}"
    said: dict[str, Any] = {"stderr": done.stderr}
    for line in done.stdout.splitlines():
        said |= json.loads(line)
    return SimpleNamespace(**said)


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the scripted libnvidia-ml.so.1."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on this machine to build the scripted NVML with")
    folder = tmp_path_factory.mktemp("nvml")
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wl,-soname,libnvidia-ml.so.1"]
    command += ["-o", str(folder / "libnvidia-ml.so.1"), str(FAKES / "fake_nvml.c")]
    subprocess.run([*command, "-lpthread", "-lm"], check=True, timeout=120)
    return folder


@pytest.fixture
def nvml(nvml_folder: Path, tmp_path: Path) -> Any:
    """``nvml(code, script)``: run ``code`` where the scripted NVML is the one installed."""

    def go(code: str, script: str = "", timeout: float = 60, **env: str | None) -> Any:
        code = PRELUDE + NVML + textwrap.dedent(code)
        changes = {"LD_LIBRARY_PATH": str(nvml_folder), "FAKE_NVML": script, **env}
        return run(code, tmp_path, environment(**changes), timeout)

    return go


@pytest.fixture
def scenario(tmp_path: Path) -> Any:
    """``scenario(code, **env)``: run ``code`` in a process of its own."""

    def go(code: str, timeout: float = 60, preexec_fn: Any = None, **env: str | None) -> Any:
        code = PRELUDE + textwrap.dedent(code)
        more = {} if preexec_fn is None else {"preexec_fn": preexec_fn}
        return run(code, tmp_path, environment(**env), timeout, **more)

    return go
