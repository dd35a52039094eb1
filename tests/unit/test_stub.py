"""The stub of the native module says what the module is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import picojoule

ALLOWLIST = Path(__file__).with_name("stubtest_allowlist.txt")


def test_the_stub_is_installed():
    package = Path(picojoule.__file__).parent
    assert (package / "_core.pyi").is_file()
    assert (package / "py.typed").is_file()


@pytest.mark.slow
def test_the_stub_is_right(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed (pip install 'picojoule[dev]')")
    command = [sys.executable, "-m", "mypy.stubtest", "picojoule._core"]
    done = subprocess.run(
        [*command, "--allowlist", str(ALLOWLIST), "--ignore-unused-allowlist"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
