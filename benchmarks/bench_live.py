"""CPU and wall time of one second of live estimation: 600 classes, ten minutes of readings.

Each second 10 or 50 new readings and the kernels of that second are told and the rates are asked
for, as a display would. ``time.thread_time`` counts the CPU of the one thread that does it, so
that a machine shared with others does not matter much; wall times are what was seen meanwhile.

    python benchmarks/bench_live.py [--seconds 600] [--classes 600]
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import numpy as np
from support import save

import picojoule as pj

S = 1_000_000_000
IDLE_W = 80.0
KERNELS_A_SECOND = 5_000
EDGE_STD_NS = 20_000.0


def one_second(rng: np.random.Generator, watts: np.ndarray, second: int):
    """Kernels of one second in blocks of like ones, and a function of joules in it."""
    k = len(watts)
    n = KERNELS_A_SECOND
    # A step of a program runs some tens of its kernels again and again.
    blocks = rng.integers(0, k, (n // 250 + 1, 25))
    cls = np.concatenate([rng.choice(b, 250) for b in blocks])[:n].astype(np.int32)
    length = rng.lognormal(0.0, 0.7, n)
    gap = rng.exponential(0.15, n)
    ends = np.cumsum(length + gap)
    scale = 0.999 * S / ends[-1]
    end = np.rint(second * S + ends * scale).astype(np.int64)
    begin = np.minimum(end - 1, np.rint(end - length * scale).astype(np.int64))
    at = np.concatenate([[second * S], np.stack([begin, end], 1).ravel(), [(second + 1) * S]])
    power = np.full(len(at) - 1, IDLE_W)
    power[1::2] = watts[cls]
    joules = np.concatenate([[0.0], np.cumsum(power * np.diff(at))]) * 1e-9
    return begin, end, cls, at, joules


def run(rate: int, seconds: int, classes: int) -> dict[str, object]:
    rng = np.random.default_rng(1)
    watts = rng.uniform(120.0, 650.0, classes)
    truth = np.zeros(classes)
    live = pj.LiveAttribution(classes)
    cpu, wall = np.zeros(seconds), np.zeros(seconds)
    base = 0.0
    tick, period = 0, S // rate
    last: float | None = None
    memory_at = {}
    for second in range(seconds):
        begin, end, cls, at, joules = one_second(rng, watts, second)
        truth += np.bincount(cls, (end - begin) * 1e-9 * watts[cls], classes)
        edges, values = [], []
        while tick * period < (second + 1) * S:
            true = np.clip(tick * period + rng.normal(0, EDGE_STD_NS), at[0], at[-1])
            edges.append(tick * period)
            values.append(base + float(np.interp(true, at, joules)))
            tick += 1
        base += joules[-1]
        told = edges if last is None else [edges[0] - period, *edges]
        counts = values if last is None else [last, *values]
        last = values[-1]
        told_ns = np.array(told)
        c0, w0 = time.thread_time(), time.perf_counter()
        live.update(
            told_ns[:-1],
            told_ns[1:],
            np.diff(counts),
            begin,
            end,
            cls,
            edge_std_ns=EDGE_STD_NS,
        )
        live.rates()
        cpu[second], wall[second] = time.thread_time() - c0, time.perf_counter() - w0
        if second in (seconds // 4, seconds - 1):
            memory_at[second] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    now = live.rates()
    c0 = time.thread_time()
    found = live.result()
    result_ms = (time.thread_time() - c0) * 1e3
    error = np.abs(found.energy - truth)
    lagging = np.abs(now.rate - found.rate) * found.time_s
    early, late = memory_at.values()
    return {
        "readings_a_second": rate,
        "update_cpu_ms": {
            "mean": round(float(cpu.mean() * 1e3), 3),
            "median": round(float(np.median(cpu) * 1e3), 3),
            "p99": round(float(np.quantile(cpu, 0.99) * 1e3), 3),
            "max": round(float(cpu.max() * 1e3), 3),
        },
        "update_wall_ms": {
            "mean": round(float(wall.mean() * 1e3), 3),
            "median": round(float(np.median(wall) * 1e3), 3),
            "p99": round(float(np.quantile(wall, 0.99) * 1e3), 3),
            "max": round(float(wall.max() * 1e3), 3),
        },
        "seconds_over_10_ms_cpu": int((cpu > 0.010).sum()),
        "result_cpu_ms": round(result_ms, 1),
        "energy_weighted_error": round(float(error.sum() / truth.sum()), 5),
        "rates_behind_result": round(float(lagging.sum() / truth.sum()), 5),
        "memory_growth_mib_after_first_quarter": round(late - early, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--classes", type=int, default=600)
    args = parser.parse_args()
    runs = [run(rate, args.seconds, args.classes) for rate in (10, 50)]
    save(
        "live",
        {
            "what": "one update() and rates() a second",
            "load": f"{os.getloadavg()[0]:.1f} at the end, of others too: see CPU times",
            "classes": args.classes,
            "seconds": args.seconds,
            "kernels_a_second": KERNELS_A_SECOND,
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
