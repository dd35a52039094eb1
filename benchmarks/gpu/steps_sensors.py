"""What the board's sensors are: period, delay, what a call costs, whether energy is true."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analysis
from harness import Found

#: (field, scope): see nvml.h. Scope 2 is the memory's.
FIELDS = {
    "energy": (83, 0),
    "power_instant": (186, 0),
    "power_average": (185, 0),
    "power_memory": (185, 2),
}


class FieldValue(ctypes.Structure):
    """nvmlFieldValue_t, the same from NVML 11.8 to 13.5."""

    _fields_ = (
        ("field", ctypes.c_uint), ("scope", ctypes.c_uint), ("timestamp_us", ctypes.c_longlong),
        ("latency_us", ctypes.c_longlong), ("type", ctypes.c_uint), ("result", ctypes.c_uint),
        ("value", ctypes.c_ulonglong),
    )  # fmt: skip


class Nvml:
    """The first visible board, by plain calls."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL("libnvidia-ml.so.1")
        if self.lib.nvmlInit_v2() != 0:
            raise RuntimeError("NVML does not start: is there a driver?")
        self.device = ctypes.c_void_p()
        if self.lib.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.device)) != 0:
            raise RuntimeError("NVML sees no board")

    def read(self, values: Any) -> bool:
        """All fields by one call."""
        return self.lib.nvmlDeviceGetFieldValues(self.device, len(values), values) == 0

    def name(self) -> str:
        """As the driver calls it."""
        text = ctypes.create_string_buffer(96)
        self.lib.nvmlDeviceGetName(self.device, text, 96)
        return text.value.decode(errors="replace")

    def driver(self) -> str:
        """The driver's version."""
        text = ctypes.create_string_buffer(96)
        self.lib.nvmlSystemGetDriverVersion(text, 96)
        return text.value.decode(errors="replace")

    def sm_clock_mhz(self) -> int:
        """Now."""
        clock = ctypes.c_uint()
        self.lib.nvmlDeviceGetClockInfo(self.device, 1, ctypes.byref(clock))
        return clock.value


def now_ns() -> int:
    """The clock of all of picojoule's records."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def fields_of(nvml: Nvml) -> Any:
    """Those that this board has, as one array to read again and again."""
    every = (FieldValue * len(FIELDS))(*(FieldValue(f, s) for f, s in FIELDS.values()))
    nvml.read(every)
    there = [v for v in every if v.result == 0 and not (v.scope == 2 and v.value == 0)]
    return (FieldValue * len(there))(*(FieldValue(v.field, v.scope) for v in there))


def watch(nvml: Nvml, seconds: float, busy: Callable[[float], Any] | None = None) -> Any:
    """Poll as fast as it goes: name -> brackets and values of changes; ``busy`` may add load."""
    values = fields_of(nvml)
    names = {v: k for k, v in FIELDS.items()}
    last: list[int | None] = [None] * len(values)
    seen = [0] * len(values)
    changes: dict[str, list[tuple[int, int, int]]] = {}
    stamps: set[int] = set()
    end = now_ns() + int(seconds * 1e9)
    polls = 0
    while (before := now_ns()) < end:
        if busy is not None:
            busy(before * 1e-9)
        nvml.read(values)
        after = now_ns()
        polls += 1
        for i, v in enumerate(values):
            if last[i] is not None and v.value != last[i]:
                name = names[v.field, v.scope]
                changes.setdefault(name, []).append((seen[i], after, int(v.value)))
            last[i], seen[i] = v.value, before
            stamps.add(v.timestamp_us)
    return {"changes": changes, "polls": polls, "stamps": len(stamps)}


def costs(nvml: Nvml, rounds: int = 300) -> dict[str, Any]:
    """Microseconds of each call."""
    one = (FieldValue * 1)(FieldValue(83, 0))
    four = fields_of(nvml)
    number, wide = ctypes.c_uint(), ctypes.c_ulonglong()
    calls: dict[str, Callable[[], Any]] = {
        "field energy": lambda: nvml.read(one),
        f"{len(four)} fields at once": lambda: nvml.read(four),
        "GetTotalEnergyConsumption": lambda: nvml.lib.nvmlDeviceGetTotalEnergyConsumption(
            nvml.device, ctypes.byref(wide)
        ),
        "GetPowerUsage": lambda: nvml.lib.nvmlDeviceGetPowerUsage(
            nvml.device, ctypes.byref(number)
        ),
        "SM clock": nvml.sm_clock_mhz,
        "GPM sample": gpm_sampler(nvml),
    }
    out = {}
    for name, call in calls.items():
        taken = []
        for _ in range(rounds if "GPM" not in name else 5):
            begin = time.perf_counter_ns()
            call()
            taken.append((time.perf_counter_ns() - begin) * 1e-3)
            if "GPM" in name:
                time.sleep(0.11)
        out[name + ", us"] = analysis.percentiles(taken)
    return out


def gpm_sampler(nvml: Nvml) -> Callable[[], Any]:
    """A call that takes one GPM sample; one that does nothing where the board has none."""
    sample = ctypes.c_void_p()
    try:
        if nvml.lib.nvmlGpmSampleAlloc(ctypes.byref(sample)) != 0:
            return lambda: None
        return lambda: nvml.lib.nvmlGpmSampleGet(nvml.device, sample)
    except AttributeError:
        return lambda: None


def sensors(seconds: float, dry: bool, folder: Path) -> Found:
    """Ticks of every series, idle and under a load that comes and goes, and the cost of calls."""
    if dry:
        made = [(int(i * 1e8), int(i * 1e8) + 50_000) for i in range(50)]
        return {
            "said": f"dry: {analysis.ticks(*zip(*made, strict=True))['period_ns'] / 1e6:.1f} ms"
        }
    import torch

    nvml = Nvml()
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    out: Found = {"costs": costs(nvml)}
    edges: list[int] = []
    state = {"on": False}

    def square(now_s: float) -> None:
        # 1.3 s on, 0.9 s off: no multiple of a sensor's period. At most some 10 ms queued.
        on = now_s % 2.2 < 1.3
        if on != state["on"]:
            state["on"] = on
            edges.append(now_ns())
        if on and not torch.cuda.current_stream().query():
            return
        if on:
            for _ in range(8):
                x @ x

    for _ in range(3):
        x @ x
    torch.cuda.synchronize()
    found = watch(nvml, min(30.0, 0.7 * seconds), square)
    torch.cuda.synchronize()
    out["polls"], out["distinct_timestamps"] = found["polls"], found["stamps"]
    for name, changes in found["changes"].items():
        old, new, _ = zip(*changes, strict=True)
        out[name] = {**analysis.ticks(old, new), "delay_ns": analysis.delay(edges[1:], new)}
        (folder / f"ticks_{name}.csv").write_text(
            "old_seen_ns,new_seen_ns,value\n"
            + "\n".join(f"{a - old[0]},{b - old[0]},{v}" for a, b, v in changes[:400]),
            encoding="utf-8",
        )
    period = out.get("energy", {}).get("period_ns", float("nan"))
    out["said"] = f"energy counter ticks every {period / 1e6:.2f} ms; {found['polls']} polls"
    return out


def integral(seconds: float, dry: bool, folder: Path) -> Found:
    """Is the energy counter a true integral? Pulses of a quarter period, swept in phase."""
    if dry:
        phases = [i / 40 for i in range(40)]
        return {"said": f"dry: z {analysis.duty_cycle(phases, [5.0] * 40)['z']:.1f}"}
    import torch

    nvml = Nvml()
    found = watch(nvml, 4.0)
    changes = found["changes"].get("energy", [])
    tick = analysis.ticks([c[0] for c in changes], [c[1] for c in changes])
    period = tick["period_ns"]
    if not 5e6 < period < 1e9:
        return {"skipped": "the energy counter does not tick while idle"}
    x = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    one = (FieldValue * 1)(FieldValue(83, 0))
    origin = changes[-1][1]
    phases, joules = [], []
    end = time.monotonic() + 0.8 * (seconds - 6)

    def counter_at(at_ns: float) -> float:
        while now_ns() < at_ns:
            pass
        nvml.read(one)
        return float(one[0].value) / 1e3

    while time.monotonic() < end:
        phase = (len(phases) * 0.381966) % 1.0  # the golden section covers a circle evenly
        base = origin + ((now_ns() - origin) // period + 3) * period
        # Both readings lie midway between two ticks, so that the same number lies between them.
        before = counter_at(base - 1.5 * period)
        while now_ns() < base + phase * period:
            pass
        while now_ns() < base + (phase + 0.25) * period:
            if torch.cuda.current_stream().query():
                x @ x
        torch.cuda.synchronize()
        joules.append(counter_at(base + 4.5 * period) - before)
        phases.append(phase)
    answer = analysis.duty_cycle(phases, joules)
    true = answer["z"] < 3
    words = "a true integral" if true else f"not an integral: {answer['amplitude']:.0%} by phase"
    return {**answer, "period_ns": period, "said": f"energy counter: {words} (z {answer['z']:.1f})"}
