"""What is wrong in a card, and where."""

from __future__ import annotations

from dataclasses import dataclass

#: Rule -> what it looks for.
RULES = {
    "intensity": "g of CO2e per kWh that no electricity grid has (outside 5 to 1100)",
    "energy": "an energy that the devices named cannot have drawn: below idle, above nameplate",
    "grams": "kilograms where grams belong, or the other way round; Wh and kWh alike",
    "recompute": "a product or quotient that is not what the card says it is",
    "pue": "PUE counted twice, or counted in one of two figures that are given as the same",
    "mac-flop": "multiply-accumulates called FLOP (1 MAC = 2 FLOP)",
    "sparse-peak": "a peak with structured sparsity, or of another type, taken for the dense one",
    "market-based": "certificates or PPAs counted in a figure that stands for location-based",
    "offset": "offsets subtracted from emissions",
    "price": "a price that the same table contradicts",
    "digits": "more digits than the figure can have",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or that should be said.

    Attributes:
        line: in the card, from 1.
        rule: a name from ``RULES``.
        message: what is wrong and what would be right, one sentence.
        severity: "error", or "note" for what is consistent but should be said.
    """

    line: int
    rule: str
    message: str
    severity: str = "error"
