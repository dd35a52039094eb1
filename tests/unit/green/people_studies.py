"""Studies for the tests of blocks and reports: true costs are known by construction."""

from __future__ import annotations

import math

import numpy as np

from picojoule.green.model import Run, Study

HOSTILE = (
    "<script>alert(1)</script> | `x` $y$ _z_ \\end{table} % # & ~ ^ \"q\" 'p' "
    "\n---\nkey: [a]: \x1b[31m\u202e {{x}} =cmd()"
)


def run(i, **fields):
    base = {
        "uid": f"{i:032x}",
        "study": "resnets",
        "role": "tune",
        "config": {"lr": i},
        "config_hash": f"{i:016x}",
        "begin_wall_s": 1.7e9 + 1000 * i,
        "duration_s": 600.0 + i,
        "devices": ("GPU-1",),
        "device_count": 1.0,
        "device_name": "NVIDIA A100 SXM4 40GB",
        "energy_j": 1e6 * (1 + i),
        "energy_low_j": 0.97e6 * (1 + i),
        "energy_high_j": 1.03e6 * (1 + i),
        "energy_provenance": "measured",
        "energy_basis": "NVML counter, gpu:0",
        "flops": 1e17 * (1 + i),
        "examples": 5e6,
        "dataset": "digits",
        "dataset_size": 5e4,
        "parameters": 2.5e7,
        "versions": {"python": "3.12.1"},
    }
    return Run(**{**base, **fields})


def family(n=12, noise=0.0, seed=0, name="resnets", **settings):
    """Runs of one family: accuracy = 0.5 + 0.1 log10(energy / 1e6 J), plus noise."""
    rng = np.random.default_rng(seed)
    runs = []
    for i in range(n):
        energy = 1e6 * 10 ** (1.8 * i / max(1, n - 1))
        score = 0.5 + 0.1 * math.log10(energy / 1e6) + noise * rng.standard_normal()
        runs.append(
            run(
                i,
                study=name,
                role="final" if i == n - 1 else "tune",
                energy_j=energy,
                energy_low_j=0.97 * energy,
                energy_high_j=1.03 * energy,
                scores={"accuracy": score},
                score_larger_is_better={"accuracy": True},
            )
        )
    return Study(name, runs, {"region": "GBR", "pue": 1.2, **settings})


def with_failures():
    """The family, with runs that failed, were killed and were pruned."""
    base = family(noise=0.004)
    more = [
        run(100, status="failed", energy_j=3e6, energy_low_j=2.9e6, energy_high_j=3.1e6),
        run(101, status="lost", energy_j=2e6, energy_low_j=1.9e6, energy_high_j=2.1e6),
        run(102, status="pruned", energy_j=1e6, energy_low_j=0.97e6, energy_high_j=1.03e6),
        run(103, role="debug", energy_j=5e5, energy_low_j=4.9e5, energy_high_j=5.1e5),
    ]
    settings = {**base.settings, "search": "random", "price_per_device_hour": "2 USD/h"}
    return Study(base.name, [*base, *more], settings)


def loso(energy=True):
    """Four folds of one configuration, 11.5 h each on one node."""
    sites = ("ITCL", "BrainSigns", "Audeering", "Cambridge")
    runs = [
        run(
            i,
            study="workingage-loso",
            role="final",
            config={"model": "cnn-lstm"},
            config_hash="c" * 16,
            fold=site,
            duration_s=11.5 * 3600,
            device_name="node with one GPU" if energy else "",
            energy_j=1.2e7 if energy else math.nan,
            energy_low_j=1.1e7 if energy else math.nan,
            energy_high_j=1.3e7 if energy else math.nan,
            energy_provenance="modelled" if energy else "estimated",
            energy_basis="rated power" if energy else "no power record; device not named",
            scores={"ccc_valence": (0.4, 0.5, 0.45, 0.55)[i]},
            score_larger_is_better={"ccc_valence": True},
            flops=math.nan,
            examples=math.nan,
        )
        for i, site in enumerate(sites)
    ]
    return Study("workingage-loso", runs)


def hostile():
    """Every name is an attack."""
    base = with_failures()
    runs = [
        run(
            i,
            study=HOSTILE,
            name=HOSTILE,
            device_name=HOSTILE,
            host=HOSTILE,
            error=HOSTILE,
            fold=HOSTILE,
            energy_basis=HOSTILE,
            energy_j=r.energy_j,
            energy_low_j=r.energy_low_j,
            energy_high_j=r.energy_high_j,
            role=r.role,
            scores={f"{HOSTILE}{k}": v for k, v in r.scores.items()},
        )
        for i, r in enumerate(base)
    ]
    return Study(HOSTILE, runs, {"region": "GBR", "pue": 1.2})


def empty():
    """No runs."""
    return Study("empty", [])


def bare():
    """One run of which nothing is known."""
    return Study("bare", [Run("0" * 32, "bare")])


EVERY = {
    "family": family,
    "failures": with_failures,
    "loso": loso,
    "loso unknown": lambda: loso(energy=False),
    "hostile": hostile,
    "bare": bare,
    "empty": empty,
}
