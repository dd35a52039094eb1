"""Synthetic profiles: what a view may meet, made by hand and without a meter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from picojoule.kernels import Device, Kernel, KernelTable, no_runs
from picojoule.results import (
    UNKNOWN,
    Channel,
    Estimate,
    Gap,
    PowerSeries,
    Profile,
    Region,
    RegionTable,
)

S = 1_000_000_000
BEGIN = 5_000 * S

READING = np.dtype(
    [
        ("channel", "<u2"),
        ("begin_ns", "<i8"),
        ("end_ns", "<i8"),
        ("joules", "<f8"),
        ("edge_std_ns", "<f8"),
        ("flags", "u1"),
    ]
)
SPAN = np.dtype([("begin_ns", "<i8"), ("end_ns", "<i8"), ("path", "<u4"), ("thread", "<u4")])

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><!--",
    "line\nbreak\ttab\r",
    "\x1b[31mred\x1b[0m\x07",
    "quote\"' & <b>",
    "\u202egnp.exe",
    "名前は長い",
    "lone \udc80 surrogate",
    "=cmd|' /C calc'!A0",
    "x" * 300,
)


def measured(joules: float, std: float, **more: Any) -> Estimate:
    return Estimate(
        joules, std, "measured", **{"gain_std": 0.025, "basis": "energy counter", **more}
    )


def estimated(joules: float, **more: Any) -> Estimate:
    return Estimate(
        joules, 0.0, "estimated", **{"gain_std": 0.5, "basis": "CPU time and a range", **more}
    )


def channel(index: int, domain: str, provenance: str = "measured", **more: Any) -> Channel:
    return Channel(
        **{
            "index": index,
            "meter": "nvml" if domain.startswith("gpu") else "cpu-estimate",
            "domain": domain,
            "field": "energy",
            "device": "NVIDIA H100 80GB HBM3" if domain.startswith("gpu") else "AMD EPYC 9554",
            "quantity": "energy",
            "provenance": provenance,
            "in_total": True,
            "latched": provenance == "measured",
            "update_period_ns": 100_000_000,
            "window_ns": 0,
            "unit": 1e-3,
            "gain_std": 0.025 if provenance == "measured" else 0.5,
            "note": "",
            **more,
        }
    )


def region(
    path: str, energy: Mapping[str, Estimate], counted: Sequence[str], **more: Any
) -> Region:
    parts = [energy[d] for d in counted if d in energy]
    total = parts[0] if parts else UNKNOWN
    for part in parts[1:]:
        total = total + part
    names = tuple(path.split("/"))
    values = {"calls": 1, "duration_s": 1.0, "self_s": 0.5, **more}
    return Region(name=names[-1], path=names, energy=energy, total=total, **values)


def series(
    domain: str, provenance: str, n: int, duration_s: float, seed: int = 0, level: float = 300
) -> PowerSeries:
    rng = np.random.default_rng(seed)
    edges = BEGIN + np.linspace(0, duration_s * S, n + 1).astype("i8")
    t = np.linspace(0, 1, n)
    watts = level * (0.55 + 0.35 * np.sign(np.sin(t * 40)) * (t > 0.08)) + rng.normal(
        0, level * 0.03, n
    )
    return PowerSeries(domain, provenance, edges, np.maximum(watts, 1.0))


def spans_of(rows: Sequence[tuple[float, float, int, int]]) -> Any:
    out = np.zeros(len(rows), dtype=SPAN)
    for i, (begin, end, path, thread) in enumerate(rows):
        out[i] = (BEGIN + round(begin * S), BEGIN + round(end * S), path, thread)
    return out


def readings_of(power: Sequence[PowerSeries]) -> Any:
    parts = []
    for i, p in enumerate(power):
        part = np.zeros(len(p.watts), dtype=READING)
        part["channel"] = i
        part["begin_ns"], part["end_ns"] = p.edges_ns[:-1], p.edges_ns[1:]
        part["joules"] = p.watts * np.diff(p.edges_ns) * 1e-9
        part["edge_std_ns"] = 20_000
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=READING)


def build(**more: Any) -> Profile:
    """A profile of nothing, with some fields replaced."""
    return Profile(
        **{
            "name": "",
            "begin_ns": BEGIN,
            "end_ns": BEGIN + 10 * S,
            "channels": (),
            "energy": {},
            "counted": (),
            "total": UNKNOWN,
            "regions": RegionTable(()),
            "readings": np.zeros(0, dtype=READING),
            "spans": np.zeros(0, dtype=SPAN),
            "paths": ((),),
            "power": (),
            **more,
        }
    )


def empty() -> Profile:
    """No meter at all, no region."""
    return build(
        warnings=("no meter worked here: energies are unknown; see picojoule doctor",),
        findings=(
            {
                "meter": "rapl",
                "state": "refused",
                "subject": "CPU package",
                "why": "the energy counter is readable by root only",
                "remedy": "sudo chmod a+r /sys/class/powercap/intel-rapl:0/energy_uj",
            },
            {"meter": "nvml", "state": "absent", "subject": "", "why": "no driver", "remedy": ""},
        ),
    )


def training() -> Profile:
    """The typical run: a measured GPU, an estimated CPU, nested, concurrent and tiny regions."""
    duration = 48.0
    counted = ("gpu:0", "cpu")
    gpu, cpu = (
        series("gpu:0", "measured", 480, duration, 1, 520),
        series("cpu", "estimated", 480, duration, 2, 70),
    )
    gpu.watts[210:232] = math.nan

    def both(g: float, std: float, c: float) -> dict[str, Estimate]:
        return {
            "gpu:0": measured(g, std),
            "cpu": estimated(c),
            "gpu:0/memory": measured(g / 5, std),
        }

    rows = [
        region("train", both(11_800, 40, 1_500), counted, calls=1, duration_s=44.0, self_s=2.1),
        region(
            "train/epoch", both(11_300, 55, 1_390), counted, calls=3, duration_s=41.9, self_s=1.0
        ),
        region(
            "train/epoch/backward",
            both(6_400, 70, 600),
            counted,
            calls=300,
            duration_s=18.0,
            self_s=18.0,
        ),
        region(
            "train/epoch/forward",
            both(3_900, 80, 500),
            counted,
            calls=300,
            duration_s=14.4,
            self_s=14.4,
        ),
        region(
            "train/epoch/optimizer.step",
            both(700, 65, 120),
            counted,
            calls=300,
            duration_s=4.3,
            self_s=4.3,
        ),
        region(
            "train/epoch/load batch",
            both(260, 48, 160),
            counted,
            calls=300,
            duration_s=9.6,
            self_s=9.6,
            concurrent=True,
        ),
        region(
            "train/checkpoint",
            {
                "gpu:0": measured(9.0, 6.0, resolved=False, basis="shorter than a tick"),
                "cpu": estimated(3.0),
                "gpu:0/memory": measured(1.8, 2.0, resolved=False),
            },
            counted,
            calls=2,
            duration_s=0.021,
            self_s=0.021,
        ),
        region(
            "evaluate",
            both(420, 30, 90),
            counted,
            calls=1,
            duration_s=3.1,
            self_s=3.1,
            open_at_end=1,
        ),
    ]
    paths = ((), *(r.path for r in rows))
    at = {"/".join(p): i for i, p in enumerate(paths)}
    calls: list[tuple[float, float, int, int]] = [(0.6, 44.6, at["train"], 1)]
    for epoch in range(3):
        start = 0.8 + epoch * 14.3
        calls.append((start, start + 13.9, at["train/epoch"], 1))
        for step in range(100):
            t = start + 0.1 + step * 0.137
            calls.append((t, t + 0.048, at["train/epoch/forward"], 1))
            calls.append((t + 0.05, t + 0.11, at["train/epoch/backward"], 1))
            calls.append((t + 0.112, t + 0.126, at["train/epoch/optimizer.step"], 1))
            calls.append((t - 0.02, t + 0.03 + 0.02 * (step % 3), at["train/epoch/load batch"], 2))
        if epoch:
            calls.append((start + 13.95, start + 13.96, at["train/checkpoint"], 1))
    calls.append((44.8, 47.9, at["evaluate"], 1))
    energy = both(12_400, 12, 1_660)
    return build(
        name="resnet50, 3 epochs",
        end_ns=BEGIN + round(duration * S),
        channels=(
            channel(0, "gpu:0"),
            channel(
                1, "cpu", "estimated", note="from CPU time and the published range of this model"
            ),
            channel(2, "gpu:0/memory", in_total=False, device="HBM3"),
        ),
        energy=energy,
        counted=counted,
        total=energy["gpu:0"] + energy["cpu"],
        regions=RegionTable(rows),
        readings=readings_of((gpu, cpu)),
        spans=spans_of(calls),
        paths=paths,
        power=(gpu, cpu),
        gaps=(
            Gap(
                "nvml",
                "gpu:0",
                BEGIN + 21 * S,
                BEGIN + round(23.2 * S),
                "the driver did not answer",
            ),
        ),
        overhead={
            "sampler_cpu_s": 0.061,
            "sampler_core_share": 0.061 / duration,
            "polls": 5123.0,
            "polls_late": 2.0,
            "ticks": 960.0,
            "ticks_missed": 3.0,
            "spans_dropped": 0.0,
        },
        meta={
            "picojoule": "0.1.0",
            "python": "3.11.9",
            "host": "node-17",
            "cpu": "AMD EPYC 9554 64-Core Processor",
            "command": "train.py --epochs 3 --batch 256",
            "begin_wall_ns": 1_763_800_000_000_000_000,
        },
        warnings=("gpu:0: no reading for 2.2 s of 48 s; its energy is that of the rest",),
        findings=(
            {"meter": "nvml", "state": "works", "subject": "gpu:0", "why": "", "remedy": ""},
            *empty().findings[:1],
            {
                "meter": "amdsmi",
                "state": "absent",
                "subject": "",
                "why": "no library",
                "remedy": "",
            },
        ),
    )


def hostile() -> Profile:
    """Names that want out of their cell."""
    rows = [
        Region(
            name=name,
            path=(name,),  # slash and all: names are not path syntax
            calls=1,
            duration_s=1.0,
            self_s=1.0,
            energy={"gpu:0": measured(5, 1)},
            total=measured(5, 1),
        )
        for name in HOSTILE
    ]
    paths = ((), *((n,) for n in HOSTILE))
    return build(
        name=HOSTILE[0],
        channels=(channel(0, "gpu:0", device=HOSTILE[1], note=HOSTILE[3]),),
        energy={"gpu:0": measured(50, 2, basis=HOSTILE[0])},
        counted=("gpu:0",),
        total=measured(50, 2, basis=HOSTILE[0]),
        regions=RegionTable(rows),
        spans=spans_of([(i, i + 0.9, i + 1, 1) for i in range(len(HOSTILE))]),
        paths=paths,
        power=(series("gpu:0", "measured", 100, 10.0),),
        gaps=(Gap("nvml", "gpu:0", BEGIN + S, BEGIN + 2 * S, HOSTILE[1]),),
        meta={"command": HOSTILE[1], "host": HOSTILE[3], "extra": {"deep": HOSTILE[0]}},
        warnings=(HOSTILE[0], HOSTILE[3]),
        findings=(
            {
                "meter": HOSTILE[0],
                "state": "refused",
                "subject": HOSTILE[1],
                "why": HOSTILE[3],
                "remedy": HOSTILE[4],
            },
        ),
        kernels=KernelTable([kernel(name, 1.0, region=(name,)) for name in HOSTILE]),
    )


def instant() -> Profile:
    """It ended when it began."""
    return build(
        end_ns=BEGIN,
        channels=(channel(0, "gpu:0"),),
        energy={"gpu:0": measured(0.0, 0.4, resolved=False)},
        counted=("gpu:0",),
        total=measured(0.0, 0.4, resolved=False),
        power=(PowerSeries("gpu:0", "measured", np.zeros(0, "i8"), np.zeros(0)),),
    )


def many_regions(n: int = 10_000) -> Profile:
    """A tree with ``n`` regions on a few levels, and a span each."""
    rows: list[Region] = [
        region("root", {"gpu:0": measured(float(n), 3)}, ("gpu:0",), duration_s=10.0)
    ]
    for i in range(n - 1):
        path = (
            f"root/block{i // 100:03d}" if i % 100 == 0 else f"root/block{i // 100:03d}/op{i:05d}"
        )
        joules = 100.0 if i % 100 == 0 else 0.9
        rows.append(
            region(
                path,
                {"gpu:0": measured(joules, 0.05)},
                ("gpu:0",),
                duration_s=10 / n,
                self_s=10 / n,
            )
        )
    paths = ((), *(r.path for r in rows))
    return build(
        name="many",
        channels=(channel(0, "gpu:0"),),
        energy={"gpu:0": measured(float(n), 3)},
        counted=("gpu:0",),
        total=measured(float(n), 3),
        regions=RegionTable(rows),
        spans=spans_of(
            [(0, 10, 1, 1)] + [(10 * i / n, 10 * (i + 0.8) / n, i + 1, 1) for i in range(1, n)]
        ),
        paths=paths,
        power=(series("gpu:0", "measured", 100, 10.0),),
    )


def many_readings(n: int = 1_000_000) -> Profile:
    """A long recording with one needle up and one down."""
    power = series("gpu:0", "measured", n, 1000.0)
    power.watts[n // 3] = 9_999.0
    power.watts[n // 2] = 0.25
    joules = float(np.sum(power.watts * np.diff(power.edges_ns)) * 1e-9)
    return build(
        name="long",
        end_ns=BEGIN + 1000 * S,
        channels=(channel(0, "gpu:0"),),
        energy={"gpu:0": measured(joules, 3)},
        counted=("gpu:0",),
        total=measured(joules, 3),
        readings=readings_of((power,)),
        power=(power,),
    )


def modelled(joules: float, std: float, **more: Any) -> Estimate:
    basis = "nvml joules of the device spread over what ran, by time"
    return Estimate(joules, std, "modelled", **{"gain_std": 0.025, "basis": basis, **more})


def kernel(name: str, joules: float, **more: Any) -> Kernel:
    energy = UNKNOWN if math.isnan(joules) else modelled(joules, joules / 50)
    return Kernel(
        **{
            "name": name,
            "kind": "kernel",
            "region": ("train", "forward"),
            "domain": "gpu:0",
            "stream": 7,
            "grid": (128, 2, 1),
            "block": (256, 1, 1),
            "calls": 100,
            "time_s": 0.5,
            "least_s": 0.004,
            "most_s": 0.006,
            "energy": energy,
            **more,
        }
    )


GEMM = "void ampere::gemm<float, 4>(float*, int)"


def kernels() -> Profile:
    """A training whose kernels were traced: 10 s, two streams, a copy, some FLOP known."""
    rows = [
        kernel(
            GEMM, 1200.0, calls=200, time_s=3.0, flops=900e12, bytes=6e12, flops_source="formula"
        ),
        kernel(
            GEMM,
            900.0,
            region=("train", "backward"),
            calls=200,
            time_s=2.0,
            flops=600e12,
            bytes=4e12,
            flops_source="formula",
        ),
        kernel("softmax_warp_forward", 210.0, calls=200, time_s=0.7),
        kernel(
            "layer_norm", 150.0, time_s=0.5, flops=1e12, bytes=0.9e12, flops_source="formula",
            region=("train", "backward"),
        ),
        kernel(
            "memcpy HtoD", 60.0, kind="memcpy", stream=13, time_s=0.4, flops=0.0, bytes=8e9,
            grid=(0, 0, 0), block=(0, 0, 0), flops_source="a copy computes nothing",
            region=("train", "data"),
        ),
        kernel("<script>alert(1)</script>", 30.0, time_s=0.1, region=(), unmatched=True),
    ]  # fmt: skip
    device = Device("gpu:0", 6.5, 3.5, modelled(2550.0, 0.0), modelled(350.0, 0.0))
    ordered = list(KernelTable(rows))
    runs = no_runs(sum(k.calls for k in rows))
    begins, at = [0.1, 0.1], 0
    for place, k in enumerate(ordered):
        step, lane = k.time_s / k.calls, int(k.stream == 13)
        for i in range(k.calls):
            begin = BEGIN + round((begins[lane] + i * step * 1.3) * S)
            runs[at] = (begin, begin + round(step * S), place, 0)
            at += 1
        begins[lane] += k.time_s * 1.3
    runs = runs[np.argsort(runs["begin_ns"], kind="stable")]
    regions = [
        region("train", {"gpu:0": measured(2800, 12)}, ("gpu:0",), duration_s=9.6, self_s=0.1),
        region("train/forward", {"gpu:0": measured(1400, 20)}, ("gpu:0",), duration_s=4.9),
        region("train/backward", {"gpu:0": measured(1200, 20)}, ("gpu:0",), duration_s=4.0),
        region("train/data", {"gpu:0": measured(90, 9)}, ("gpu:0",), duration_s=0.6),
    ]
    return build(
        name="traced training",
        channels=(channel(0, "gpu:0"),),
        energy={"gpu:0": measured(2900, 10)},
        counted=("gpu:0",),
        total=measured(2900, 10),
        regions=RegionTable(regions),
        paths=((), *(r.path for r in regions)),
        spans=spans_of([(0.1, 9.7, 1, 1), (0.1, 5.0, 2, 1), (5.1, 9.1, 3, 1), (9.1, 9.7, 4, 1)]),
        power=(series("gpu:0", "measured", 100, 10.0),),
        kernels=KernelTable(rows, [device], runs),
    )


def many_kernels(n: int = 40_000) -> Profile:
    """Short kernels, more than pixels; some without joules, FLOP or a device that is metered."""
    rows = [
        kernel("tiny", 40.0, calls=n, time_s=4.0, least_s=4.0 / n, most_s=4.0 / n),
        kernel("elsewhere", math.nan, domain="gpu:1", calls=1, time_s=1.0),
    ]
    runs = no_runs(n + 1)
    begin = BEGIN + (np.arange(n) * (8 * S / n)).astype("i8")
    runs["begin_ns"][:n], runs["end_ns"][:n] = begin, begin + 4 * S // n
    runs["begin_ns"][n], runs["end_ns"][n], runs["kernel"][n] = BEGIN + 8 * S, BEGIN + 9 * S, 1
    device = Device("gpu:0", 4.0, 6.0, modelled(40.0, 0.0), modelled(60.0, 0.0))
    return build(
        name="short kernels",
        channels=(channel(0, "gpu:0"),),
        energy={"gpu:0": measured(100, 1)},
        counted=("gpu:0",),
        total=measured(100, 1),
        power=(series("gpu:0", "measured", 100, 10.0),),
        kernels=KernelTable(rows, [device], runs),
    )


EVERY = {
    "empty": empty,
    "training": training,
    "hostile": hostile,
    "instant": instant,
    "many_regions": lambda: many_regions(2_000),
    "many_readings": lambda: many_readings(20_000),
    "kernels": kernels,
    "many_kernels": lambda: many_kernels(20_000),
}
