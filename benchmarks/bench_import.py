"""Whole-process time of ``import picojoule`` beside ``import numpy``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from support import save


def main() -> None:
    times: dict[str, list[float]] = {}
    for _ in range(31):
        for code in (
            "pass",
            "import numpy",
            "import picojoule",
        ):  # interleaved: drift hits all alike
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.setdefault(code, []).append(time.perf_counter() - begin)
    median = {code: statistics.median(t) for code, t in times.items()}
    save(
        "import",
        {
            "median_ms": {code: round(1e3 * t, 2) for code, t in median.items()},
            "ratio_to_numpy": round(median["import picojoule"] / median["import numpy"], 3),
            "bar": 1.2,
        },
    )


if __name__ == "__main__":
    main()
