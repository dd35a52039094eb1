"""picojoule: joules for every region of a Python program, each with its error bar.

>>> import picojoule as pj
>>> with pj.profile() as prof:
...     with pj.region("work"):
...         sum(range(1_000_000))
>>> print(prof)                                    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from picojoule._version import __version__

try:
    from picojoule._core import region
except ImportError as error:  # pragma: no cover - a broken install
    error.add_note(
        "The native half of picojoule is not built for this Python. "
        "Install the package (pip install .) rather than importing it from its source folder."
    )
    raise

from picojoule import _annotations
from picojoule._profile import profile

_annotations.offer_to_nvtx()

if TYPE_CHECKING:
    from picojoule import simulate
    from picojoule._doctor import doctor
    from picojoule._runs import load
    from picojoule.attribution import Attribution, attribute
    from picojoule.counters_view import Counter
    from picojoule.errors import (
        ForeignTraceError,
        LedgerError,
        MissingExtraError,
        NewerTraceError,
        NoMeterError,
        NotFinishedError,
        PicojouleError,
        TraceError,
        TruncatedTraceError,
        UsageError,
    )
    from picojoule.flops.jax_ import count_jax
    from picojoule.flops.kernel_cost import kernel_cost
    from picojoule.flops.window import count_flops
    from picojoule.fusion import SeriesAttribution, attribute_series
    from picojoule.green.budget import budget
    from picojoule.green.study import study
    from picojoule.kernels import Device, Kernel, KernelTable
    from picojoule.live import LiveAttribution, LiveRates
    from picojoule.results import Channel, Estimate, Gap, PowerSeries, Profile, Region, RegionTable
    from picojoule.sensor import (
        SensorModel,
        SensorTicks,
        SensorWindows,
        find_ticks,
        identify_sensor,
        known_sensor,
        sensor_windows,
    )

# Loaded when first asked for: importing picojoule must cost next to nothing.
_LAZY = {
    "load": "picojoule._runs",
    "doctor": "picojoule._doctor",
    "count_flops": "picojoule.flops.window",
    "count_jax": "picojoule.flops.jax_",
    "kernel_cost": "picojoule.flops.kernel_cost",
    "budget": "picojoule.green.budget",
    **dict.fromkeys(
        ("Channel", "Estimate", "Gap", "PowerSeries", "Profile", "Region", "RegionTable"),
        "picojoule.results",
    ),
    "Counter": "picojoule.counters_view",
    "study": "picojoule.green.study",
    **dict.fromkeys(("Attribution", "attribute"), "picojoule.attribution"),
    **dict.fromkeys(("SeriesAttribution", "attribute_series"), "picojoule.fusion"),
    **dict.fromkeys(
        (
            "SensorModel",
            "SensorTicks",
            "SensorWindows",
            "find_ticks",
            "identify_sensor",
            "known_sensor",
            "sensor_windows",
        ),
        "picojoule.sensor",
    ),
    **dict.fromkeys(("LiveAttribution", "LiveRates"), "picojoule.live"),
    **dict.fromkeys(("Device", "Kernel", "KernelTable"), "picojoule.kernels"),
    **dict.fromkeys(
        (
            "ForeignTraceError",
            "LedgerError",
            "MissingExtraError",
            "NewerTraceError",
            "NoMeterError",
            "NotFinishedError",
            "PicojouleError",
            "TraceError",
            "TruncatedTraceError",
            "UsageError",
        ),
        "picojoule.errors",
    ),
}

_LAZY_MODULES = ("simulate",)

__all__ = [
    "Attribution",
    "Channel",
    "Counter",
    "Device",
    "Estimate",
    "ForeignTraceError",
    "Gap",
    "Kernel",
    "KernelTable",
    "LedgerError",
    "LiveAttribution",
    "LiveRates",
    "MissingExtraError",
    "NewerTraceError",
    "NoMeterError",
    "NotFinishedError",
    "PicojouleError",
    "PowerSeries",
    "Profile",
    "Region",
    "RegionTable",
    "SensorModel",
    "SensorTicks",
    "SensorWindows",
    "SeriesAttribution",
    "TraceError",
    "TruncatedTraceError",
    "UsageError",
    "__version__",
    "attribute",
    "attribute_series",
    "budget",
    "count_flops",
    "count_jax",
    "doctor",
    "find_ticks",
    "identify_sensor",
    "kernel_cost",
    "known_sensor",
    "load",
    "profile",
    "region",
    "sensor_windows",
    "simulate",
    "study",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name in _LAZY_MODULES:
        from importlib import import_module

        return import_module(f"picojoule.{name}")
    raise AttributeError(f"module 'picojoule' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
