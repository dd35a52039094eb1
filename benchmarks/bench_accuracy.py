"""Energy of windows under known power: error and coverage of intervals, against the fake NVML."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
from support import FakeNvml, save

import picojoule as pj

WAVES = {"square": "wave=square;lo=70;hi=600;period_ms=130", "constant": "wave=const;hi=300"}
#: (tick in ms, seconds) -> median relative error asked for
BARS = {(20, 0.2): 0.01, (20, 1.0): 0.003, (20, 5.0): 0.001, (100, 1.0): 0.03, (100, 5.0): 0.006}


def windows(fake: FakeNvml, wave: str, tick_ms: int, seconds: float, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(round(tick_ms + 10 * seconds))
    fake.configure(f"{WAVES[wave]};tick_ms={tick_ms};jitter_us=50;latency_us=20")
    errors, covered, widths = [], 0, []
    with pj.profile(sources=["nvml"]):
        time.sleep(2.5)  # the counter restarts with the script: begin on settled ground
        profiles = []
        # Windows overlap: many at once, each at a random phase of the wave and of the sensor.
        starts = np.sort(rng.uniform(0, max(n * 0.12, 2.0), n))
        origin = time.perf_counter()
        pending: list[tuple[float, pj.profile]] = []
        i = 0
        while i < n or pending:
            now = time.perf_counter() - origin
            if i < n and now >= starts[i]:
                one = pj.profile(sources=["nvml"])
                one.__enter__()
                pending.append((now + seconds, one))
                i += 1
                continue
            for end, one in [p for p in pending if p[0] <= now]:
                one.__exit__(None, None, None)
                pending.remove((end, one))
                profiles.append(one)
            following = [starts[i]] if i < n else []
            following += [p[0] for p in pending]
            if following:
                time.sleep(max(0.0, min(following) - (time.perf_counter() - origin)))
    for one in profiles:
        result = one.result
        truth = fake.energy_j(0, result.begin_ns, result.end_ns)
        low, high = result.energy["gpu:0"].interval(0.95)
        covered += low <= truth <= high
        errors.append(abs(result.energy["gpu:0"].joules / truth - 1))
        widths.append((high - low) / truth)
    return {
        "wave": wave,
        "tick_ms": tick_ms,
        "window_s": seconds,
        "windows": n,
        "median_error_percent": round(100 * float(np.median(errors)), 4),
        "bar_percent": 100 * BARS[tick_ms, seconds] if (tick_ms, seconds) in BARS else None,
        "covered_percent": round(100 * covered / n, 1),
        "median_width_percent": round(100 * float(np.median(widths)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=150)
    parser.add_argument("--one", nargs=3, help="internal: wave, tick and seconds of one case")
    args = parser.parse_args()
    if args.one:
        wave, tick, seconds = args.one
        print(json.dumps(windows(FakeNvml(), wave, int(tick), float(seconds), args.windows)))
        return
    # A process for each case: no sensor changes its clock under a running sampler.
    rows = [
        json.loads(
            subprocess.run(
                [
                    sys.executable,
                    __file__,
                    "--windows",
                    str(args.windows),
                    "--one",
                    wave,
                    str(tick),
                    str(seconds),
                ],
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
        )
        for wave in WAVES
        for tick in (20, 100)
        for seconds in (0.2, 1.0, 5.0)
    ]
    save("accuracy", {"rows": rows, "bar_coverage_percent": [93, 99]})


if __name__ == "__main__":
    main()
