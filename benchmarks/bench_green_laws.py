"""How often the 95 % intervals of the laws of ``picojoule.green`` hold, on studies of known truth.

Each case simulates many studies (points around a law, or the best of many trials at each cost) and
counts how often an interval holds the truth it is of. The bar is 93 to 97 %. Writes
``results/green_laws.json``; a percentile bootstrap of the same studies stands beside it.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import support

from picojoule.green import fits, laws

STUDIES = 1000
BOOTSTRAPPED = 400
RESAMPLES = 1000
DELTA = 0.01


@dataclass(frozen=True)
class Case:
    name: str
    law: str
    points: int
    noise: float
    decades: float = 1.5
    alpha: float = 0.5
    on: str = "family"
    shape: str = "normal"
    trials: int = 1


CASES = [
    *(
        Case(f"log, {n} points, noise {s}", "log", n, s)
        for n in (5, 6, 8, 12, 30) for s in (0.004, 0.01)
    ),
    Case("log, 6 points, skewed noise", "log", 6, 0.01, shape="skewed"),
    Case("log, 6 points, heavy tails", "log", 6, 0.006, shape="heavy"),
    Case("log, 6 points within half a decade", "log", 6, 0.002, decades=0.5),
    *(
        Case(f"saturating, {n} points, noise {s}", "saturating", n, s, decades=2.0)
        for n in (5, 6, 8, 12, 30) for s in (0.001, 0.004)
    ),
    # So noisy that many are told no price; those that are, are the lucky ones.
    *(
        Case(f"saturating, {n} points, noise 0.01", "saturating", n, 0.01, decades=2.0)
        for n in (5, 6)
    ),
    Case("saturating, 6 points, alpha 0.2", "saturating", 6, 0.002, decades=2.0, alpha=0.2),
    Case("saturating, 6 points, alpha 1", "saturating", 6, 0.002, decades=2.0, alpha=1.0),
    *(
        Case(f"front, {n} costs x {m} trials, {shape} spread", "log", n, 0.03, decades=2.0,
             on="front", shape=shape, trials=m)
        for n, m in ((6, 8), (8, 20), (20, 10)) for shape in ("normal", "skewed")
    ),
    *(
        Case(f"front, {m} trials of any cost, {shape} spread", "log", 0, 0.03, decades=2.0,
             on="front", shape=shape, trials=m)
        for m in (80, 400) for shape in ("normal", "skewed")
    ),
]  # fmt: skip


def noise_of(case: Case, rng: np.random.Generator, n: int) -> np.ndarray:
    if case.shape == "skewed":  # a bad choice of hyper-parameters only ever costs score
        return -rng.exponential(case.noise, n)
    if case.shape == "heavy":
        return case.noise * rng.standard_t(4, n)
    return rng.normal(0, case.noise, n)


def truth(case: Case, cost: np.ndarray | float) -> np.ndarray | float:
    if case.law == "log":
        return 0.6 + 0.08 * np.log10(cost)
    return 0.95 - 0.35 * np.asarray(cost) ** -case.alpha


def study(case: Case, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if case.points == 0:
        cost = 10 ** rng.uniform(0, case.decades, case.trials)
    else:
        levels = np.geomspace(1, 10**case.decades, case.points)
        cost = np.repeat(levels * np.exp(rng.normal(0, 0.05, case.points)), case.trials)
    if case.trials > 1:  # trials at one cost differ a little in what they take
        cost = cost * np.exp(rng.normal(0, 0.01, len(cost)))
    return cost, truth(case, cost) + noise_of(case, rng, len(cost))


def count(case: Case) -> dict:
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    held: Counter[str] = Counter()
    priced = priced_held = boot = boot_held = 0
    for i in range(STUDIES):
        cost, score = study(case, rng)
        law = laws.fit(cost, score, case.law, on=case.on)
        last, far = float(law.cost[-1]), 3.0 * float(law.cost[-1])
        for name, (low, high), true in targets(case, law, last, far):
            held[name] += low <= true <= high
        price = true_factor(case, last)
        try:
            step = law.next_point(DELTA)
        except laws.Refusal:
            pass
        else:
            priced += 1
            priced_held += step.factor_low <= price <= step.factor_high
        if i < BOOTSTRAPPED and case.law == "log":
            low, high = percentile(law.cost, law.score, rng)
            boot += 1
            boot_held += low <= 0.08 <= high
    out = {
        "studies": STUDIES,
        "coverage": {name: n / STUDIES for name, n in held.items()},
        "prices told": priced / STUDIES,
        "coverage of the prices told": priced_held / priced if priced else None,
    }
    if boot:
        out["coverage of a percentile bootstrap of the slope"] = boot_held / boot
    return out


def targets(case: Case, law: laws.Law, last: float, far: float):
    yield "next point", law.curve.factor_interval(last, DELTA), true_factor(case, last)
    # The front's height depends on how many trials there are at each cost; its slope does not.
    if case.law == "log":
        yield "slope", law.intervals()["b"], 0.08
        if case.on != "front" and case.shape != "skewed":
            yield "score at 3x", law.predict_interval(far), float(truth(case, far))
    else:
        yield "top", law.intervals()["top"], 0.95
        yield "alpha", law.intervals()["alpha"], case.alpha
        yield "score at 3x", law.predict_interval(far), float(truth(case, far))


def true_factor(case: Case, last: float) -> float:
    if case.law == "log":
        return fits.log_cost_factor(DELTA, 0.08)
    return fits.power_law_cost_factor(1 - float(truth(case, last)), DELTA, 0.05, case.alpha)


def percentile(
    cost: np.ndarray, score: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    x = np.log10(cost)
    drawn = rng.integers(0, len(x), (RESAMPLES, len(x)))
    xs, ys = x[drawn], score[drawn]
    dx = xs - xs.mean(axis=1, keepdims=True)
    sxx = (dx * dx).sum(axis=1)
    slopes = (dx * ys).sum(axis=1)[sxx > 1e-9] / sxx[sxx > 1e-9]
    low, high = np.quantile(slopes, (0.025, 0.975))
    return float(low), float(high)


def main() -> int:
    with ProcessPoolExecutor(max_workers=2) as pool:
        results = dict(zip([c.name for c in CASES], pool.map(count, CASES), strict=True))
    shares = [v for r in results.values() for v in r["coverage"].values()]
    told = [r["coverage of the prices told"] for r in results.values() if r["prices told"] > 0.9]
    boot = "coverage of a percentile bootstrap of the slope"
    six = [r[boot] for name, r in results.items() if "6 points" in name and boot in r]
    summary = {
        "intervals": len(shares),
        "least": min(shares), "mean": math.fsum(shares) / len(shares), "most": max(shares),
        "within 93 to 97 %": sum(0.93 <= s <= 0.97 for s in shares),
        "least of the prices told, where nine of ten studies had one": min(told),
        "standard error of one figure": math.sqrt(0.95 * 0.05 / STUDIES),
        "percentile bootstrap, six points": math.fsum(six) / len(six),
    }  # fmt: skip
    support.save("green_laws", {"summary": summary, "cases": results})
    for name, r in results.items():
        print(f"{name:48}", {k: round(v, 3) for k, v in r["coverage"].items()}, r["prices told"])
    print(json.dumps(summary, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
