"""Train a small network on handwritten digits and see where the joules go.

The digits come with scikit-learn; the network is plain numpy. Try:

    picojoule run examples/train_digits.py
    python examples/train_digits.py --epochs 30
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import picojoule as pj

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("This example needs scikit-learn. Install it with: pip install '.[demo]'")

Array = NDArray[np.float32]

LAYERS = (64, 512, 512, 10)  # 8 x 8 pixels in, ten digits out
BATCH = 128
LEARNING_RATE = 0.05
MOMENTUM = 0.9


@dataclass
class Digits:
    """Images as rows of 64 brightnesses between 0 and 1, and which digit each of them is."""

    images: Array
    labels: NDArray[np.int64]

    @classmethod
    def load(cls, rng: np.random.Generator) -> tuple[Digits, Digits]:
        """Three quarters to train on and one quarter to test on, well mixed."""
        images, labels = load_digits(return_X_y=True)
        order = rng.permutation(len(labels))
        images, labels = (images[order] / 16).astype(np.float32), labels[order]
        cut = 3 * len(labels) // 4
        return cls(images[:cut], labels[:cut]), cls(images[cut:], labels[cut:])


@dataclass
class Layer:
    """An affine map, and the velocities of its weights for momentum."""

    weights: Array
    bias: Array
    weights_speed: Array = field(init=False)
    bias_speed: Array = field(init=False)

    def __post_init__(self) -> None:
        self.weights_speed = np.zeros_like(self.weights)
        self.bias_speed = np.zeros_like(self.bias)

    @classmethod
    def random(cls, inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
        """Small random weights that keep the signal's size (He's rule)."""
        scale = np.float32(np.sqrt(2 / inputs))
        weights = scale * rng.standard_normal((inputs, outputs), dtype=np.float32)
        return cls(weights, np.zeros(outputs, np.float32))


def forward(layers: list[Layer], images: Array) -> list[Array]:
    """What goes into each layer; the last one is the probability of each digit."""
    values = [images]
    for layer in layers[:-1]:
        values.append(np.maximum(values[-1] @ layer.weights + layer.bias, 0))
    scores = values[-1] @ layers[-1].weights + layers[-1].bias
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return [*values, odds / odds.sum(axis=1, keepdims=True)]


def backward(
    layers: list[Layer], values: list[Array], labels: NDArray[np.int64]
) -> list[tuple[Array, Array]]:
    """How the mean cross entropy changes with the weights and the bias of each layer."""
    error = values[-1].copy()
    error[np.arange(len(labels)), labels] -= 1
    error /= np.float32(len(labels))
    gradients: list[tuple[Array, Array]] = []
    for layer, inputs in zip(reversed(layers), reversed(values[:-1]), strict=True):
        gradients.append((inputs.T @ error, error.sum(axis=0)))
        error = (error @ layer.weights.T) * (inputs > 0)
    return gradients[::-1]


def update(layers: list[Layer], gradients: list[tuple[Array, Array]]) -> None:
    """One step downhill, with momentum."""
    for layer, (weights, bias) in zip(layers, gradients, strict=True):
        layer.weights_speed *= MOMENTUM
        layer.weights_speed -= LEARNING_RATE * weights
        layer.weights += layer.weights_speed
        layer.bias_speed *= MOMENTUM
        layer.bias_speed -= LEARNING_RATE * bias
        layer.bias += layer.bias_speed


def train(epochs: int, seed: int = 0) -> float:
    """Train for ``epochs`` and give the share of test digits that are read correctly."""
    rng = np.random.default_rng(seed)
    with pj.region("data"):
        training, test = Digits.load(rng)
    layers = [Layer.random(inputs, outputs, rng) for inputs, outputs in pairwise(LAYERS)]
    for _ in range(epochs):
        order = rng.permutation(len(training.labels))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            with pj.region("forward"):
                values = forward(layers, training.images[chosen])
            with pj.region("backward"):
                gradients = backward(layers, values, training.labels[chosen])
            with pj.region("update"):
                update(layers, gradients)
    with pj.region("eval"):
        guesses = forward(layers, test.images)[-1].argmax(axis=1)
    return float(np.mean(guesses == test.labels))


def main() -> None:
    """Train inside a profile; print the accuracy and then the profile."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=150)
    epochs = parser.parse_args().epochs
    with pj.profile("train digits") as prof:
        accuracy = train(epochs)
    print(f"test accuracy: {accuracy:.2%}")
    print(prof)


if __name__ == "__main__":
    main()
