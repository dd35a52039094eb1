#!/usr/bin/env python3
"""How well joules of kernels are attributed, on simulated sensors of which all truth is known.

    python benchmarks/accuracy/run.py              # one to two hours on two cores
    python benchmarks/accuracy/run.py --quick      # a few seeds, to see that it works

Writes results/attribution.json and results/attribution.svg. Error is energy-weighted: the sum of
what classes are off by, over all their joules. Coverage is how often a 95 % interval (relative: of
one board) holds the truth, over all classes and seeds; that of claims, over classes that are said
to be identified and sums of groups.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict, deque
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import plot  # noqa: E402
from cases import CASES, Case  # noqa: E402
from methods import METHODS, Found, overlap_s  # noqa: E402
from support import RESULTS, save  # noqa: E402

import picojoule as pj  # noqa: E402

DURATIONS_S = (10.0, 30.0, 60.0, 200.0, 600.0)
JUDGED_S = (60.0, 600.0)  # with all seeds; the others are for the curves
FEW, RIVALS = 8, 4  # seeds for the curves, and seeds of other methods


def judge(case: Case, seconds: float, seed: int, names: tuple[str, ...]) -> dict[str, dict]:
    """What each method makes of one simulated recording."""
    sim = case.run(seconds, seed)
    truth = sim.truth.energy
    out = {}
    for name in names:
        found = METHODS[name](sim)
        if found is None:  # nothing for this sensor
            continue
        off = np.abs(found.energy - truth)
        row = {"error": float(off.sum() / truth.sum()), "classes": len(truth)}
        row["median"] = float(np.median(off[truth > 0] / truth[truth > 0]))
        if found.low is not None:
            row["held"] = int(((found.low <= truth) & (truth <= found.high)).sum())
            row["width"] = float((found.high - found.low).sum() / truth.sum())
            row["claims"], row["claims_held"] = claims(found, truth)
            row["identified"] = int(found.identified.sum())
            row["residual"] = found.residual
            row["seconds"] = found.seconds
        out[name] = row
    return out


def claims(found: Found, truth: np.ndarray) -> tuple[int, int]:
    """What is said to be known: identified classes, and sums of groups. How many, how many hold."""
    held = (found.low <= truth) & (truth <= found.high)
    grouped = np.zeros(len(truth), bool)
    n = good = 0
    for group in found.groups:
        grouped[group] = True
        std = np.sqrt(max(0.0, found.cov[np.ix_(group, group)].sum()))
        n += 1
        good += abs(found.energy[group].sum() - truth[group].sum()) <= 1.959964 * std
    alone = found.identified & ~grouped
    return n + int(alone.sum()), int(good + held[alone].sum())


def gather(rows: list[dict]) -> dict[str, float]:
    """Figures over all seeds of one cell of the grid."""
    errors = np.array([r["error"] for r in rows])
    out = {
        "seeds": len(rows),
        "error_percent": 100 * errors.mean(),
        "error_p95_percent": 100 * np.quantile(errors, 0.95),
        "class_median_percent": 100 * np.median([r["median"] for r in rows]),
    }
    if "held" in rows[0]:
        classes = np.array([r["classes"] for r in rows])
        held = np.array([r["held"] for r in rows])
        out["coverage_percent"] = 100 * held.sum() / classes.sum()
        # Classes of one recording share its chances: seeds are what is independent.
        out["coverage_std_percent"] = 100 * np.std(held / classes) / np.sqrt(len(rows))
        n = sum(r["claims"] for r in rows)
        if n > 0:
            out["claims_coverage_percent"] = 100 * sum(r["claims_held"] for r in rows) / n
        out["interval_percent"] = 100 * np.mean([r["width"] for r in rows])
        out["identified_percent"] = 100 * np.sum([r["identified"] for r in rows]) / classes.sum()
        out["residual_percent"] = 100 * float(np.nanmedian([r["residual"] for r in rows]))
        out["seconds"] = float(np.median([r["seconds"] for r in rows]))
    return {k: float(f"{v:.4g}") for k, v in out.items()}


def grid(pool, seeds: int, rivals: int, only: list[str], minutes: float) -> list[dict]:
    """All cells, seed by seed: where time runs out, each has about as many."""
    until = time.monotonic() + 60 * minutes
    few = min(seeds, FEW)
    wanted = []
    for seed in range(seeds):
        for seconds in DURATIONS_S:
            if seed >= (seeds if seconds in JUDGED_S else few):
                continue
            wanted += [
                (name, seconds, seed)
                for name, case in CASES.items()
                if (not only or name in only) and seconds <= case.most_s and seed < case.most_seeds
            ]
    # What all is judged by first, the dear ones last.
    wanted.sort(key=lambda w: (w[1] > 60) * (1 + (w[2] >= few) * (1 + CASES[w[0]].dear)))
    every, done = len(wanted), 0
    cells: dict[tuple, list[dict]] = defaultdict(list)
    running: deque = deque()
    while wanted or running:
        while wanted and len(running) < 8 and time.monotonic() < until:
            name, seconds, seed = wanted.pop(0)
            names = tuple(METHODS) if seed < rivals else tuple(METHODS)[:2]
            job = pool.submit(judge, CASES[name], seconds, seed, names)
            running.append((name, seconds, job))
        if not running:
            break
        name, seconds, job = running.popleft()
        done += 1
        if done % 100 == 0:
            print(f"{done} of {every}", file=sys.stderr, flush=True)
        for method, row in job.result().items():
            cells[name, seconds, method].append(row)
    return [
        {"case": name, "what": CASES[name].what, "seconds_recorded": s, "method": m, **gather(rows)}
        for (name, s, m), rows in cells.items()
    ]


def alternation(pool, seeds: int) -> list[dict]:
    """S4 swept: error of the difference of two kernels beside the least that any method can have.

    Cramer-Rao bound of the solver's own linear model with the true noise, no prior.
    """
    periods = np.geomspace(1e-5, 1.0, 11)
    jobs = {p: [pool.submit(one_alternation, float(p), s) for s in range(seeds)] for p in periods}
    out = []
    for period, done in jobs.items():
        rows = [j.result() for j in done]
        rms = float(np.sqrt(np.mean([r["off"] ** 2 for r in rows])))
        bound = float(np.sqrt(np.mean([r["bound"] ** 2 for r in rows])))
        out.append(
            {
                "period_s": float(f"{period:.3g}"),
                "off_w": float(f"{rms:.4g}"),
                "bound_w": float(f"{bound:.4g}"),
                "ratio": float(f"{rms / bound:.3g}"),
                "grouped_percent": 100 * float(np.mean([r["grouped"] for r in rows])),
                "held_percent": 100 * float(np.mean([r["held"] for r in rows])),
            }
        )
    return out


def one_alternation(period: float, seed: int) -> dict:
    edges, noise = 1e-9, 0.5
    spread = 0.05
    sim = pj.simulate.run(
        "alternate", "gh100_instant", duration_s=60.0, seed=seed, edges=edges, period_s=period,
        spread=spread,
    )  # fmt: skip
    a = pj.attribute(**sim.arguments())
    rows = overlap_s(sim, sim.begin_ns.astype(float), sim.end_ns.astype(float))[:, :2]
    window = (sim.end_ns - sim.begin_ns) * 1e-9
    scaled = rows / (noise * window)[:, None]
    cov = np.linalg.pinv(scaled.T @ scaled)
    contrast = np.array([1.0, -1.0])
    truth = sim.truth.energy
    low, high = a.interval().T
    return {
        "off": float((a.rate - sim.truth.rate) @ contrast),
        "bound": float(np.sqrt(contrast @ cov @ contrast)),
        "grouped": bool(a.groups) or not a.identified.all(),
        "held": float(((low <= truth) & (truth <= high)).mean()),
    }


def bars(seeds: int) -> list[dict]:
    """The cases that the state of the art is told for, with what they must reach."""
    rng_cases = {
        "40 classes, counter of 20 ms, priors off by 20 %": (True, 0.0),
        "40 classes, counter of 20 ms": (False, 0.0),
        "40 classes, counter of 20 ms, 5 % warm-up, priors off by 20 %": (True, 0.05),
    }
    out = []
    sensor = pj.simulate.SENSORS["nvml_energy"].but(period_s=0.02)
    for name, (told, warmup) in rng_cases.items():
        errors, held = [], []
        for seed in range(seeds):
            parameters = {
                "n_classes": 40, "step_s": 0.12, "power_w": (120.0, 650.0), "layers": 20,
            }  # fmt: skip
            if warmup:
                workload = "drift"
                parameters |= {"warmup": warmup, "thermal": ()}
            else:
                workload = "layered"
            sim = pj.simulate.run(
                workload, sensor, duration_s=60.0, seed=seed, edges=50e-6, **parameters
            )
            found = METHODS["picojoule, priors off by 20 %" if told else "picojoule"](sim)
            truth = sim.truth.energy
            errors.append(np.abs(found.energy - truth).sum() / truth.sum())
            held.append(((found.low <= truth) & (truth <= found.high)).mean())
        out.append(
            {
                "case": name,
                "seeds": seeds,
                "error_percent": float(f"{100 * np.mean(errors):.4g}"),
                "coverage_percent": float(f"{100 * np.mean(held):.4g}"),
            }
        )
    return out


def one_profile(sensor: str, seconds: float, seed: int) -> dict:
    """A simulated recording, read as a user reads his: the recorder's clock, totals, the table."""
    sim = pj.simulate.run("layered", sensor, duration_s=seconds, seed=seed, edges="locked")
    with tempfile.TemporaryDirectory() as folder:
        sim.save(Path(folder) / "run.pj")
        profile = pj.load(Path(folder) / "run.pj")
        found = {k.name: k.energy for k in profile.kernels}
        total = profile.total
    truth = sim.truth_between(0, sim.duration_ns)
    ran = [(found[n], t) for n, t in zip(sim.work.names, truth.energy, strict=True) if n in found]
    off = sum(abs(e.joules - t) for e, t in ran)
    held = [e.interval(0.95)[0] <= t <= e.interval(0.95)[1] for e, t in ran]
    low, high = total.interval(0.95)
    return {
        "error": off / sum(t for _, t in ran),
        "held": float(np.mean(held)),
        "total": abs(total.joules / truth.total - 1.0),
        "total_held": low <= truth.total <= high,
    }


def profiles(pool, seeds: int) -> list[dict]:
    sensors = ("nvml_energy", "gh100_instant", "ga10x_ad10x_instant", "volta_pascal")
    out = []
    for sensor in sensors:
        for seconds in (10.0, 60.0):
            rows = list(pool.map(one_profile, [sensor] * seeds, [seconds] * seeds, range(seeds)))
            part = {name: 100 * float(np.mean([r[name] for r in rows])) for name in rows[0]}
            out.append(
                {
                    "sensor": sensor,
                    "seconds_recorded": seconds,
                    "seeds": seeds,
                    "error_percent": float(f"{part['error']:.3g}"),
                    "coverage_percent": float(f"{part['held']:.4g}"),
                    "total_error_percent": float(f"{part['total']:.3g}"),
                    "total_coverage_percent": float(f"{part['total_held']:.4g}"),
                }
            )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seeds; writes nothing")
    parser.add_argument("--only", nargs="*", default=[], help="cases")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=120, help="for the grid, at most")
    args = parser.parse_args()
    seeds = 2 if args.quick else args.seeds
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        figures = {
            "bars": pool.submit(bars, min(seeds, 40)).result(),
            "alternation": alternation(pool, min(seeds, 20)),
            "profiles": profiles(pool, min(seeds, 100)),
            "grid": grid(pool, seeds, RIVALS, args.only, args.minutes),
        }
    if args.quick:
        for part in figures.values():
            for row in part:
                print(row)
        return
    save("attribution", figures)
    (RESULTS / "attribution.svg").write_text(plot.curves(figures["grid"]), encoding="utf-8")


if __name__ == "__main__":
    main()
