"""How a long profile with many regions grows the process: an hour at 10,000 regions a second.

Memory is what the kernel says this process holds (VmRSS), read after a minute of warm-up, then once
a minute, and again when the result has been looked at.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from support import FakeNvml, save

import picojoule as pj


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=float, default=10_000, help="regions a second")
    args = parser.parse_args()
    fake = FakeNvml("latency_us=20;tick_ms=100")
    outer, inner = pj.region("step"), pj.region("forward")
    with tempfile.TemporaryDirectory() as folder:
        before = resident_mb()
        profile = pj.profile(output=Path(folder) / "run.pj")
        seen: list[float] = []
        calls = 0
        with profile:
            begin = time.perf_counter()
            following = 0.0
            while (now := time.perf_counter() - begin) < args.seconds:
                while calls < now * args.rate:
                    with outer, inner:
                        pass
                    calls += 2
                if now >= following:
                    seen.append(round(resident_mb(), 1))
                    following += 60
                time.sleep(0.002)
        recorded = resident_mb()
        result = profile.result
        counted = sum(r.calls for r in result.regions)
        after = resident_mb()
        stored = sum(f.stat().st_size for f in (Path(folder) / "run.pj").iterdir()) / 2**20
    assert fake.library.fake_nvml_calls() > 0
    save(
        "memory",
        {
            "seconds": args.seconds,
            "regions": calls,
            "regions_counted": counted,
            "resident_mb_before": round(before, 1),
            "resident_mb_by_minute": seen,
            "growth_while_recording_mb": round(recorded - before, 1),
            "growth_with_result_mb": round(after - before, 1),
            "trace_mb": round(stored, 1),
            "bar_mb": 64,
        },
    )


if __name__ == "__main__":
    main()
