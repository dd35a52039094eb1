"""Energy of windows under known power: error and coverage of intervals, against the fake NVML."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from support import FakeNvml, save

import picojoule as pj

WAVES = {"square": "wave=square;lo=70;hi=600;period_ms=130", "constant": "wave=const;hi=300"}
#: (tick in ms, seconds) -> median relative error asked for
BARS = {(20, 0.2): 0.01, (20, 1.0): 0.003, (20, 5.0): 0.001, (100, 1.0): 0.03, (100, 5.0): 0.006}


def windows(wave: str, tick_ms: int, seconds: float, n: int, seed: int) -> list[list[float]]:
    """``n`` windows at random phases, beside one random phase of the sensor against the wave.

    Returns for each its relative error, whether its 95 % interval holds the truth, and the width of
    that interval relative to the truth.
    """
    rng = np.random.default_rng([seed, round(tick_ms + 10 * seconds)])
    fake = FakeNvml(
        f"{WAVES[wave]};tick_ms={tick_ms};jitter_us=50;latency_us=20;"
        f"phase_us={rng.uniform(0, 1000 * tick_ms):.0f};wave_phase_ms={rng.uniform(0, 130):.3f}"
    )
    found: list[list[float]] = []
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
        found.append(
            [
                abs(result.energy["gpu:0"].joules / truth - 1),
                float(low <= truth <= high),
                (high - low) / truth,
            ]
        )
    return found


def summary(wave: str, tick_ms: int, seconds: float, found: list[list[float]]) -> dict[str, Any]:
    errors, covered, widths = np.asarray(found).T
    n = len(errors)
    return {
        "wave": wave,
        "tick_ms": tick_ms,
        "window_s": seconds,
        "windows": n,
        "median_error_percent": round(100 * float(np.median(errors)), 4),
        "bar_percent": 100 * BARS[tick_ms, seconds] if (tick_ms, seconds) in BARS else None,
        "covered_percent": round(100 * float(np.mean(covered)), 1),
        "covered_std_error_percent": round(100 * float(np.sqrt(0.95 * 0.05 / n)), 1),
        "median_width_percent": round(100 * float(np.median(widths)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=24, help="phases of sensor against wave")
    parser.add_argument("--windows", type=int, default=12, help="windows a batch")
    parser.add_argument("--at-once", type=int, default=6, help="batches that run side by side")
    parser.add_argument("--one", nargs=4, help="internal: wave, tick, seconds and seed of a batch")
    args = parser.parse_args()
    if args.one:
        wave, tick, length, seed = args.one
        print(json.dumps(windows(wave, int(tick), float(length), args.windows, int(seed))))
        return

    # A process for each batch: no sensor changes its clock under a running sampler.
    def batch(wave: str, tick: int, length: float, seed: int) -> list[list[float]]:
        command = [sys.executable, __file__, "--windows", str(args.windows), "--one"]
        command += [wave, str(tick), str(length), str(seed)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return list(json.loads(done.stdout))

    cases = [(w, t, s) for w in WAVES for t in (20, 100) for s in (0.2, 1.0, 5.0)]
    with ThreadPoolExecutor(args.at_once) as pool:
        jobs = {c: [pool.submit(batch, *c, seed) for seed in range(args.batches)] for c in cases}
        rows = [summary(*c, [w for job in jobs[c] for w in job.result()]) for c in cases]
    save("accuracy", {"rows": rows, "bar_coverage_percent": [93, 99]})


if __name__ == "__main__":
    main()
