"""One line a study, of sums that SQLite made."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from picojoule.green.process import Process, status_now
from picojoule.green.quantities import PROVENANCES, Quantity, unknown


@dataclass(frozen=True, slots=True)
class Summary:
    """One study in a list.

    Attributes:
        name: of the study.
        runs: how many.
        by_status: status -> how many.
        energy: of all runs whose energy is known; unknown if none is.
        without_energy: how many runs have none.
        device_s: wall time times devices of the runs where both are known; nan if there is none.
        first_wall_s: Unix time of the first begin; nan.
        last_wall_s: of the last one.
    """

    name: str
    runs: int
    by_status: Mapping[str, int]
    energy: Quantity
    without_energy: int
    device_s: float
    first_wall_s: float
    last_wall_s: float


def of(connection: Any) -> list[Summary]:
    """Every study of an open ledger, the latest first."""
    sums, lost, doubled = _asked(connection)
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for row in sums:
        groups.setdefault(row[0], []).append(row[1:])
    out = [_summarised(n, g, lost.get(n, 0), doubled.get(n, 0.0)) for n, g in groups.items()]
    return sorted(out, key=lambda s: (-s.last_wall_s, s.name))


def _asked(connection: Any) -> tuple[Any, dict[str, int], dict[str, float]]:
    sums = connection.execute(
        "SELECT study, status, energy_provenance, count(*), count(energy_j), sum(energy_j), "
        "sum(coalesce(energy_low_j, energy_j)), sum(coalesce(energy_high_j, energy_j)), "
        "sum(duration_s * device_count), min(begin_wall_s), max(begin_wall_s) "
        "FROM runs GROUP BY study, status, energy_provenance"
    ).fetchall()
    lost: dict[str, int] = {}
    now = time.time()
    for study, host, machine, pid, started, beat in connection.execute(
        "SELECT study, host, machine, pid, started, heartbeat_wall_s FROM runs "
        "WHERE status = 'running'"
    ):
        process = Process(host, machine, pid, started)
        if status_now("running", process, beat or 0.0, now) == "lost":
            lost[study] = lost.get(study, 0) + 1
    doubled = connection.execute(
        "SELECT p.study, sum(c.energy_j) FROM runs AS c JOIN runs AS p ON p.uid = c.parent "
        "AND p.study = c.study WHERE c.parent <> '' GROUP BY p.study"
    ).fetchall()
    return sums, lost, {name: joules or 0.0 for name, joules in doubled}


def _summarised(name: str, groups: Iterable[tuple[Any, ...]], lost: int, doubled: float) -> Summary:
    by_status: dict[str, int] = {}
    runs = known = 0
    joules = low = high = device_s = 0.0
    timed = False
    worst = PROVENANCES[0]
    begins: list[float] = []
    for (
        status, provenance, count, with_energy, energy, below, above, seconds, first, last
    ) in groups:  # fmt: skip
        by_status[status] = by_status.get(status, 0) + count
        runs += count
        known += with_energy
        joules += energy or 0.0
        low += below or 0.0
        high += above or 0.0
        timed = timed or seconds is not None
        device_s += seconds or 0.0
        if with_energy:
            worst = max(worst, provenance, key=PROVENANCES.index)
        begins += [t for t in (first, last) if t is not None]
    if lost:
        by_status["lost"] = by_status.get("lost", 0) + lost
        by_status["running"] -= lost
    basis = f"sum over {known} of {runs} runs"
    energy = unknown("J", "no run has an energy")
    if known:
        value, low, high = (max(0.0, e - doubled) for e in (joules, low, high))
        energy = Quantity(value, (("J", 1),), min(low, value), max(high, value), worst, basis)
    return Summary(
        name,
        runs,
        {s: n for s, n in by_status.items() if n},
        energy,
        runs - known,
        device_s if timed else float("nan"),
        min(begins, default=float("nan")),
        max(begins, default=float("nan")),
    )
