"""What watching costs: blocks of steps with a tool on and off, in random order."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import analysis
from harness import Found

Tool = Callable[[], AbstractContextManager[Any]]


def tools() -> dict[str, Tool]:
    """Those that are installed."""
    import picojoule as pj

    out: dict[str, Tool] = {
        "picojoule": pj.profile,
        "picojoule, sums": lambda: pj.profile(kernels="sums"),
        "picojoule, no kernels": lambda: pj.profile(kernels=False),
    }

    def torch_profiler() -> AbstractContextManager[Any]:
        from torch.profiler import ProfilerActivity, profile

        return profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])

    out["torch.profiler"] = torch_profiler
    with contextlib.suppress(ImportError):
        import triton.profiler as proton

        @contextlib.contextmanager
        def by_proton() -> Any:
            proton.start("proton_out")
            try:
                yield
            finally:
                proton.finalize()

        out["Proton"] = by_proton
    with contextlib.suppress(ImportError):
        from codecarbon import EmissionsTracker

        @contextlib.contextmanager
        def by_codecarbon() -> Any:
            tracker = EmissionsTracker(save_to_file=False, log_level="critical")
            tracker.start()
            try:
                yield
            finally:
                tracker.stop()

        out["CodeCarbon"] = by_codecarbon
    with contextlib.suppress(ImportError):
        from zeus.monitor import ZeusMonitor

        @contextlib.contextmanager
        def by_zeus() -> Any:
            monitor = ZeusMonitor(gpu_indices=[0])
            monitor.begin_window("x")
            try:
                yield
            finally:
                monitor.end_window("x")

        out["Zeus"] = by_zeus
    return out


def paired(
    step: Callable[[], Any],
    tool: Tool,
    settle: Callable[[], None],
    seconds: float,
    most: int = 40,
) -> Found:
    """Median ratio of step times, on over off, from pairs in random order.

    A block is some ten steps; what a tool does when it starts and ends is left out, as for a loop
    that is long.
    """
    begin = time.perf_counter()
    step()
    settle()
    steps = max(2, min(200, int(0.3 / max(1e-6, time.perf_counter() - begin))))

    def block() -> float:
        settle()
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        settle()
        return (time.perf_counter() - begin) / steps

    on, off = [], []
    end = time.monotonic() + seconds
    rng = random.Random(0)
    while time.monotonic() < end and len(on) < most:
        first = rng.random() < 0.5
        for on_now in (first, not first):
            if on_now:
                with tool():
                    block()  # the first steps after a start pay for it
                    on.append(block())
            else:
                block()
                off.append(block())
    found = analysis.ratio_of_pairs(on, off)
    return {**found, "steps": steps, "step_s": analysis.percentiles(off)["median"]}


def of(name: str) -> Callable[[float, bool, Path], Found]:
    """A step that measures one model under all tools."""

    def run(seconds: float, dry: bool, folder: Path) -> Found:
        import torch
        import workloads

        device = "cpu" if dry else "cuda"
        make: dict[str, Callable[[], Any]] = {
            "gpt2": lambda: workloads.gpt2_step(device, small=dry),
            "gpt2_compiled": lambda: workloads.gpt2_step(device, small=dry, compiled=not dry),
            "resnet50": lambda: workloads.resnet_step(device, small=dry),
            "decode": lambda: workloads.decode_step(device, small=dry),
            "storm": lambda: workloads.storm(device, 50 if dry else 2000),
        }
        settle = (lambda: None) if dry else torch.cuda.synchronize
        step = make[name]()
        for _ in range(1 if dry else 4):
            step()
        settle()
        chosen = tools()
        if name != "gpt2":
            chosen = {k: v for k, v in chosen.items() if k in ("picojoule", "torch.profiler")}
        if dry:
            chosen = {"picojoule": chosen["picojoule"]}
        out: Found = {}
        for tool_name, tool in chosen.items():
            try:
                out[tool_name] = paired(
                    step, tool, settle, 0.8 * seconds / len(chosen), 1 if dry else 40
                )
            except Exception as error:  # another tool's fault is a finding
                out[tool_name] = {"failed": f"{type(error).__name__}: {error}"[:200]}
        for _ in range(2):
            step()
        settle()
        said = [
            f"{tool} {found['ratio'] - 1:+.2%} [{found['low'] - 1:+.2%}, {found['high'] - 1:+.2%}]"
            if "ratio" in found
            else f"{tool} failed"
            for tool, found in out.items()
        ]
        return {**out, "said": "; ".join(said)}

    return run
