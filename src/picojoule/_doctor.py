"""What can be measured on this machine, what cannot, and what would mend it."""

from __future__ import annotations

import platform
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from picojoule import _core
from picojoule.profile import PROVENANCES

_USED = {
    "yes": "used by default",
    "fallback": "used by default where nothing better is",
    "on_request": "used when asked for by name",
}


@dataclass(frozen=True, slots=True)
class Meter:
    """What one meter said about one of its subjects."""

    meter: str
    summary: str
    default: str  # "yes" | "fallback" | "on_request"
    state: str  # "works" | "refused" | "absent"
    subject: str
    why: str
    remedy: str
    channels: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Doctor:
    """The findings of all meters, and the versions that matter for them."""

    meters: tuple[Meter, ...]
    versions: Mapping[str, str]

    @property
    def provenances(self) -> tuple[str, ...]:
        """How the numbers of a plain ``pj.profile()`` here will be got, best first."""
        by_default = {
            name: {
                channel["provenance"]
                for meter in self.meters
                if meter.state == "works" and meter.default == name
                for channel in meter.channels
            }
            for name in ("yes", "fallback")
        }
        found = by_default["yes"] | by_default["fallback"]
        return tuple(p for p in PROVENANCES if p in found)

    @property
    def measured(self) -> bool:
        """Whether some of the numbers here will rest on a meter, not all on an estimate."""
        return any(p != "estimated" for p in self.provenances)

    def verdict(self) -> str:
        """One sentence: what the numbers here will be."""
        found = self.provenances
        if not found:
            return "No meter works here: energies will be unknown."
        if not self.measured:
            return "Numbers here will be estimated: no meter works."
        return f"Numbers here will be {' and '.join(found)}, each labelled."

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "schema": "picojoule.doctor/1",
            "measured": self.measured,
            "provenances": list(self.provenances),
            "verdict": self.verdict(),
            "versions": dict(self.versions),
            "meters": [
                {**asdict(meter), "channels": [dict(c) for c in meter.channels]}
                for meter in self.meters
            ],
        }

    def __str__(self) -> str:
        lines = [", ".join(f"{name} {version}" for name, version in self.versions.items()), ""]
        before = None
        for meter in self.meters:
            if meter.meter != before:
                used = _USED.get(meter.default, meter.default)
                lines += _wrap(f"{meter.meter}: {meter.summary} ({used})", "")
                before = meter.meter
            lines += _finding(meter)
        return "\n".join([*lines, "", self.verdict()])


def doctor(names: Sequence[str] | None = None) -> Doctor:
    """Ask every meter, or those in ``names``, whether it works here.

    Returns:
        A value to print, or to look into: ``.measured``, ``.meters``, ``.versions``.
    """
    found = _core.discover(None if names is None else list(names))
    meters = tuple(
        Meter(
            meter=finding["meter"],
            summary=finding["summary"],
            default=finding["default"],
            state=finding["state"],
            subject=finding["subject"],
            why=finding["why"],
            remedy=finding["remedy"],
            channels=tuple(dict(channel) for channel in finding.get("channels", ())),
        )
        for finding in found
    )
    return Doctor(meters, _versions())


def _finding(meter: Meter) -> list[str]:
    subject = f" {meter.subject}:" if meter.subject else ""
    lines = _wrap(f"{meter.state:<7}{subject} {meter.why}".rstrip(" :"), "  ", "          ")
    if meter.remedy:
        lines.append(f"          to mend it: {meter.remedy}")  # not wrapped: it is to be copied
    for channel in meter.channels:
        period = channel.get("update_period_ns") or 0
        parts = [
            f"{channel['provenance']} {channel['quantity']} of {channel['domain']}",
            f"every {period * 1e-6:g} ms" if period else "",
            channel.get("device") or "",
            channel.get("note") or "",
        ]
        lines += _wrap(", ".join(p for p in parts if p), "          ", "            ")
    return lines


def _wrap(text: str, first: str, rest: str = "    ") -> list[str]:
    return textwrap.wrap(
        text, 96, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _versions() -> dict[str, str]:
    versions = {
        "picojoule": _core.__version__,
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        platform.system(): platform.release(),
    }
    driver = _nvidia_driver()
    if driver:
        versions["nvidia driver"] = driver
    return versions


def _nvidia_driver() -> str:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    match = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", text)
    return match.group() if match else ""
