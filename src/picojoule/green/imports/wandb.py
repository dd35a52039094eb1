"""Weights & Biases: the CSV of its table, or runs of its API as CSV or JSON.

The table has configuration and results in one row of columns, and does not say which is which:
``Options.scores`` names the results. Runs of the API have ``config`` and ``summary``.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from typing import Any

from picojoule.errors import UsageError
from picojoule.green.imports._table import (
    Options,
    Runs,
    Table,
    number,
    scores_of,
    split_config,
    told_energy,
    value_of,
    wall_s,
    whole,
)

_STATUS = {
    "finished": "ok", "failed": "failed", "crashed": "lost", "killed": "interrupted",
    "preempted": "interrupted",
}  # fmt: skip
#: Columns of the table that are neither configuration nor result.
_OWN = frozenset(
    (
        "Name", "ID", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "Agent",
        "Updated", "End Time", "Hostname", "GPU Count", "GPU Type", "Commit", "Github", "Git",
        "Duration", "Group", "Job Type", "Description", "Relative Time (Process)",
    )
)  # fmt: skip


def is_mine(table: Table) -> bool:
    """Whether the columns are those of the table or of the API."""
    columns = set(table.columns)
    return {"Name", "State"} <= columns or bool({"summary", "summaryMetrics"} & columns)


def read(table: Table, options: Options) -> Runs:
    """One run for each row."""
    out = Runs(table.path, "W&B", options)
    from_api = bool({"summary", "summaryMetrics"} & set(table.columns))
    if not from_api and not options.scores:
        out.notes.append(
            "no column was named as a score, so all of them count as configuration; name scores"
        )
    for line, row in table.rows:
        with out.row(line):
            whole(row)
            state = str(row.get("state") or row.get("State") or "finished").lower()
            if state not in _STATUS:
                raise UsageError(f"the run is {state}; import it again when it has ended")
            fields = _of_api(row, options) if from_api else _of_table(row, options)
            own_id = str(row.get("id") or row.get("ID") or "")
            own_id = own_id or f"{table.path.name} {row.get('name') or row.get('Name')} {line}"
            out.add(own_id, status=_STATUS[state], **fields)
    return out


def _of_table(row: Mapping[str, Any], options: Options) -> dict[str, Any]:
    results = {name: row[name] for name in options.scores if name in row}
    energy = options.energy.rpartition(":")[0]
    rest = {
        name: value_of(value)
        for name, value in row.items()
        if value not in (None, "")
        and name not in _OWN
        and name not in results
        and name != energy
        and not name.startswith("_")
    }
    duration = number(row, "Runtime", "s")
    if math.isnan(duration):
        duration = number(row, "_runtime", "s")
    return {
        "name": str(row.get("Name") or ""),
        "begin_wall_s": wall_s(row.get("Created")),
        "duration_s": duration,
        "device_count": number(row, "GPU Count"),
        "device_name": str(row.get("GPU Type") or ""),
        "host": str(row.get("Hostname") or ""),
        "git_commit": str(row.get("Commit") or ""),
        **split_config(rest),
        **scores_of(results),
        **told_energy(row, options, "W&B"),
    }


def _of_api(row: Mapping[str, Any], options: Options) -> dict[str, Any]:
    summary = _mapping(row, "summary") or _mapping(row, "summaryMetrics")
    config = _mapping(row, "config")
    # The server wraps each value: {"lr": {"value": 0.1}}.
    config = {
        k: v["value"] if isinstance(v, dict) and "value" in v else v
        for k, v in config.items()
        if not k.startswith("_")
    }
    machine = _mapping(row, "metadata")
    duration = number(summary, "_runtime", "s")
    if math.isnan(duration):
        duration = number(_mapping(summary, "_wandb"), "runtime", "s")
    results = {k: v for k, v in summary.items() if not k.startswith("_")}
    if options.scores:
        results = {k: v for k, v in results.items() if k in options.scores}
    commit = _mapping(machine, "git").get("commit") or row.get("commit")
    return {
        "name": str(row.get("name") or row.get("display_name") or ""),
        "begin_wall_s": wall_s(row.get("created_at") or row.get("createdAt")),
        "duration_s": duration,
        "device_count": number(machine, "gpu_count"),
        "device_name": str(machine.get("gpu") or ""),
        "host": str(machine.get("host") or ""),
        "git_commit": str(commit or ""),
        **split_config(config),
        **scores_of(results),
        **told_energy({**row, **summary}, options, "W&B"),
    }


def _mapping(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping in a cell: an object, or its JSON, or as Python prints it."""
    value = row.get(name)
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str) or not value:
        return {}
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(value)
        except (ValueError, SyntaxError):
            continue
        if isinstance(found, dict):
            return found
    raise UsageError(f"{name} is no mapping: {value[:40]!r}")
