"""How much slower a CPU-bound Python loop runs under ``profile()`` at default settings.

Rounds of three runs in one process, in random order: two without any profile, one with. Each run is
a hundred chunks of some 3 ms. Three figures, each the median of paired differences with its 95 %
bootstrap interval, and each beside that of the two runs that do not differ:

- ``whole``: wall time of the runs. On a shared machine the core's own speed moves by tens of
  percent and this says little.
- ``undisturbed``: wall time of the fast chunks (10th percentile), which other tenants disturb
  least: what hooks, caches and clocks of the profile would cost.
- ``descheduled``: share of wall time in which the loop's thread did not run: what the sampler's
  thread would take away.
"""

from __future__ import annotations

import random
import time
from contextlib import nullcontext

import numpy as np
from support import FakeNvml, save

import picojoule as pj

ROUNDS = 100
CHUNKS = 100


def chunk() -> float:
    begin = time.perf_counter()
    x = 0
    for i in range(60_000):
        x += i * i & 7
    return time.perf_counter() - begin


def loop() -> tuple[float, float, float]:
    """Wall seconds, those of a fast chunk, and the share of time this thread did not run."""
    cpu, wall = time.thread_time(), time.perf_counter()
    chunks = [chunk() for _ in range(CHUNKS)]
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    return wall, float(np.quantile(chunks, 0.1)), 1 - cpu / wall


def rounds(count: int) -> dict[str, np.ndarray]:
    took: dict[str, list[tuple[float, float, float]]] = {"plain": [], "again": [], "profiled": []}
    for _ in range(count):
        order = list(took)
        random.shuffle(order)
        for which in order:
            with pj.profile() if which == "profiled" else nullcontext():
                took[which].append(loop())
            time.sleep(0.25)  # until the closing tick has come and the sampler sleeps
    return {name: np.asarray(runs).T for name, runs in took.items()}


def summary(differences: np.ndarray) -> dict[str, object]:
    rng = np.random.default_rng(0)
    medians = [np.median(rng.choice(differences, len(differences))) for _ in range(2000)]
    return {
        "median_percent": round(100 * float(np.median(differences)), 3),
        "ci95_percent": [round(100 * float(q), 3) for q in np.quantile(medians, [0.025, 0.975])],
    }


def main() -> None:
    random.seed(1)
    fake = FakeNvml("latency_us=20;tick_ms=100")
    loop()
    took = rounds(ROUNDS)
    assert fake.library.fake_nvml_calls() > 0
    plain, again, profiled = took["plain"], took["again"], took["profiled"]
    between = 0.5 * (plain + again)
    figures = {}
    for i, name in enumerate(("whole", "undisturbed", "descheduled")):
        relative = i < 2
        a = again[i] / plain[i] - 1 if relative else again[i] - plain[i]
        b = profiled[i] / between[i] - 1 if relative else profiled[i] - between[i]
        figures[name] = {
            "without_against_without": summary(a),
            "profile_against_without": summary(b),
        }
    save(
        "slowdown",
        {
            "meters": "fake NVML at 20 us a call and 100 ms ticks, cpu_estimate",
            **figures,
            "rounds": ROUNDS,
            "run_s": round(float(np.median(plain[0])), 3),
            "bar_percent": 0.5,
        },
    )


if __name__ == "__main__":
    main()
