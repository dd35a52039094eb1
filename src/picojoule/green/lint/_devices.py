"""What the device that a card names is rated for."""

from __future__ import annotations

import re
from functools import cache

from picojoule.flops import peaks


@cache
def nameplates(name: str) -> frozenset[float]:
    """Rated power in W of all devices that a card may mean by a name; empty if no table has it."""
    short = re.sub(r"[\s-]*(?:SXM\d?|PCIe|\d+\s?GB)\b", "", name, flags=re.I)
    found = peaks.family(re.sub(r"s$|Google", "", short.strip()))
    return frozenset(p.tdp_w for p in found if p.tdp_w > 0)
