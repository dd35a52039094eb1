"""The native tests, built and run where a machine has what they need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD_S = 1500


def find(*names: str) -> str | None:
    """The first of these programs: beside this Python (pip's packages), or on the path."""
    for name in names:
        beside = shutil.which(name, path=str(Path(sys.executable).parent))
        if found := beside or shutil.which(name):
            return found
    return None


def has_doctest(compiler: str, folder: Path) -> bool:
    source = folder / "probe.cpp"
    source.write_text("#include <doctest/doctest.h>\n", encoding="utf-8")
    command = [compiler, "-std=c++20", "-fsyntax-only", str(source)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0


def command(*words: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [str(w) for w in words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-8000:]}"
    return done.stdout


@pytest.mark.slow
def test_native(tmp_path):
    if not (ROOT / "CMakeLists.txt").is_file():
        pytest.skip("the sources are not here: these are not the tests of a checkout")
    compiler = os.environ.get("CXX") or find("c++", "g++", "clang++")
    cmake, ctest, maker = find("cmake"), find("ctest"), find("ninja", "make")
    if compiler is None:
        pytest.skip("no C++ compiler on this machine")
    if cmake is None or ctest is None:
        pytest.skip("no cmake on this machine (pip install 'picojoule[test]' brings it)")
    if maker is None:
        pytest.skip("neither ninja nor make on this machine")
    if not has_doctest(compiler, tmp_path):
        pytest.skip("no doctest on this machine (Debian: apt-get install doctest-dev)")
    # Somebody who builds them anyway can lend the folder: nothing is compiled twice.
    build = Path(os.environ.get("PICOJOULE_NATIVE_BUILD") or tmp_path / "build")
    generator = "Ninja" if Path(maker).name.startswith("ninja") else "Unix Makefiles"
    command(
        cmake,
        *("-S", ROOT, "-B", build, "-G", generator),
        *("-DPICOJOULE_PYTHON=OFF", "-DPICOJOULE_TESTS=ON"),
        *(f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_MAKE_PROGRAM={maker}"),
        folder=tmp_path,
    )
    command(cmake, "--build", build, "--parallel", folder=tmp_path)
    said = command(
        *(ctest, "--test-dir", build, "--output-on-failure", "--no-tests=error"),
        *("--timeout", "120"),
        folder=tmp_path,
    )
    assert "100% tests passed" in said
