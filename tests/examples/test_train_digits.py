"""The example that the README begins with does what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_digits.py"


def test_reads_digits_and_shows_where_the_energy_went():
    done = subprocess.run(
        [sys.executable, EXAMPLE, "--epochs", "12"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    accuracy = re.search(r"test accuracy: ([\d.]+)%", done.stdout)
    assert accuracy is not None, done.stdout
    assert float(accuracy[1]) > 95
    for region in ("data", "forward", "backward", "update", "eval"):
        assert region in done.stdout


def test_says_what_to_install(tmp_path):
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text("raise ImportError('not here')")
    code = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['x']; "
    code += f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install '.[demo]'" in done.stderr
    assert "Traceback" not in done.stderr
