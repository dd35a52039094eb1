"""``picojoule lint``: a model card's or paper's claims on energy and carbon, computed again.

A number is taken for what it prints: 79 h is 78.5 to 79.5. Nothing is said where the inputs are not
there, so silence is no praise.
"""

from __future__ import annotations

from picojoule.green.lint import _bounds, _carbon, _compute, _equations, _macs, _market
from picojoule.green.lint._finding import RULES, Finding
from picojoule.green.lint._read import card


def check(text: str) -> list[Finding]:
    """What is wrong in a card, by line.

    Args:
        text: Markdown (with YAML metadata, pipe or HTML tables), LaTeX tables, or plain text.
    """
    read = card(text)
    found: dict[tuple[int, str, str], Finding] = {}
    for rules in (_carbon, _equations, _compute, _macs, _market, _bounds):
        # What an earlier group of rules said of a line, a later one need not say in other words.
        said = {(f.line, f.rule) for f in found.values()}
        new = [f for f in rules.check(read) if (f.line, f.rule) not in said]
        found.update(((f.line, f.rule, f.message), f) for f in new)
    return sorted(found.values(), key=lambda f: (f.line, f.severity, f.rule, f.message))


__all__ = ["RULES", "Finding", "check"]
