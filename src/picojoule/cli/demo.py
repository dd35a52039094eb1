"""``picojoule demo``: train a tiny model for a few seconds and show where the joules went."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from typing import Any

from picojoule.cli import _terminal

_NEXT = """\
Each number carries how it was got; 'picojoule doctor' tells what would make it better here.
Next:
  picojoule run your_script.py          measure a program, unchanged
  picojoule run -o run.pj your_script.py && picojoule report run.pj --html run.html
  with pj.region("forward"): ...        name the parts of it (import picojoule as pj)"""


def main(argv: Sequence[str]) -> int:
    """Train, show the table, tell where to go next."""
    parser = argparse.ArgumentParser(
        prog="picojoule demo",
        description="Train a tiny numpy model on made-up data, with its regions measured.",
        allow_abbrev=False,
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="how long (default: 3)")
    args = parser.parse_args(argv)

    import picojoule as pj
    from picojoule.reports import table

    with pj.profile("demo") as prof:
        accuracy = train(max(0.0, args.seconds))
    _terminal.tolerate_encoding(sys.stdout)
    print(f"Two spirals, told apart by a small network: {accuracy:.1%} right.\n")
    width, color = _terminal.width(sys.stdout), _terminal.color(sys.stdout)
    print(table.render(prof.result, width=width, color=color).rstrip("\n"))
    print(f"\n{_NEXT}")
    return 0


def train(seconds: float) -> float:
    """Train for about ``seconds`` and give the accuracy on points not seen before."""
    import numpy as np

    import picojoule as pj

    rng = np.random.default_rng(0)
    with pj.region("data"):
        x, y = _spirals(rng, 4096)
        x_test, y_test = _spirals(rng, 4096)
    sizes = (x.shape[1], 128, 128, 1)
    weights = [rng.normal(0, (2 / m) ** 0.5, (m, n)) for m, n in itertools.pairwise(sizes)]
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    end = time.monotonic() + seconds
    step = 0
    while step == 0 or time.monotonic() < end:
        step += 1
        batch = rng.integers(0, len(x), 1024)
        with pj.region("forward"):
            layers = _forward(x[batch], weights)
        with pj.region("backward"):
            error = (1 / (1 + np.exp(-layers[-1])) - y[batch]) / len(batch)
            gradients = []
            for w, inputs in zip(reversed(weights), reversed(layers[:-1]), strict=True):
                gradients.append(inputs.T @ error)
                error = (error @ w.T) * (inputs > 0)
        with pj.region("update"):
            for w, (mean, square), g in zip(weights, moments, reversed(gradients), strict=True):
                mean += 0.1 * (g - mean)
                square += 0.001 * (g * g - square)
                scale = (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
                w -= 0.003 * scale * mean / (np.sqrt(square) + 1e-8)
    with pj.region("evaluate"):
        return float(np.mean((_forward(x_test, weights)[-1] > 0) == (y_test > 0.5)))


def _spirals(rng: Any, count: int) -> tuple[Any, Any]:
    """Points of two intertwined spirals with some features of each, and which spiral it is."""
    import numpy as np

    which = rng.integers(0, 2, (count, 1))
    turn = 4 * np.sqrt(rng.random((count, 1)))
    angle = turn + np.pi * which
    point = turn * np.hstack([np.cos(angle), np.sin(angle)]) / 4 + rng.normal(0, 0.02, (count, 2))
    waves = [f(k * point) for k in (1, 2, 4) for f in (np.sin, np.cos)]
    return np.hstack([point, *waves, np.ones((count, 1))]), which.astype(float)


def _forward(x: Any, weights: list[Any]) -> list[Any]:
    """The input of each layer, and at the end the output of the last."""
    import numpy as np

    layers = [x]
    for w in weights[:-1]:
        layers.append(np.maximum(layers[-1] @ w, 0))
    return [*layers, layers[-1] @ weights[-1]]
