"""Our kernels and FLOPs beside those of other tools on the same program."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import analysis
from harness import Found


def facts(seconds: float, dry: bool, folder: Path) -> Found:
    """Board, driver, versions, permissions; no name of a machine, no path."""
    import platform

    import picojoule as pj

    out: Found = {"python": platform.python_version(), "picojoule": pj.__version__}
    tracing = pj.doctor().tracing
    out["tracing"] = {k: tracing[k] for k in ("mode", "words", "version")}
    try:
        import torch

        out["torch"] = torch.__version__
        out["cuda"] = torch.version.cuda
    except ImportError:
        out["torch"] = "not installed"
    params = Path("/proc/driver/nvidia/params")
    if params.exists():
        lines = params.read_text(encoding="utf-8", errors="replace").splitlines()
        out["profiling_admin_only"] = [x for x in lines if "RmProfilingAdminOnly" in x]
    if not dry:
        from steps_sensors import Nvml

        nvml = Nvml()
        out["gpu"], out["driver"] = nvml.name(), nvml.driver()
        out["sm_clock_mhz"] = nvml.sm_clock_mhz()
    out["said"] = f"{out.get('gpu', 'no GPU')}, driver {out.get('driver', '-')}: {tracing['words']}"
    return out


def tests(seconds: float, dry: bool, folder: Path) -> Found:
    """The tests that need a GPU."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(root / "tests/gpu")],
        capture_output=True, text=True, check=False, cwd=root, timeout=max(60.0, seconds),
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    said = lines[-1].strip("= ") if lines else done.stderr[-200:]
    failed = [line for line in lines if line.startswith("FAILED")]
    return {"said": said, "status": done.returncode, "failures": failed[:20]}


def kernels(seconds: float, dry: bool, folder: Path) -> Found:
    """The same five training steps, by us and by torch.profiler."""
    import torch
    import workloads
    from torch.profiler import ProfilerActivity, profile

    import picojoule as pj

    device = "cpu" if dry else "cuda"
    step = workloads.gpt2_step(device, small=dry)

    def settle() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    settle()
    shutil.rmtree(folder / "gpt2.pj", ignore_errors=True)
    with pj.profile("gpt2", output=folder / "gpt2.pj") as prof:
        for _ in range(5):
            step()
        settle()
    ours: dict[str, tuple[int, float]] = {}
    for k in prof.kernels:
        if k.kind == "kernel":
            calls, time_s = ours.get(k.name, (0, 0.0))
            ours[k.name] = (calls + k.calls, time_s + k.time_s)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as theirs:
        for _ in range(5):
            step()
        settle()
    trace = folder / "torch_trace.json"
    theirs.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    trace.unlink()
    seen: dict[str, tuple[int, float]] = {}
    for event in events:
        if event.get("cat") == "kernel":
            calls, time_s = seen.get(event["name"], (0, 0.0))
            seen[event["name"]] = (calls + 1, time_s + event["dur"] * 1e-6)
    out = analysis.compare_kernels(ours, seen)
    by_region: dict[str, float] = {}
    for k in prof.kernels:
        if k.kind == "kernel":
            where = "/".join(k.region)
            by_region[where] = by_region.get(where, 0.0) + k.time_s
    out["time_s_by_region"] = by_region
    out["unmatched"] = prof.overhead.get("kernels_unmatched")
    out["warnings"] = list(prof.result.warnings)
    matched, off = out["share_of_time_matched"], out["median_time_difference"]
    out["said"] = (
        f"{len(ours)} kernels, torch.profiler {len(seen)}; {matched:.1%} of its time has the same "
        f"launches here, times differ by {off:.1%}"
        if seen
        else f"{len(ours)} kernels here; torch.profiler shows none"
    )
    return out


def flops(seconds: float, dry: bool, folder: Path) -> Found:
    """Products of known size: our formula, our counters, and Nsight Compute's where it is."""
    import torch

    import picojoule as pj

    device = "cpu" if dry else "cuda"
    n = 128 if dry else 4096
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    with pj.profile() as prof:
        for i in range(20):
            with pj.region("gemm"):
                if i == 2:
                    with pj.count_flops():
                        a @ a
                else:
                    a @ a
        if not dry:
            torch.cuda.synchronize()
    truth = 20 * 2 * n**3
    out: Found = {"truth": truth, "model": prof.flops.model, "coverage": prof.flops.coverage_time}
    program = folder / "gemm.py"
    program.write_text(
        f"import torch\na = torch.randn({n}, {n}, device='{device}', dtype=torch.bfloat16)\n"
        "for _ in range(3): a @ a\n" + ("" if dry else "torch.cuda.synchronize()\n"),
        encoding="utf-8",
    )
    counted = folder / "counts.json"
    done = subprocess.run(
        [sys.executable, "-m", "picojoule", "count", "-o", str(counted), str(program)],
        capture_output=True, text=True, check=False, timeout=max(60.0, 0.6 * seconds),
    )  # fmt: skip
    if counted.exists():
        table = pj.counters.load_counts(counted)
        best = max((c.flops_total for c in table.values() if c.known), default=math.nan)
        out["counted_per_launch"], out["counted_over_truth"] = best, best / (2 * n**3)
    else:
        out["count_said"] = done.stderr.strip().splitlines()[-1:]
    if ncu := shutil.which("ncu"):
        metric = "sm__ops_path_tensor_src_bf16_dst_fp32.sum"
        done = subprocess.run(
            [ncu, "--metrics", metric, "--csv", sys.executable, str(program)],
            capture_output=True, text=True, check=False, timeout=max(60.0, 0.4 * seconds),
        )  # fmt: skip
        out["ncu"] = [line for line in done.stdout.splitlines() if metric in line][:5]
    program.unlink()
    right = "exact" if out["model"] == truth else f"{out['model'] / truth:.4f} of the truth"
    counter = out.get("counted_over_truth", math.nan)
    out["said"] = f"formula {right}; counters {counter:.4f} of 2 n^3"
    return out
