"""What the devices did meanwhile: clocks, what held them back, how hot and how busy they were."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from picojoule.reports import _facts, units
from picojoule.reports._text import clean

if TYPE_CHECKING:
    from picojoule.counters_view import Counter
    from picojoule.results import Profile

#: Words, the accumulated time that tells it, and where there is none, the bits of NVML's mask.
_HELD_BACK = (
    ("power-capped", "throttled_power_cap_ns", 0x4),
    ("slowed by heat (driver)", "throttled_sw_thermal_ns", 0x20),
    ("slowed by heat (hardware)", "throttled_hw_thermal_ns", 0x40),
    ("slowed by the power brake", "throttled_power_brake_ns", 0x80),
)
_BUSY = (
    ("SMs", "sm_util"),
    ("tensor cores", "tensor_util"),
    ("FP32", "fp32_util"),
    ("FP64", "fp64_util"),
    ("memory bandwidth", "dram_bandwidth_util"),
)
_HOT = (("", "temperature"), ("memory ", "memory_temperature"))
_LEAST_SHARE = 5e-4  # less is said as nothing


def lines(profile: Profile) -> list[str]:
    """A sentence for each device's clocks, its temperatures and how busy it was, where known."""
    domains = list(dict.fromkeys(c.domain for c in profile.counters.values()))
    out = []
    for domain in domains:
        which = f"{clean(domain)}: " if len(domains) > 1 else ""
        if clocks := ", ".join(_clocks(profile, domain)):
            out.append(f"{which}clocks held: {clocks}")
        if hot := ", ".join(_temperatures(profile, domain)):
            out.append(f"{which}temperature: {hot}")
        if busy := ", ".join(_busy(profile, domain)):
            out.append(f"{which}busy on average: {busy}")
    return out


def facts(profile: Profile, *, series: bool = False) -> dict[str, Any]:
    """For JSON: unknown numbers are None."""
    found: dict[str, Any] = _facts.plain(
        {
            name: {
                "quantity": c.quantity,
                "unit": c.unit,
                "provenance": c.provenance,
                "meter": c.meter,
                "mean": c.mean,
                "least": c.least,
                "most": c.most,
                "delta": c.delta,
                "known_s": c.known_s,
                "note": c.note,
                **({"time_ns": c.time_ns, "value": c.value} if series else {}),
            }
            for name, c in profile.counters.items()
        }
    )
    return found


def _clocks(profile: Profile, domain: str) -> Iterator[str]:
    clock = profile.counters.get(f"{domain}/sm_clock")
    if clock is not None and not math.isnan(clock.mean):
        yield _range(clock, 1e-9, 2, "GHz")
    mask = profile.counters.get(f"{domain}/clock_event_reasons")
    for words, field, bits in _HELD_BACK:
        counter = profile.counters.get(f"{domain}/{field}")
        share = math.nan
        if counter is not None and profile.duration_s > 0:
            share = counter.delta * 1e-9 / profile.duration_s
        if math.isnan(share) and mask is not None:
            share = mask.share(bits)
        if share >= _LEAST_SHARE:
            yield f"{words} {units.percent(min(share, 1.0))} of the time"


def _range(gauge: Counter, scale: float, digits: int, unit: str) -> str:
    low, high = (f"{value * scale:.{digits}f}" for value in (gauge.least, gauge.most))
    return f"{high} {unit}" if low == high else f"{low}-{high} {unit}"


def _temperatures(profile: Profile, domain: str) -> Iterator[str]:
    for words, field in _HOT:
        gauge = profile.counters.get(f"{domain}/{field}")
        if gauge is not None and not math.isnan(gauge.mean):
            yield words + _range(gauge, 1.0, 0, "°C")


def _busy(profile: Profile, domain: str) -> Iterator[str]:
    for words, field in _BUSY:
        counter = profile.counters.get(f"{domain}/{field}")
        if counter is not None and counter.mean >= _LEAST_SHARE:
            yield f"{words} {units.percent(counter.mean)}"
