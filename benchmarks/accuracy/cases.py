"""The grid: workloads S1 to S10 of the evaluation protocol, each with a sensor that it suits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import picojoule as pj


@dataclass(frozen=True)
class Case:
    """A simulated experiment; ``seconds`` is how long it is recorded."""

    workload: str
    sensor: str
    edges: Any = 20e-6
    parameters: dict[str, Any] = field(default_factory=dict)
    turns: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # seed by seed
    what: str = ""
    most_s: float = np.inf  # nothing longer is worth its time
    most_seeds: int = 1000
    dear: bool = False  # comes last, where time may run out

    def run(self, seconds: float, seed: int):
        """The simulation of that seed."""
        turn = {name: values[seed % len(values)] for name, values in self.turns.items()}
        return pj.simulate.run(
            self.workload, self.sensor, duration_s=seconds, seed=seed, edges=self.edges,
            **self.parameters, **turn,
        )  # fmt: skip


ALIASES = {"ratio": (2 / 3, 1.0, 5 / 4)}

CASES: dict[str, Case] = {
    "S1": Case("layered", "gh100_instant", what="layered training, 25 ms window every 100 ms"),
    "S1 counter": Case(
        "layered", "nvml_energy", 50e-6, what="layered training, energy counter of 100 ms"
    ),
    "S1 CPU": Case(
        "layered",
        "rapl",
        50e-6,
        parameters={"power_w": (20.0, 150.0), "idle_w": 15.0},
        what="layered work of a CPU, energy counter of 1 ms",
        most_s=60.0,
        most_seeds=20,
    ),
    "S2": Case("identical", "gh100_instant", what="identical layers"),
    "S3": Case("decode", "gh100_instant", what="LLM decode, kernels of 5 to 50 us", dear=True),
    "S4": Case(
        "alternate",
        "gh100_instant",
        parameters={"spread": 0.02},
        what="two kernels that take turns, 10 ms together",
    ),
    "S5": Case(
        "drift",
        "gh100_instant",
        parameters={"clock_std": 0.03, "cap_w": 420.0},
        what="warming up, clocks that move (and are told), at a power cap now and then",
        dear=True,
    ),
    "S5 warming": Case("drift", "gh100_instant", what="warming up only"),
    "S6": Case("streams", "gh100_instant", what="two streams at once"),
    "S7": Case(
        "aliasing",
        "gh100_instant",
        parameters={"power_cv": 0.5},
        turns=ALIASES,
        what="steps in a ratio to the sensor's period; rates as spread as is assumed",
    ),
    "S7 even": Case(
        "aliasing",
        "gh100_instant",
        turns=ALIASES,
        what="the same, of rates that are spread evenly, and less",
    ),
    "S8": Case(
        "faults",
        "gh100_instant",
        what="missed ticks, stalls, a reset, clocks 20 ppm apart and a step of 0.1 ms",
    ),
    "S9": Case(
        "wrong_sensor", "gh100_instant", what="the reader is wrong about the sensor", most_seeds=30
    ),
    "S10": Case(
        "wrong_prior", "gh100_instant", what="priors wrong by a factor of two", most_seeds=30
    ),
}
