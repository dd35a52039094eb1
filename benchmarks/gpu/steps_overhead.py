"""What watching costs: blocks of steps with a tool on and off, in random order."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import analysis
from harness import Found, write

Tool = Callable[[], AbstractContextManager[Any]]
OURS, TORCHS = "picojoule", "torch.profiler"
#: Shares of a step's time; one where nothing is said.
WEIGHTS = {OURS: 3.0, TORCHS: 1.5}
#: What one of our launches has for its 1 %, at a hundred thousand a second.
LAUNCHES = {"storm": 2000}


def tools(*, all_of_ours: bool) -> dict[str, Tool]:
    """Those that are installed, in an order in which none is in the next one's way."""
    import picojoule as pj

    def ours(**options: Any) -> Tool:
        @contextlib.contextmanager
        def watched() -> Iterator[None]:
            with pj.profile(**options):
                yield
            # Meters and tracing go on for two seconds otherwise: into the block without.
            pj._core.shutdown()

        return watched

    out: dict[str, Tool] = {OURS: ours()}
    if all_of_ours:
        out["picojoule, sums"] = ours(kernels="sums")
        out["picojoule, no kernels"] = ours(kernels=False)
    with contextlib.suppress(Exception):  # a broken install is no reason to stop
        from codecarbon import EmissionsTracker

        @contextlib.contextmanager
        def by_codecarbon() -> Iterator[None]:
            tracker = EmissionsTracker(save_to_file=False, log_level="critical")
            tracker.start()
            try:
                yield
            finally:
                tracker.stop()

        out["CodeCarbon"] = by_codecarbon
    with contextlib.suppress(Exception):
        from zeus.monitor import ZeusMonitor

        @contextlib.contextmanager
        def by_zeus() -> Iterator[None]:
            monitor = ZeusMonitor(gpu_indices=[0])
            monitor.begin_window("x")
            try:
                yield
            finally:
                monitor.end_window("x")

        out["Zeus"] = by_zeus
    with contextlib.suppress(Exception):
        import triton.profiler as proton

        @contextlib.contextmanager
        def by_proton() -> Iterator[None]:
            with tempfile.TemporaryDirectory() as folder:
                proton.start(os.path.join(folder, "proton"))  # noqa: PTH118 - it wants a str
                try:
                    yield
                finally:
                    proton.finalize()

        out["Proton"] = by_proton

    def by_torch() -> AbstractContextManager[Any]:
        from torch.profiler import ProfilerActivity, profile

        return profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])

    out[TORCHS] = by_torch  # last: it may keep CUPTI, and what it costs, to itself
    return out


class Blocks:
    """Blocks of steps, each some 0.3 s long, timed to the device's end of them."""

    def __init__(self, step: Callable[[], Any], settle: Callable[[], None]) -> None:
        self._step, self._settle = step, settle
        settle()
        begin = time.perf_counter()
        step()
        settle()
        self.steps = max(2, min(200, int(0.3 / max(1e-6, time.perf_counter() - begin))))

    def __call__(self) -> float:
        """Seconds a step."""
        self._settle()
        begin = time.perf_counter()
        for _ in range(self.steps):
            self._step()
        self._settle()
        return (time.perf_counter() - begin) / self.steps


def paired(block: Blocks, tool: Tool, seconds: float, most: int = 40) -> Found:
    """Median ratio of step times, on over off, from pairs in random order.

    What a tool does when it starts and ends is left out, as for a loop that is long.
    """
    on, off = [], []
    end = time.monotonic() + seconds
    rng = random.Random(0)
    while (time.monotonic() < end and len(on) < most) or not on:
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
    return {**found, "steps": block.steps, "step_s": analysis.percentiles(off)["median"]}


def compared(out: Found) -> Found:
    """Our overhead as a part of torch.profiler's; empty where one of them is not known."""
    ours, theirs = (out.get(name, {}).get("ratio") for name in (OURS, TORCHS))
    if ours is None or theirs is None or not theirs > 1:
        return {}
    return {"of_torch_profilers": max(0.0, ours - 1) / (theirs - 1)}


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
            "storm": lambda: workloads.storm(device, 50 if dry else LAUNCHES["storm"]),
        }
        settle = (lambda: None) if dry else torch.cuda.synchronize
        begin = time.monotonic()
        step = make[name]()
        for _ in range(1 if dry else 4):
            step()
        block = Blocks(step, settle)
        chosen = tools(all_of_ours=name == "gpt2")
        if dry:
            chosen = {OURS: chosen[OURS]}
        pairs = 1 if dry else 40
        before = [block() for _ in range(pairs // 5 + 1)]
        left = max(1.0, 0.85 * seconds - (time.monotonic() - begin))  # loading took its part
        weight = sum(WEIGHTS.get(tool, 1.0) for tool in chosen)
        out: Found = {"loading_s": time.monotonic() - begin}
        for tool_name, tool in chosen.items():
            share = left * WEIGHTS.get(tool_name, 1.0) / weight
            try:
                out[tool_name] = paired(block, tool, share, pairs)
            except Exception as error:  # another tool's fault is a finding
                out[tool_name] = {"failed": f"{type(error).__name__}: {error}"[:200]}
            if tool_name == OURS:
                # What our profiles leave behind: without them, before the first and after the last.
                out["after picojoule"] = analysis.ratio_of_pairs([block() for _ in before], before)
            write(folder, f"overhead_{name}", out)  # the next one may hang
        out.update(compared(out))
        if name in LAUNCHES and not dry:
            out["launches_a_second"] = LAUNCHES[name] / out[OURS].get("step_s", float("nan"))
        return {**out, "said": said(out)}

    return run


def said(out: Found) -> str:
    """The line of the table."""
    words = []
    for tool, found in out.items():
        if not isinstance(found, dict):
            continue
        if "ratio" in found:
            low, high = found["low"] - 1, found["high"] - 1
            words.append(f"{tool} {found['ratio'] - 1:+.2%} [{low:+.2%}, {high:+.2%}]")
        else:
            words.append(f"{tool} failed")
    if "of_torch_profilers" in out:
        words.append(f"{out['of_torch_profilers']:.2f} of torch.profiler's")
    return "; ".join(words)
