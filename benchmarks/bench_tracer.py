"""What tracing kernels costs, natively and against the scripted CUPTI: a launch, a record."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from support import ROOT, compile_c, save


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    program = folder / "tracer"
    fake = compile_c(
        ROOT / "tests" / "fakes" / "fake_cupti.c", folder / "libcupti.so.13",
        "-shared", "-fPIC", "-Wl,-soname,libcupti.so.13", "-lpthread",
    )  # fmt: skip
    sources = sorted((ROOT / "cpp" / "tracers").glob("*.cpp"))
    compile_c(
        ROOT / "benchmarks" / "native" / "tracer.cpp", program,
        "-std=c++20", f"-I{ROOT / 'cpp'}", *map(str, sources), "-lpthread", "-ldl",
    )  # fmt: skip
    runs = [
        json.loads(subprocess.run([program, fake], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    added = [round(r["launch_traced_ns"] - r["launch_bare_ns"], 2) for r in runs]
    few, many = "records_50_classes_m_per_s", "records_2000_classes_m_per_s"
    save(
        "tracer_native",
        {
            "launch_added_ns": min(added),
            "launch_bar_ns": 50,
            few: max(r[few] for r in runs),
            many: max(r[many] for r in runs),
            "records_bar_m_per_s": 10,
            "raw_bytes_a_record": 32,
            "all_launch_added_ns": added,
            "all_runs": runs,
        },
    )


if __name__ == "__main__":
    main()
