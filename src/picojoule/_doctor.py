"""What can be measured on this machine, what cannot, and what would mend it."""

from __future__ import annotations

import platform
import re
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from picojoule import _core
from picojoule._annotations import nvtx_obstacle
from picojoule._version import __version__
from picojoule.results import PROVENANCES

_USED = {
    "yes": "used by default",
    "fallback": "used by default where nothing better is",
    "on_request": "used when asked for by name",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a meter said about one file, device or call."""

    state: str  # "works" | "refused" | "absent"
    subject: str
    why: str
    remedy: str  # the command that mends it; "" if there is nothing to do


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter: what it found here, and the series it offers."""

    meter: str
    summary: str
    default: str  # "yes" | "fallback" | "on_request"
    findings: tuple[Finding, ...]
    channels: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Doctor:
    """The findings of all meters, and the versions that matter for them."""

    meters: tuple[Meter, ...]
    versions: Mapping[str, str]
    #: How kernels of a GPU will be traced: dict with ``mode``, ``words``, ``remedy``, ``library``,
    #: ``caution`` (what that version is known to get wrong).
    tracing: Mapping[str, Any] = field(default_factory=dict)
    nvtx: str = ""  # why NVTX ranges are not seen as regions here; "" if they are

    @property
    def provenances(self) -> tuple[str, ...]:
        """How the numbers of a plain ``pj.profile()`` here will be got, best first."""
        channels = [
            c for m in self.meters if m.default == "yes" for c in m.channels if _tells_energy(c)
        ]
        if not any(c["domain"].startswith("cpu") for c in channels):
            channels += [c for m in self.meters if m.default == "fallback" for c in m.channels]
        found = {c["provenance"] for c in channels}
        return tuple(p for p in PROVENANCES if p in found)

    @property
    def measured(self) -> bool:
        """Whether some of the numbers here will rest on a meter, not all on an estimate."""
        return any(p not in ("estimated", "simulated") for p in self.provenances)

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
            "tracing": dict(self.tracing),
            "nvtx": self.nvtx,
            "meters": [asdict(meter) for meter in self.meters],
        }

    def __str__(self) -> str:
        lines = [", ".join(f"{name} {version}" for name, version in self.versions.items()), ""]
        for meter in self.meters:
            used = _USED.get(meter.default, meter.default)
            lines += _wrap(f"{meter.meter}: {meter.summary} ({used})", "")
            for finding in meter.findings:
                lines += _finding(finding)
            # What tells no energy is many series a device; the meter's findings name them.
            for channel in filter(_tells_energy, meter.channels):
                lines += _channel(channel)
        if self.tracing:
            lines += ["", *_wrap(f"GPU kernels: {self.tracing['words']}", "")]
            if self.tracing["remedy"]:
                lines += _wrap(f"to mend it: {self.tracing['remedy']}", "  ")
            if self.tracing.get("caution"):
                lines += _wrap(f"known of this version: {self.tracing['caution']}", "  ")
        if self.nvtx:
            lines += ["", *_wrap(f"NVTX ranges: {self.nvtx}", "")]
        return "\n".join([*lines, "", self.verdict()])


def doctor() -> Doctor:
    """Ask every meter whether it works here.

    Returns:
        A value to print, or to look into: ``.measured``, ``.meters``, ``.versions``.
    """
    meters = tuple(
        Meter(
            meter=found["meter"],
            summary=found["summary"],
            default=found["default"],
            findings=tuple(
                Finding(said["state"], said["subject"], said["why"], said["remedy"])
                for said in found["findings"]
            ),
            channels=tuple(dict(channel) for channel in found["channels"]),
        )
        for found in _core.discover()
    )
    return Doctor(meters, _versions(), _core.tracer_outlook(), nvtx_obstacle())


def _tells_energy(channel: Mapping[str, Any]) -> bool:
    return channel["quantity"] in ("energy", "power")


def _finding(finding: Finding) -> list[str]:
    subject = f" {finding.subject}:" if finding.subject else ""
    lines = _wrap(f"{finding.state:<7}{subject} {finding.why}".rstrip(" :"), "  ", "          ")
    if finding.remedy:
        lines.append(f"          to mend it: {finding.remedy}")  # not wrapped: it is to be copied
    return lines


def _channel(channel: Mapping[str, Any]) -> list[str]:
    period_ms = (channel.get("update_period_ns") or 0) * 1e-6
    parts = [
        f"{channel['provenance']} {channel['quantity']} of {channel['domain']}",
        f"every {period_ms:g} ms" if period_ms else "",
        channel.get("device") or "",
        channel.get("note") or "",
    ]
    return _wrap("offers  " + ", ".join(p for p in parts if p), "  ", "          ")


def _wrap(text: str, first: str, rest: str = "    ") -> list[str]:
    return textwrap.wrap(
        text, 96, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _versions() -> dict[str, str]:
    versions = {
        "picojoule": __version__,
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
