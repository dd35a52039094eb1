"""Questions about the vendor's libraries that only hardware answers, one function each."""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analysis
from harness import Found, write
from steps_sensors import FieldValue, Nvml, now_ns


def timestamps(nvml: Nvml) -> Found:
    """Is a field's timestamp the sensor's or the query's?"""
    one = (FieldValue * 1)(FieldValue(186, 0))
    stamps, values = [], []
    for _ in range(2000):
        nvml.read(one)
        stamps.append(one[0].timestamp_us)
        values.append(one[0].value)
    distinct = len(set(stamps)), len(set(values))
    meaning = "the query's" if distinct[0] > 10 * max(1, distinct[1]) else "the sensor's"
    return {"stamps": distinct[0], "values": distinct[1], "answer": f"it is {meaning}"}


def batch_latency(nvml: Nvml) -> Found:
    """What does a batch of fields cost, idle and busy?"""
    import torch
    from steps_sensors import costs

    idle = costs(nvml)
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    ended = keep_busy(x, 3.0)
    busy = costs(nvml)
    was_busy = not ended.query()
    torch.cuda.synchronize()
    name = next(n for n in idle if "fields at once" in n)
    pairs = [f"{x[name]['median']:.0f} us (p99 {x[name]['p99']:.0f})" for x in (idle, busy)]
    return {
        "idle": idle, "busy": busy, "busy_to_the_end": was_busy,
        "answer": f"{name.partition(',')[0]}: idle {pairs[0]}, busy {pairs[1]}",
    }  # fmt: skip


def keep_busy(x: Any, seconds: float) -> Any:
    """Queue products of ``x`` for about so long; an event of their end."""
    import torch

    x @ x
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(5):
        x @ x
    torch.cuda.synchronize()
    one = (time.perf_counter() - begin) / 5
    for _ in range(min(5000, int(seconds / one))):
        x @ x
    ended = torch.cuda.Event()
    ended.record()
    return ended


def samples(nvml: Nvml) -> Found:
    """How deep is nvmlDeviceGetSamples' buffer, and how fine?"""
    count, kind = ctypes.c_uint(), ctypes.c_uint()
    got = nvml.lib.nvmlDeviceGetSamples(
        nvml.device, 0, ctypes.c_ulonglong(0), ctypes.byref(kind), ctypes.byref(count), None
    )
    if got != 0:
        return {"answer": f"refused with {got}"}
    rows = (ctypes.c_ulonglong * (2 * count.value))()
    got = nvml.lib.nvmlDeviceGetSamples(
        nvml.device, 0, ctypes.c_ulonglong(0), ctypes.byref(kind), ctypes.byref(count), rows
    )
    times = [int(rows[2 * i]) for i in range(count.value) if rows[2 * i]]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    step = analysis.percentiles([float(g) for g in gaps])["median"]
    return {"depth": count.value, "step_us": step, "answer": f"{count.value} of {step:.0f} us"}


def gpm_pace(nvml: Nvml) -> Found:
    """Does GPM answer without privilege, below 100 ms, and while CUPTI traces?"""
    import picojoule as pj

    first, second = ctypes.c_void_p(), ctypes.c_void_p()
    if nvml.lib.nvmlGpmSampleAlloc(ctypes.byref(first)) != 0:
        return {"answer": "no GPM here"}
    nvml.lib.nvmlGpmSampleAlloc(ctypes.byref(second))
    out: Found = {"root": os.geteuid() == 0}
    pace(nvml, first, second, out, "")
    with pj.profile(sources=["nvml"]):
        out["tracing"] = pj._core.tracer_status()["mode"]
        pace(nvml, first, second, out, ", traced")
    out["answer"] = ", ".join(f"{k}: {v}" for k, v in out.items() if " ms" in k)
    return out


def pace(nvml: Nvml, first: Any, second: Any, out: Found, label: str) -> None:
    """One metric of two GPM samples, for several times between them."""
    for pause_ms in (50, 100, 200):
        nvml.lib.nvmlGpmSampleGet(nvml.device, first)
        time.sleep(pause_ms * 1e-3)
        nvml.lib.nvmlGpmSampleGet(nvml.device, second)
        head = 24
        memory = ctypes.create_string_buffer(head + 40 * 210)
        ctypes.c_uint.from_buffer(memory, 0).value = 1
        ctypes.c_uint.from_buffer(memory, 4).value = 1
        ctypes.c_void_p.from_buffer(memory, 8).value = first.value
        ctypes.c_void_p.from_buffer(memory, 16).value = second.value
        ctypes.c_uint.from_buffer(memory, head).value = 2  # SM utilisation
        got = nvml.lib.nvmlGpmMetricsGet(memory)
        one = ctypes.c_uint.from_buffer(memory, head + 4).value
        out[f"{pause_ms} ms{label}"] = {"call": got, "metric": one}


def tracing_cost(nvml: Nvml) -> Found:
    """What do three hundred thousand tiny kernels cost with tracing on?"""
    import torch

    import picojoule as pj

    x = torch.zeros(1, device="cuda")

    def run(launches: int = 300_000) -> float:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(launches):
            x.add_(1)
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) / launches

    run(1000)
    off = run()
    with pj.profile() as prof:
        run(1000)
        on = run()
    return {
        "off_s": off, "on_s": on, "launches": prof.overhead.get("launches"),
        "answer": f"{(on - off) * 1e9:+.0f} ns a launch of {off * 1e9:.0f}",
    }  # fmt: skip


def pm_sampling(nvml: Nvml) -> Found:
    """Does PM sampling lock the clocks, what does it cost, and does it go with tracing?"""
    import torch

    import picojoule as pj

    x = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)

    def work() -> tuple[float, list[int]]:
        ended = keep_busy(x, 0.6)
        clocks = [nvml.sm_clock_mhz() for _ in range(20)]
        begin = time.perf_counter()
        ended.synchronize()
        for _ in range(300):
            x @ x
        torch.cuda.synchronize()
        return time.perf_counter() - begin, clocks

    work()
    plain_s, before = work()
    out: Found = {"before_mhz": before, "plain_s": plain_s}
    for interval_us in (1000, 100):
        with pj.counters.PmSampler(device=0, interval_us=interval_us) as sampler:
            out[f"sampled_{interval_us}us_s"], during = work()
        found: Any = sampler.readings
        out[f"samples_{interval_us}us"] = len(found.values)
        out[f"during_{interval_us}us_mhz"] = during
        out[f"warnings_{interval_us}us"] = list(found.warnings)
    with pj.profile() as prof, pj.counters.PmSampler(device=0, interval_us=1000) as sampler:
        work()
    out["traced_too"] = {"kernels": prof.kernels.calls, "samples": len(sampler.readings.values)}
    low, high = min(before), max(before)
    moved = [m for m in out["during_1000us_mhz"] if not low - 30 <= m <= high + 30]
    cost = out["sampled_1000us_s"] / plain_s - 1
    out["answer"] = (
        f"{'it changes clocks' if moved else 'no change of clocks'}, {cost:+.1%} at 1 ms, "
        f"{out['traced_too']['kernels']} kernels traced meanwhile"
    )
    return out


def tensor_cycles(nvml: Nvml) -> Found:
    """Do tensor cycles times the FLOPs of a cycle give 2 n^3 on this chip?"""
    import torch

    import picojoule as pj

    n = 8192
    x = torch.randn(n, n, device="cuda", dtype=torch.bfloat16)
    x @ x
    torch.cuda.synchronize()
    with pj.counters.PmSampler(device=0, interval_us=500) as sampler:
        for _ in range(20):
            x @ x
        torch.cuda.synchronize()
        time.sleep(0.1)
    found: Any = sampler.readings
    totals = {q: float(found[q].sum()) for q in found.quantities}
    cycles = next((v for k, v in totals.items() if "hmma" in k), math.nan)
    flops, _, _ = pj.counters.tensor_flops(cycles, found.chip, None)
    ratio = flops / (20 * 2 * n**3)
    words = f"{ratio:.3f} of the truth" if ratio == ratio else f"{found.chip} is not in the table"
    return {"chip": found.chip, "totals": totals, "ratio": ratio, "answer": words}


def clock_offset(nvml: Nvml) -> Found:
    """How far are kernels' times from the system's clock?"""
    import torch

    import picojoule as pj

    x = torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    gaps = []
    with pj.profile() as prof:
        for _ in range(50):
            begin = now_ns()
            x.add_(1)
            torch.cuda.synchronize()
            gaps.append((begin, now_ns()))
    runs = prof.kernels.runs
    inside = sum(any(a <= r["begin_ns"] and r["end_ns"] <= b for a, b in gaps) for r in runs)
    return {
        "inside": inside, "runs": len(runs),
        "residual_s": prof.overhead.get("kernel_clock_residual_s"),
        "answer": f"{inside} of {len(runs)} kernels lie between launch and synchronise",
    }  # fmt: skip


QUESTIONS: tuple[Callable[[Nvml], Found], ...] = (
    timestamps, batch_latency, samples, gpm_pace, tracing_cost, clock_offset, tensor_cycles,
    pm_sampling,
)  # fmt: skip


def questions(seconds: float, dry: bool, folder: Path) -> Found:
    """All of them; what one breaks does not stop the next.

    The other two of the ten (does the counter integrate; do the range profiler's counters give the
    FLOPs of kernels whose truth is known) are the steps ``integral`` and ``flops``.
    """
    if dry:
        return {
            "said": f"dry: {len(QUESTIONS)} questions",
            "questions": [q.__doc__ for q in QUESTIONS],
        }
    nvml = Nvml()
    out: Found = {}
    for question in QUESTIONS:
        try:
            out[question.__name__] = {"question": question.__doc__, **question(nvml)}
        except Exception as error:
            words = f"{type(error).__name__}: {error}"[:300]
            out[question.__name__] = {"question": question.__doc__, "failed": words}
        write(folder, "questions", out)
    said = [f"{k}: {v.get('answer', 'failed')}" for k, v in out.items()]
    return {**out, "said": "; ".join(said)}
