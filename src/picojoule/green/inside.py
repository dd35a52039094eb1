"""Runs inside of others, beside others, and those that only a trace tells of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from picojoule.errors import PicojouleError
from picojoule.green.columns import Columns
from picojoule.green.model import Run, made_of


def recovered(run: Run) -> Run | None:
    """A lost run with what its stored trace tells; None if that tells nothing."""
    if not run.trace or not Path(run.trace).is_dir():
        return None
    from picojoule._runs import load
    from picojoule.green import keys

    try:
        found = keys.measured(load(run.trace))
    except (PicojouleError, OSError):
        return None
    if math.isnan(found["energy_j"]) or found["duration_s"] < run.duration_s:
        return None  # cut off before it had anything, or older than the last heartbeat
    found["devices"] = tuple(found["devices"])
    found["energy_basis"] = f"{found['energy_basis']}; recovered from the trace of a killed run"
    return replace(run, **found)


def net(runs: Columns, parents: Mapping[str, str]) -> Columns:
    """``runs``, those around others of the same study without what these used.

    Args:
        runs: of one study.
        parents: id of a run -> id of the run that it ran inside of.
    """
    place = {uid: i for i, uid in enumerate(runs.column("uid"))}
    inner: dict[int, list[int]] = {}
    for uid, parent in parents.items():
        if uid in place and parent in place:
            inner.setdefault(place[parent], []).append(place[uid])
    wanted = sorted({*inner, *(i for several in inner.values() for i in several)})
    made = dict(zip(wanted, made_of(runs.where(wanted)), strict=True))
    return runs.replaced(
        {i: _without(made[i], [made[j] for j in several]) for i, several in inner.items()}
    )


def _without(run: Run, inner: Sequence[Run]) -> Run:
    measured = [r for r in inner if not math.isnan(r.energy_j)]
    joules = sum(r.energy_j for r in measured)
    flops = sum(r.flops for r in inner if not math.isnan(r.flops))
    rest = max(0.0, run.energy_j - joules) if not math.isnan(run.energy_j) else math.nan
    below, above = run.energy_j - run.energy_low_j, run.energy_high_j - run.energy_j
    domains = {
        name: max(0.0, value - sum(r.domain_j.get(name, 0.0) for r in measured))
        for name, value in run.domain_j.items()
    }
    return replace(
        run,
        duration_s=max(0.0, run.duration_s - _covered(inner)),
        energy_j=rest,
        energy_low_j=max(0.0, rest - below),
        energy_high_j=rest + above,
        energy_basis=f"{run.energy_basis}; less the runs inside it ({len(inner)})".lstrip("; "),
        domain_j=domains,
        flops=max(0.0, run.flops - flops) if not math.isnan(run.flops) else math.nan,
    )


def _covered(runs: Sequence[Run]) -> float:
    """Seconds in which at least one of them ran."""
    total, until = 0.0, -math.inf
    for run in sorted(runs, key=lambda r: r.begin_wall_s):
        if math.isnan(run.duration_s) or math.isnan(run.begin_wall_s):
            continue
        end = run.begin_wall_s + run.duration_s
        total += max(0.0, end - max(until, run.begin_wall_s))
        until = max(until, end)
    return total


def overlapping(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """Pairs of runs of one host that ran at the same time and share a device."""
    latest: dict[tuple[str, str], Run] = {}
    timed = [r for r in runs if not math.isnan(r.begin_wall_s + r.duration_s) and r.host]
    for run in sorted(timed, key=lambda r: r.begin_wall_s):
        seen: set[str] = set()
        for device in run.devices:
            before = latest.get((run.host, device))
            end = run.begin_wall_s + run.duration_s
            if before is not None:
                other_end = before.begin_wall_s + before.duration_s
                if run.begin_wall_s < other_end and before.uid not in seen:
                    seen.add(before.uid)
                    yield before, run
                if other_end > end:
                    continue
            latest[run.host, device] = run
