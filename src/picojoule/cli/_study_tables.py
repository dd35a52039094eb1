"""Runs and studies as plain tables, as JSON and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from picojoule.green.inside import overlapping
from picojoule.green.model import STATUSES, Run, Study
from picojoule.green.summaries import Summary


def studies(found: Sequence[Summary]) -> str:
    """One line a study."""
    lines = [("STUDY", "RUNS", "OF THESE", "ENERGY", "DEVICE TIME", "LAST BEGIN")]
    for s in found:
        states = ", ".join(f"{s.by_status[k]} {k}" for k in STATUSES if k in s.by_status)
        energy = f"{s.energy} {s.energy.provenance}" if s.energy.known else "unknown"
        if s.energy.known and s.without_energy:
            energy += f" + {s.without_energy} unknown"
        lines.append((s.name, str(s.runs), states, energy, _span(s.device_s), _when(s.last_wall_s)))
    return _aligned(lines)


def runs(study: Study, limit: int) -> str:
    """One line a run, the last ``limit`` of them; 0 is all."""
    shown = list(study)[-limit:] if limit > 0 else list(study)
    names = list(dict.fromkeys(name for r in shown for name in r.scores))
    folds, seeds = any(r.fold for r in shown), any(r.seed for r in shown)
    head = ["RUN", "BEGIN", "ROLE", "STATUS", "CONFIG"]
    head += ["FOLD"] * folds + ["SEED"] * seeds + ["TIME", "ENERGY", "", *names]
    lines = [tuple(head)]
    for r in shown:
        row = [r.uid[:8], _when(r.begin_wall_s), r.role, r.status, r.config_hash[:8]]
        row += [r.fold] * folds + [r.seed] * seeds
        row += [_span(r.duration_s), str(r.energy), r.energy_provenance if r.energy.known else ""]
        row += [f"{r.scores[n]:.4g}" if n in r.scores else "" for n in names]
        lines.append(tuple(row))
    out = [_aligned(lines)]
    if len(shown) < len(study):
        out.append(f"the last {len(shown)} of {len(study)} runs; --limit 0 shows all")
    if pairs := sum(1 for _ in overlapping(list(study))):
        out.append(
            f"{pairs} pairs of runs shared a device at the same time: each has the other's "
            "joules in it, and the study's sum has them twice"
        )
    return "\n".join(out)


def run(found: Run) -> str:
    """All fields of a run, one a line; what is unknown is left out."""
    fields = run_json(found)
    shown = {k: v for k, v in fields.items() if v not in (None, "", {}, [])}
    width = max(map(len, shown))
    lines = []
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if name.endswith("_wall_s"):
            text = f"{text} ({_when(value)})"
        lines.append(f"{name:<{width}}  {_printable(text)}")
    return "\n".join(lines)


def settings(history: Iterable[tuple[str, Any, float]]) -> str:
    """The settings that hold, each with the date that it was told at."""
    latest = {key: (value, when) for key, value, when in history}
    lines = [("SETTING", "VALUE", "TOLD")]
    for key, (value, when) in sorted(latest.items()):
        if value is not None:
            lines.append((key, _printable(str(value)), _when(when)))
    return _aligned(lines) if len(lines) > 1 else "no settings"


def summary_json(s: Summary) -> dict[str, Any]:
    """A line of ``studies`` for programs."""
    known = s.energy.known
    return {
        "study": s.name,
        "runs": s.runs,
        "by_status": dict(s.by_status),
        "energy_j": s.energy.value if known else None,
        "energy_low_j": s.energy.low if known else None,
        "energy_high_j": s.energy.high if known else None,
        "energy_provenance": s.energy.provenance,
        "runs_without_energy": s.without_energy,
        "device_s": _or_none(s.device_s),
        "first_begin_wall_s": _or_none(s.first_wall_s),
        "last_begin_wall_s": _or_none(s.last_wall_s),
    }


def run_json(found: Run) -> dict[str, Any]:
    """All fields of a run; what is unknown is null."""
    return {f.name: _or_none(getattr(found, f.name)) for f in dataclasses.fields(found)}


def _json(study: Study) -> str:
    told = {k: v if _is_plain(v) else str(v) for k, v in study.settings.items()}
    whole = {"study": study.name, "settings": told, "runs": [run_json(r) for r in study]}
    return json.dumps(whole, indent=1, allow_nan=False)


def _csv(study: Study) -> str:
    """A column for each field, score and hyper-parameter."""
    names = [f.name for f in dataclasses.fields(Run)]
    spread = ("config", "scores", "score_larger_is_better", "domain_j", "versions")
    plain = [n for n in names if n not in spread]
    scores = list(dict.fromkeys(k for r in study for k in r.scores))
    keys = list(dict.fromkeys(k for r in study if isinstance(r.config, Mapping) for k in r.config))
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*plain, *(f"score.{s}" for s in scores), *(f"config.{k}" for k in keys)])
    for r in study:
        row = [_cell(getattr(r, n)) for n in plain]
        row += [_cell(r.scores.get(s)) for s in scores]
        config = r.config if isinstance(r.config, Mapping) else {}
        out.writerow([*row, *(_cell(config.get(k)) for k in keys)])
    return text.getvalue()


#: Formats of a whole study that have every field of every run.
RAW: dict[str, Callable[[Study], str]] = {"json": _json, "csv": _csv}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, list, dict))


def _or_none(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {k: _or_none(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_or_none(v) for v in value]
    return value


def _cell(value: Any) -> Any:
    value = _or_none(value)
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _span(seconds: float) -> str:
    if math.isnan(seconds):
        return "unknown"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size * (2.0 if unit == "d" else 1.0):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


def _when(wall_s: float | None) -> str:
    if wall_s is None or math.isnan(wall_s):
        return "unknown"
    return datetime.fromtimestamp(wall_s).strftime("%Y-%m-%d %H:%M")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
