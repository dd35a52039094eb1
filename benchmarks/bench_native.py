"""A region, natively."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from support import ROOT, compile_c, save


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    program = folder / "region"
    sources = [ROOT / "cpp" / "recorder" / n for n in ("regions.cpp", "paths.cpp")]
    compile_c(
        ROOT / "benchmarks" / "native" / "region.cpp", program,
        "-std=c++20", f"-I{ROOT / 'cpp'}", *map(str, sources), "-lpthread",
    )  # fmt: skip
    runs = [
        json.loads(subprocess.run([program], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    best = min(runs, key=lambda r: r["region_ns"])
    save(
        "region_native",
        {
            "region_ns": best["region_ns"],
            "two_clock_reads_ns": best["two_clock_reads_ns"],
            "all_region_ns": [r["region_ns"] for r in runs],
            "bar_ns": 60,
        },
    )


if __name__ == "__main__":
    main()
