"""Slurm's accounting: ``sacct --parsable2 --format=JobID,JobName,State,Start,ElapsedRaw,...``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.imports._table import Options, Runs, Table, number, wall_s, whole

_STATUS = {
    "COMPLETED": "ok", "FAILED": "failed", "OUT_OF_MEMORY": "failed", "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed", "TIMEOUT": "failed", "DEADLINE": "failed", "LAUNCH_FAILED": "failed",
    "RECONFIG_FAIL": "failed", "CANCELLED": "interrupted", "PREEMPTED": "interrupted",
    "REVOKED": "interrupted", "REQUEUED": "interrupted",
}  # fmt: skip
_GOING_ON = ("RUNNING", "PENDING", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING")
_SUFFIX = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def is_mine(table: Table) -> bool:
    """Whether the columns are those of sacct."""
    return {"JobID", "State"} <= set(table.columns)


def read(table: Table, options: Options) -> Runs:
    """One run for each job; its steps only tell the energy if the job does not."""
    out = Runs(table.path, "Slurm", options)
    jobs: dict[str, tuple[int, Mapping[str, Any]]] = {}
    steps: dict[str, list[Mapping[str, Any]]] = {}
    for line, row in table.rows:
        with out.row(line):
            whole(row)
            job, dot, _ = str(row["JobID"]).partition(".")
            if not re.match(r"^\d+", job):
                raise UsageError(f"{row['JobID']!r} is no number of a job")
            if dot:
                steps.setdefault(job, []).append(row)
            else:
                jobs[job] = (line, row)
    for job in steps.keys() - jobs.keys():
        out.complaints.append(f"{table.path}: job {job} has steps and no line of its own; left out")
    shared = False
    for job, (line, row) in jobs.items():
        with out.row(line):
            state = str(row["State"]).partition(" ")[0].rstrip("+")
            if state in _GOING_ON:
                raise UsageError(f"job {job} is {state}; import it again when it has ended")
            if state not in _STATUS:
                raise UsageError(f"job {job} has the unknown state {state!r}")
            fields = _fields(row, steps.get(job, []))
            shared = shared or not math.isnan(fields["energy_j"])
            began = fields["begin_wall_s"]
            cluster = row.get("Cluster") or ""
            out.add(f"{cluster} {job} {began}", status=_STATUS[state], **fields)
    if shared:
        out.notes.append(
            "Slurm's energy is that of whole nodes: jobs that shared a node have each other's in it"
        )
    return out


def _fields(row: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> dict[str, Any]:
    tres = dict(
        part.split("=", 1) for part in str(row.get("AllocTRES") or "").split(",") if "=" in part
    )
    nodes = _count(tres.get("node") or row.get("NNodes") or row.get("AllocNodes"))
    gpus = _count(tres.get("gres/gpu"))
    kinds = [name.partition(":")[2] for name in tres if name.startswith("gres/gpu:")]
    if math.isnan(gpus) and kinds:
        gpus = sum(_count(tres[f"gres/gpu:{kind}"]) for kind in kinds)
    began = wall_s(row.get("Start"))
    duration = _elapsed(row)
    joules, basis = _energy(row, steps)
    state = str(row["State"])
    return {
        "name": str(row.get("JobName") or ""),
        "begin_wall_s": began,
        "duration_s": duration,
        "device_count": gpus if gpus > 0 else nodes,
        "device_name": ", ".join(kinds),
        "host": str(row.get("NodeList") or ""),
        "energy_j": joules,
        "energy_provenance": "imported" if joules == joules else "estimated",
        "energy_basis": basis,
        "error": "" if state == "COMPLETED" else f"Slurm: {state}",
        "heartbeat_wall_s": began + duration,
    }


def _energy(row: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> tuple[float, str]:
    """Joules of a job and what they rest on."""
    joules = _joules(row)
    if joules > 0:
        return joules, "Slurm, ConsumedEnergy of the job's nodes"
    by_step = {str(s["JobID"]).partition(".")[2]: _joules(s) for s in steps}
    known = {step: j for step, j in by_step.items() if j > 0 and step != "extern"}
    if not known:
        return math.nan, "unknown: Slurm recorded no energy for this job"
    # The batch step lasts as long as the job, on its first node; the others run beside it.
    rest = sum(j for step, j in known.items() if step != "batch")
    return max(known.get("batch", 0.0), rest), "Slurm, ConsumedEnergy of the job's steps"


def _joules(row: Mapping[str, Any]) -> float:
    for column in ("ConsumedEnergyRaw", "ConsumedEnergy"):
        match = re.fullmatch(r"\s*([\d.]+)([KMGT]?)\s*", str(row.get(column) or ""))
        if match:
            joules = float(match[1]) * _SUFFIX[match[2]]
            exact = column == "ConsumedEnergyRaw"
            return math.nan if exact and _is_no_value(joules) else joules
        if row.get(column):
            raise UsageError(f"{column} is {row[column]!r}, which is no energy")
    return math.nan


def _is_no_value(joules: float) -> bool:
    """Whether it is one of Slurm's numbers for "no value", at the end of 32 or 64 bits."""
    return joules >= 2.0**64 - 2.0**12 or 2**32 - 3 <= joules < 2**32


def _elapsed(row: Mapping[str, Any]) -> float:
    raw = number(row, "ElapsedRaw", "s")
    if not math.isnan(raw):
        return raw
    text = str(row.get("Elapsed") or "")
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?", text)
    if not match:
        raise UsageError("no ElapsedRaw or Elapsed" if not text else f"Elapsed is {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _count(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
