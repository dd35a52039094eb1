"""The sampler's cost: at a fixed 1 kHz beside a C loop, and locked to a 100 ms sensor's ticks."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from support import ROOT, FakeNvml, compile_c, now_ns, save, thread_cpu_s

import picojoule as pj

SECONDS = 5.0


def fixed_rate(fake: FakeNvml, loop: Path) -> dict[str, float]:
    fake.configure("latency_us=20;tick_ms=100")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(fake.folder), "FAKE_NVML": "latency_us=20"}
    ours, theirs = [], []
    for _ in range(5):
        begin = thread_cpu_s("picojoule")
        with pj.profile(sources=["nvml"], rate_hz=1000) as prof:
            begin = thread_cpu_s("picojoule")
            time.sleep(SECONDS)
            spent = thread_cpu_s("picojoule") - begin
        ours.append(spent / prof.overhead["polls"])
        done = subprocess.run(
            [loop, "1000", str(SECONDS)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        cpu_s, calls = done.stdout.split()
        theirs.append(float(cpu_s) / int(calls))
    return {
        "sampler_us_a_poll": round(1e6 * statistics.median(ours), 2),
        "c_loop_us_a_poll": round(1e6 * statistics.median(theirs), 2),
        "ratio": round(statistics.median(ours) / statistics.median(theirs), 3),
        "bar_ratio": 1.15,
    }


def tick_locked(fake: FakeNvml, jitter_us: int) -> dict[str, float]:
    fake.configure(f"latency_us=20;tick_ms=100;jitter_us={jitter_us}")
    with pj.profile(sources=["nvml"]):
        time.sleep(3.0)  # the lock is found
    with pj.profile(sources=["nvml"]) as prof:
        begin = thread_cpu_s("picojoule")
        since = now_ns()
        time.sleep(20.0)
        share = (thread_cpu_s("picojoule") - begin) / ((now_ns() - since) * 1e-9)
    ticks = prof._session.trace().ticks
    ticks = ticks[(ticks["id"] == 0) & (ticks["a"] > since)]
    raw = [(int(t["a"]) + int(t["b"])) // 2 - fake.latest_tick_ns(0, int(t["a"])) for t in ticks]
    readings = prof.readings
    readings = readings[(readings["channel"] == 0) & (readings["end_ns"] > since)]
    fitted = [
        int(r["end_ns"]) - fake.latest_tick_ns(0, int(r["end_ns"]) + 1_000_000) for r in readings
    ]
    return {
        "jitter_us": jitter_us,
        "ticks": len(ticks),
        "median_error_us": round(float(np.median(np.abs(raw))) * 1e-3, 1),
        "median_error_fitted_us": round(float(np.median(np.abs(fitted))) * 1e-3, 1),
        "polls_a_tick": round(prof.overhead["polls"] / max(1, len(ticks)), 2),
        "share_of_a_core": round(share, 5),
        "missed": prof.overhead["ticks_missed"],
        "bar_error_us": 100,
        "bar_share": 0.003,
    }


def main() -> None:
    fake = FakeNvml()
    loop = compile_c(
        ROOT / "benchmarks" / "native" / "poll_loop.c", Path(tempfile.mkdtemp()) / "loop", "-ldl"
    )
    save(
        "sampler",
        {
            "fixed_rate_1_khz": fixed_rate(fake, loop),
            "tick_locked": [tick_locked(fake, 0), tick_locked(fake, 50)],
        },
    )


if __name__ == "__main__":
    main()
