"""What a device can do at most, and how near to it something came: the roofline."""

from __future__ import annotations

import csv
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picojoule.results import Profile

#: Column of the table, by type of arithmetic. Dense figures: sparsity would double them.
_COLUMNS = {
    "fp64": "fp64",
    "fp32": "fp32",
    "tensor-tf32": "tf32_tensor",
    "tensor-fp16": "fp16_tensor",
    "tensor-bf16": "bf16_tensor",
    "tensor-fp8": "fp8_tensor",
    "tensor-int8": "int8",
}
#: Words that tell no two boards apart.
_NOISE = frozenset(("nvidia", "tesla", "amd", "generation", "gpu"))
#: A figure of theirs looks like that of another clock.
_DOUBTFUL = ("NVIDIA GeForce RTX 4070 Ti",)
#: Names that drivers give, as words of the table's.
_ALIASES: Mapping[str, str] = {
    "h100 80gb hbm3": "h100 sxm5 80gb",
    "h100 pcie": "h100 pcie 80gb",
    "h100 nvl": "h100 nvl 94gb",
    "h200": "h200 sxm 141gb",
    "h800": "h800 sxm5",
    "b200": "b200 sxm",
    "b300": "b300 sxm",
    "m40": "m40 12gb",
}


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that one device can do, from its maker's documents.

    ``flops`` maps a type of arithmetic to FLOP/s; types that are not known are missing. ``source``
    says where each figure comes from.
    """

    device: str
    flops: Mapping[str, float]
    bytes_per_s: float
    tdp_w: float
    source: str

    def flops_per_s(self, type: str, /) -> float:
        """FLOP/s in one type, nan if not known."""
        return self.flops.get(type, math.nan)


@dataclass(frozen=True, slots=True)
class Position:
    """Where something lies below the roof.

    ``attainable`` is the least of the peak and intensity times bandwidth, in FLOP/s; ``share`` the
    part of it that was reached.
    """

    intensity: float  # FLOP a byte
    flops_per_s: float
    attainable: float
    share: float
    bound: str  # "compute" or "memory"


def peaks_of(name: str) -> Peaks | None:
    """Peaks of the device of that name, as its driver gives it; None rather than a likely one.

    >>> peaks_of("NVIDIA H100 80GB HBM3").flops_per_s("tensor-bf16")
    989400000000000.0
    """
    return _table().get(_words(name))


def family(name: str) -> tuple[Peaks, ...]:
    """Peaks of all devices that a short name may mean, such as both forms of a V100.

    >>> [p.tdp_w for p in family("T4")]
    [70.0]
    """
    words = _words(name)
    return tuple(p for p in _table().values() if words and words <= _words(p.device))


def peaks_of_profile(profile: Profile) -> Peaks | None:
    """Peaks of the device that ran most of a profile's kernels; None if it is not known."""
    time_s: dict[str, float] = {}
    for k in profile.kernels:
        time_s[k.domain] = time_s.get(k.domain, 0.0) + k.time_s
    if not time_s:
        return None
    domain = max(time_s, key=lambda d: time_s[d])
    names = [c.device for c in profile.channels if c.domain == domain and c.device]
    return peaks_of(names[0]) if names else None


def position(
    flops: float,
    bytes: float,
    time_s: float,
    peaks: Peaks,
    type: str,
    *,
    clock_share: float = 1.0,
) -> Position:
    """Where work of so many FLOPs and bytes in ``time_s`` seconds lies below the roof.

    Williams, Waterman, Patterson 2009: attainable = min(peak, intensity x bandwidth).

    Args:
        flops: FLOPs done.
        bytes: bytes moved from and to memory.
        time_s: seconds it took.
        peaks: of the device.
        type: what it computed with.
        clock_share: the clock that was held, as a share of the one that the peak is of. It lowers
            the peak of arithmetic, not that of memory.

    Returns:
        nan, and a bound "", where the peak or one of the amounts is not known.
    """
    top = peaks.flops_per_s(type) * clock_share
    intensity = flops / bytes if bytes > 0 else math.nan
    rate = flops / time_s if time_s > 0 else math.nan
    slope = intensity * peaks.bytes_per_s
    if math.isnan(top) or math.isnan(slope):
        return Position(intensity, rate, math.nan, math.nan, "")
    attainable = min(top, slope)
    bound = "compute" if top <= slope else "memory"
    return Position(intensity, rate, attainable, rate / attainable, bound)


def mfu(model_flops: float, time_s: float, peaks: Peaks, type: str) -> float:
    """Model FLOPs utilisation: model FLOP/s over the peak of the type (Chowdhery et al. 2022)."""
    return model_flops / time_s / peaks.flops_per_s(type) if time_s > 0 else math.nan


def _words(name: str) -> frozenset[str]:
    plain = re.sub(r"\((?:GPU|MIG)-[^)]*\)", " ", name)
    found = [w for w in re.split(r"[^a-z0-9]+", plain.lower()) if w and w not in _NOISE]
    return frozenset(_ALIASES.get(" ".join(found), " ".join(found)).split())


@functools.cache
def _table() -> Mapping[frozenset[str], Peaks]:
    text = (files("picojoule") / "data" / "accelerators.csv").read_text(encoding="utf-8")
    out: dict[frozenset[str], Peaks] = {}
    for row in csv.DictReader(text.splitlines()):
        if row["name"] in _DOUBTFUL:
            continue
        # What no document was read for ("M=") is not known.
        unread = re.search(r"M=[^:]*:([\w+]+)", row["source"])
        for column in unread[1].split("+") if unread else ():
            row[column] = ""
        out[_words(row["name"])] = Peaks(
            device=row["name"],
            flops={
                type: float(row[column]) * 1e12 for type, column in _COLUMNS.items() if row[column]
            },
            bytes_per_s=float(row["mem_bw_gbs"] or math.nan) * 1e9,
            tdp_w=float(row["tdp_w"] or math.nan),
            source=row["source"],
        )
    return out
