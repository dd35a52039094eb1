"""Pieces of HTML that several parts of the page need."""

from __future__ import annotations

import math
from html import escape

from picojoule.reports._text import clean


def e(value: object) -> str:
    """Foreign text, safe between tags and in attributes."""
    return escape(clean(value))


def badge(how: str) -> str:
    """A provenance as a badge."""
    return f'<span class="badge {how.split()[-1]}">{e(how)}</span>'


def pct(share: float) -> str:
    """A share of 1 as a length."""
    return f"{100 * min(max(share, 0.0), 1.0):.3g}%"


def number(value: float) -> str:
    """What the script sorts by; empty if unknown."""
    return f"{value:.9g}" if math.isfinite(value) else ""
