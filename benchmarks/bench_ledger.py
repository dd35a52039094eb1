"""The ledger under load, with 100,000 runs, and what it costs a program to be in a study."""

from __future__ import annotations

import dataclasses
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from support import ROOT, save

sys.path.insert(0, str(ROOT / "tests" / "unit"))

from ledger_load import storm

import picojoule as pj
from picojoule.green import ledger, recorder
from picojoule.green.model import Run

RUNS = 100_000
_ROLES = ("tune", "tune", "tune", "final", "ablation")


def fill(path: Path, study_of: Any) -> None:
    """Runs as a year of a group's work might leave them; ``study_of``: number -> its study."""
    versions = {"python": "3.11.7", "picojoule": "0.1.0", "torch": "2.8.0", "numpy": "2.4.6"}
    runs = []
    for i in range(RUNS):
        joules = 1e5 * (1 + i % 97)
        runs.append(
            Run(
                f"{i:032x}",
                study_of(i),
                role=_ROLES[i % 5],
                status="failed" if i % 11 == 0 else "ok",
                config={"lr": 0.1 / (1 + i % 500), "width": 64 * (1 + i % 7)},
                config_hash=f"{i % 3500:016x}",
                seed=str(i % 3),
                begin_wall_s=1.7e9 + 60.0 * i,
                duration_s=600.0 + i % 100,
                devices=("GPU-0a1b2c3d",),
                device_count=1.0,
                device_name="NVIDIA A100-SXM4-80GB",
                energy_j=joules,
                energy_low_j=0.95 * joules,
                energy_high_j=1.05 * joules,
                energy_provenance="measured",
                energy_basis="energy counter of the board",
                domain_j={"gpu:0": 0.8 * joules, "cpu": 0.2 * joules},
                examples=5e4,
                scores={"accuracy": 0.5 + (i * 0.618034) % 1 * 0.4, "loss": 1.0 / (2 + i * 0.3)},
                host=f"node{i % 16}",
                pid=i,
                git_commit=f"{i // 100:040x}",
                git_dirty=False,
                versions=versions,
                command="train.py --config configs/base.yaml",
                heartbeat_wall_s=1.7e9 + 60.0 * i + 600,
            )
        )
    book = ledger.open(path)
    for at in range(0, RUNS, 10_000):
        book.add_all(runs[at : at + 10_000])


def best_of(repeat: int, action: Any) -> dict[str, float]:
    """Seconds of the fastest of ``repeat`` calls: on the wall, and of the CPU."""
    times = []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), _cpu_s()
        action()
        times.append((time.perf_counter() - wall, _cpu_s() - cpu))
    return {
        "wall_s": round(min(w for w, _ in times), 3),
        "cpu_s": round(min(c for _, c in times), 3),
    }


def _cpu_s() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def command(*words: str, path: Path) -> Any:
    """A call of the command line, with the start of Python."""
    call = [sys.executable, "-m", "picojoule", "study", *words, "--ledger", str(path)]
    # As in an installed package, the modules are compiled once.
    compiled = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    null = subprocess.DEVNULL
    return lambda: subprocess.run(call, check=True, stdout=null, stderr=null, env=compiled)


def large(folder: Path) -> dict[str, Any]:
    path, whole = folder / "large.db", folder / "whole.db"
    fill(path, lambda i: "large" if i % 2 else f"study-{i % 78}")  # 40 studies, one with half
    fill(whole, lambda i: "whole")
    page = str(folder / "whole.html")
    report = ("report", "whole", "--score", "accuracy")
    book = ledger.open(path)
    small = folder / "small.db"
    ledger.open(small).add(Run("a", "s"))
    return {
        "runs": RUNS,
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "list_studies": best_of(5, book.studies),
        "read_50000_runs_of_a_study": best_of(3, lambda: book.study("large")),
        "read_all_runs": best_of(3, book.runs),
        "cli_list": best_of(3, command("list", path=path)),
        "cli_list_of_an_empty_ledger": best_of(3, command("list", path=small)),
        "cli_show_last_50": best_of(3, command("show", "large", path=path)),
        "cli_report_of_50000_runs": best_of(
            3, command("report", "large", "--score", "accuracy", path=path)
        ),
        "cli_report_of_100000_runs": best_of(3, command(*report, path=whole)),
        "cli_page_of_100000_runs": best_of(3, command(*report, "-o", page, path=whole)),
        "bar_listed_s": 0.5,
        "bar_reported_s": 3.0,
    }


def overhead() -> dict[str, Any]:
    """What the user's thread waits for, with a study and without."""
    os.environ["PICOJOULE_LEDGER"] = str(Path(tempfile.mkdtemp()) / "l.db")
    config = {"lr": 0.1, "layers": [64, 64], "name": "base"}
    out = {}
    for name, words in (("without", {}), ("with", {"study": "s", "config": config, "seed": 1})):
        enter, leave = [], []
        for _ in range(300):
            time.sleep(0.01)
            a = time.perf_counter()
            p = pj.profile(**words)
            p.__enter__()
            b = time.perf_counter()
            p.__exit__(None, None, None)
            c = time.perf_counter()
            enter.append(b - a)
            leave.append(c - b)
        for what, times in (("enter", enter), ("leave", leave)):
            ordered = sorted(times)
            out[f"{what}_{name}_a_study_us"] = {
                "median": round(1e6 * statistics.median(times)),
                "p95": round(1e6 * ordered[int(0.95 * len(ordered))]),
            }
    recorder.flush()
    return out


def main() -> None:
    others = round(os.getloadavg()[0], 1)
    folder = Path(tempfile.mkdtemp(prefix="picojoule-ledger-"))
    load = storm(folder, processes=64, count=200, killed=20)
    figures = dataclasses.asdict(load)
    figures["seconds"] = round(figures["seconds"], 1)
    figures["seconds_to_read"] = round(figures["seconds_to_read"], 3)
    save(
        "ledger",
        {
            "load": {"processes": 64, "runs_each": 200, "killed": 20, **figures},
            "large": large(folder),
            "user_thread": overhead(),
            "load_of_others_at_the_start": others,
        },
    )


if __name__ == "__main__":
    main()
