"""MLflow's runs as CSV: columns ``run_id``, ``status``, ``params.*``, ``metrics.*``, ``tags.*``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.imports._table import (
    Options,
    Runs,
    Table,
    scores_of,
    split_config,
    told_energy,
    value_of,
    wall_s,
    whole,
)

_STATUS = {"FINISHED": "ok", "FAILED": "failed", "KILLED": "interrupted"}
_PARENT = "tags.mlflow.parentRunId"


def is_mine(table: Table) -> bool:
    """Whether the columns are MLflow's."""
    return {"run_id", "status", "start_time"} <= set(table.columns)


def read(table: Table, options: Options) -> Runs:
    """One run for each row, but for those that only hold others."""
    out = Runs(table.path, "MLflow", options)
    parents = {str(row.get(_PARENT)) for _, row in table.rows if row.get(_PARENT)}
    for line, row in table.rows:
        with out.row(line):
            whole(row)
            own_id = str(row["run_id"])
            if not own_id:
                raise UsageError("no run_id")
            if own_id in parents:
                out.notes.append(
                    f"run {own_id} only holds others (its time is theirs) and was left out"
                )
                continue
            status = str(row["status"])
            if status not in _STATUS:
                raise UsageError(f"run {own_id} is {status or 'without status'}; not ended yet")
            out.add(own_id, status=_STATUS[status], **_fields(row, options))
    return out


def _fields(row: Mapping[str, Any], options: Options) -> dict[str, Any]:
    began, ended = wall_s(row.get("start_time")), wall_s(row.get("end_time"))
    if ended < began:
        raise UsageError("it ended before it began")
    metrics = _below(row, "metrics.")
    metrics = {k: v for k, v in metrics.items() if not k.startswith("system/")}
    if options.scores:
        metrics = {k: v for k, v in metrics.items() if k in options.scores}
    return {
        "name": str(row.get("tags.mlflow.runName") or ""),
        "begin_wall_s": began,
        "duration_s": ended - began,
        "device_count": math.nan,
        "git_commit": str(row.get("tags.mlflow.source.git.commit") or ""),
        "command": str(row.get("tags.mlflow.source.name") or ""),
        "heartbeat_wall_s": ended,
        **split_config({k: value_of(v) for k, v in _below(row, "params.").items()}),
        **scores_of(metrics),
        **told_energy({**row, **_below(row, "metrics.")}, options, "MLflow"),
    }


def _below(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in row.items()
        if name.startswith(prefix) and value not in (None, "")
    }
