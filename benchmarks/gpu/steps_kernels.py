"""What this machine is, the tests that need it, and our kernels beside those of other profilers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import analysis
from harness import Found, write


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
        # Warnings of other packages on this machine are no failures of ours.
        [
            sys.executable, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider",
            "-m", "gpu", str(root / "tests/gpu"),
        ],
        capture_output=True, text=True, check=False, cwd=root, timeout=max(60.0, seconds),
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    said = lines[-1].strip("= ") if lines else done.stderr[-200:]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    found: Found = {"said": said, "status": done.returncode, "failures": failed[:20]}
    if done.returncode not in (0, 5):  # 5: no test was collected
        found["failed"] = said
        found["output"] = done.stdout[-6000:]
    return found


def kernels(seconds: float, dry: bool, folder: Path) -> Found:
    """The same five training steps, by us, by torch.profiler and, if it is there, by nsys."""
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
    if nsys := shutil.which("nsys"):
        write(folder, "kernels", out)  # what there is, should the next be too slow
        out["nsys"] = by_nsys(nsys, ours, folder, seconds)
    return out


def by_nsys(nsys: str, ours: dict[str, tuple[int, float]], folder: Path, seconds: float) -> Found:
    """Our list beside that of Nsight Systems, read by our own importer."""
    from picojoule import importers

    program, report = folder / "steps.py", folder / "nsys"
    program.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).resolve().parent)!r})\n"
        "import torch, workloads\n"
        "step = workloads.gpt2_step('cuda')\n"
        "for _ in range(3): step()\n"
        "torch.cuda.synchronize()\n"
        "torch.cuda.profiler.start()\n"
        "for _ in range(5): step()\n"
        "torch.cuda.synchronize()\n"
        "torch.cuda.profiler.stop()\n",
        encoding="utf-8",
    )
    command = [nsys, "profile", "--trace=cuda", "--sample=none", "--cpuctxsw=none", "-f", "true"]
    command += ["--capture-range=cudaProfilerApi", "--export=sqlite", "-o", str(report)]
    try:
        done = subprocess.run(
            [*command, sys.executable, str(program)],
            capture_output=True, text=True, check=False, timeout=max(40.0, seconds),
        )  # fmt: skip
        timeline = importers.read(report.with_suffix(".sqlite"))
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:300]}
    finally:
        for file in (program, report.with_suffix(".nsys-rep")):
            file.unlink(missing_ok=True)
    seen: dict[str, tuple[int, float]] = {}
    for row in timeline.kernels:
        what = timeline.classes[int(row["kernel_class"])]
        if what["kind"] == "kernel":
            calls, time_s = seen.get(what["name"], (0, 0.0))
            took = (int(row["end_ns"]) - int(row["begin_ns"])) * 1e-9
            seen[what["name"]] = (calls + 1, time_s + took)
    report.with_suffix(".sqlite").unlink(missing_ok=True)
    return {**analysis.compare_kernels(ours, seen), "status": done.returncode}
