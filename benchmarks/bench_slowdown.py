"""How much slower a CPU-bound Python loop runs under ``profile()`` at default settings.

Pairs of runs in one process, in random order, the loop pinned to one core; the figure is the median
of the paired ratios, its noise that of the same pairs without any profile (A/A).
"""

from __future__ import annotations

import random
import statistics
import time
from contextlib import nullcontext

import numpy as np
from support import FakeNvml, save

import picojoule as pj


def loop() -> float:
    begin = time.perf_counter()
    x = 0
    for i in range(2_000_000):
        x += i * i & 7
    return time.perf_counter() - begin


def paired(make_a, make_b, pairs: int) -> list[float]:
    ratios = []
    for _ in range(pairs):
        took = {}
        order = ["a", "b"]
        random.shuffle(order)
        for which in order:
            with (make_a if which == "a" else make_b)():
                took[which] = loop()
            time.sleep(0.01)
        ratios.append(took["b"] / took["a"] - 1)
    return ratios


def summary(ratios: list[float]) -> dict[str, float]:
    rng = np.random.default_rng(0)
    medians = [np.median(rng.choice(ratios, len(ratios))) for _ in range(2000)]
    return {
        "median_percent": round(100 * statistics.median(ratios), 3),
        "ci95_percent": [round(100 * float(q), 3) for q in np.quantile(medians, [0.025, 0.975])],
    }


def main() -> None:
    random.seed(1)
    fake = FakeNvml("latency_us=20;tick_ms=100")
    loop()
    idle = paired(nullcontext, nullcontext, 60)
    profiled = paired(nullcontext, lambda: pj.profile(), 60)
    assert fake.library.fake_nvml_calls() > 0
    save(
        "slowdown",
        {
            "meters": "fake NVML at 20 us a call and 100 ms ticks, cpu_estimate",
            "without_against_without": summary(idle),
            "profile_against_without": summary(profiled),
            "pairs": 60,
            "bar_percent": 0.5,
        },
    )


if __name__ == "__main__":
    main()
