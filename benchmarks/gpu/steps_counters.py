"""FLOPs of kernels whose truth is known: by formula, by our counters, by Nsight Compute."""

from __future__ import annotations

import csv
import io
import math
import shutil
import subprocess
import sys
from pathlib import Path

from harness import Found, write

_FP32 = {f"smsp__sass_thread_inst_executed_op_{op}_pred_on.sum": n
         for op, n in (("ffma", 2), ("fadd", 1), ("fmul", 1))}  # fmt: skip
#: Adds pairs of fp16, each pair by one packed instruction, 64 times.
_HALVES = """
extern "C" __global__ void halves(unsigned* x) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, v = x[i], w = v;
    for (int k = 0; k < 64; ++k) asm volatile("add.f16x2 %0, %0, %1;" : "+r"(v) : "r"(w));
    x[i] = v;
}
"""
#: Name -> (set-up with N and DEVICE, one launch, its FLOPs, metrics of Nsight Compute with what one
#: count is worth). What a packed half instruction counts as is a question, not known beforehand.
PROGRAMS = {
    "bf16 product": (
        "a = torch.randn(N, N, device=DEVICE, dtype=torch.bfloat16)",
        "a @ a",
        lambda n: 2.0 * n**3,
        {"sm__ops_path_tensor_src_bf16_dst_fp32.sum": 1},
    ),
    "fp32 elements": (
        "a, b, c = (torch.randn(N * N, device=DEVICE) for _ in range(3))",
        "torch.addcmul(c, a, b)",
        lambda n: 2.0 * n**2,
        _FP32,
    ),
    "packed halves": (
        f"kernel = torch.cuda._compile_kernel({_HALVES!r}, 'halves')\n"
        "x = torch.zeros(N * N, dtype=torch.int32, device=DEVICE)",
        "kernel(grid=(N * N // 256, 1, 1), block=(256, 1, 1), args=[x])",
        lambda n: 2.0 * 64 * n**2,
        {"smsp__sass_thread_inst_executed_op_hadd_pred_on.sum": 2},
    ),
}


def flops(seconds: float, dry: bool, folder: Path) -> Found:
    """Each program by `picojoule count` and, where it is, ncu; the first by formula, too."""
    device, n = ("cpu", 128) if dry else ("cuda", 2048)
    out: Found = by_formula(device, n)
    for name, (prepare, launch, truth, metrics) in PROGRAMS.items():
        if dry and name != "bf16 product":
            continue
        program = folder / "program.py"
        program.write_text(
            f"import torch\nN, DEVICE = {n}, {device!r}\n{prepare}\n"
            f"for _ in range(3):\n    {launch}\n" + ("" if dry else "torch.cuda.synchronize()\n"),
            encoding="utf-8",
        )
        out[name] = of_program(program, truth(n), metrics, folder, 0.2 * seconds)
        program.unlink()
        write(folder, "flops", out)
    known = [
        f"{name}: counters {found['counted']:.3f}, ncu {found['ncu']:.3f}"
        for name, found in out.items()
        if isinstance(found, dict)
    ]
    exact = "exact" if out["formula_over_truth"] == 1 else f"{out['formula_over_truth']:.4f}"
    return {**out, "said": f"formula {exact}; of the truth: " + "; ".join(known)}


def by_formula(device: str, n: int) -> Found:
    """Twenty products, one of them looked at."""
    import torch

    import picojoule as pj

    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    with pj.profile() as prof:
        for i in range(20):
            with pj.region("gemm"):
                if i == 2:
                    with pj.count_flops():
                        a @ a
                else:
                    a @ a
        if device == "cuda":
            torch.cuda.synchronize()
    return {
        "formula_over_truth": prof.flops.model / (20 * 2 * n**3),
        "formula_coverage": prof.flops.coverage_time,
    }


def of_program(
    program: Path, truth: float, metrics: dict[str, int], folder: Path, seconds: float
) -> Found:
    """What counters say of its busiest kernel, over the truth; nan where they say nothing."""
    import picojoule as pj

    out: Found = {"truth": truth, "counted": math.nan, "ncu": math.nan}
    counts = folder / "counts.json"
    counts.unlink(missing_ok=True)
    done = run(
        [sys.executable, "-m", "picojoule", "count", "-o", str(counts), str(program)], seconds
    )
    if counts.exists():
        table = pj.counters.load_counts(counts)
        best = max((c.flops_total for c in table.values() if c.known), default=math.nan)
        out["counted"] = best / truth
    else:
        out["count_said"] = done.strip().splitlines()[-1:]
    if ncu := shutil.which("ncu"):
        command = [ncu, "--clock-control", "none", "--metrics", ",".join(metrics), "--csv"]
        said = run([*command, sys.executable, str(program)], seconds)
        out["ncu"] = largest(said, metrics) / truth
        if math.isnan(out["ncu"]):
            out["ncu_said"] = [x for x in said.splitlines() if x.startswith("==")][-2:]
    return out


def largest(report: str, metrics: dict[str, int]) -> float:
    """FLOPs of the launch with most of them, from ncu's CSV; nan if it has none of the metrics."""
    lines = [x for x in report.splitlines() if x.startswith('"')]
    launches: dict[str, float] = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines))):
        worth = metrics.get(row.get("Metric Name", ""))
        value = row.get("Metric Value", "").replace(",", "")
        if worth is None or not value.replace(".", "", 1).isdigit():
            continue
        launches[row["ID"]] = launches.get(row["ID"], 0.0) + worth * float(value)
    return max(launches.values(), default=math.nan)


def run(command: list[str], seconds: float) -> str:
    """Its output; what it said so far if it takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=max(25.0, seconds)
        )
    except subprocess.TimeoutExpired as late:
        text = late.stdout or b""
        return (text.decode(errors="replace") if isinstance(text, bytes) else text) + "\ntoo slow"
    return done.stdout + done.stderr
