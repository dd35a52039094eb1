"""What the ledger knows of a run: the value that every part of ``picojoule.green`` speaks of."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from picojoule.green.columns import Columns, Mask, collector_held
from picojoule.green.quantities import PROVENANCES, Quantity

#: What a run was for. "tune" runs search, "final" ones give the reported result.
ROLES = ("tune", "final", "ablation", "debug", "eval")

#: How it ended. "running" while its heartbeat is fresh; "lost" if the heart stopped without an end
#: (killed, out of memory, preempted, machine down).
STATUSES = ("running", "ok", "failed", "interrupted", "pruned", "lost")


#: Those without a result.
FAILED = ("failed", "interrupted", "lost")


#: What is said of a run whose range is wrong.
MISPLACED = "widened, as its range was told as {low:g} to {high:g} J, which does not hold it"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a study, as the ledger has it. Unknown is nan or "".

    Attributes:
        uid: its id, unique over machines (32 hex digits).
        study: name of the study.
        role: one of ``ROLES``.
        status: one of ``STATUSES``.
        config: hyper-parameters as given (JSON values); None if none were given.
        config_hash: 16 hex digits of the canonical JSON of ``config``; "" without one. H counts
            these; folds and seeds are keys of their own and no part of it.
        fold: which fold of a cross-validation; "".
        seed: its seed; "".
        name: of the profile or command.
        begin_wall_s: Unix time; nan if unknown (an imported total, say).
        duration_s: wall clock so far.
        devices: what computed, by UUID or name.
        device_count: how many of them (nodes or accelerators) counted as device-hours; nan.
        device_name: what they are; "".
        energy_j: joules so far, IT equipment only (no PUE); nan.
        energy_low_j: lower end of its 95 % range.
        energy_high_j: upper end.
        energy_provenance: one of ``quantities.PROVENANCES``.
        energy_basis: what the energy rests on.
        domain_j: joules by domain ("gpu:0", "cpu", ...).
        flops: FLOPs of the run (model FLOPs); nan.
        flops_provenance: how they were got.
        examples: training examples processed (dataset size x epochs); nan.
        dataset: id of the data.
        dataset_size: number of examples in it; nan.
        parameters: of the model; nan.
        scores: name -> value, in the order told.
        score_larger_is_better: name -> bool.
        host: where.
        pid: process.
        git_commit: "" outside a repository.
        git_dirty: None if unknown.
        versions: of python, picojoule, frameworks.
        command: what was run.
        trace: folder of the stored profile; "".
        error: what ended it, one line.
        origin: "recorded", or the tool and file that it was imported from.
        region: country, US state or cloud region told for the run; "".
        heartbeat_wall_s: last sign of life.
    """

    uid: str
    study: str
    role: str = "tune"
    status: str = "ok"
    config: Any = None
    config_hash: str = ""
    fold: str = ""
    seed: str = ""
    name: str = ""
    begin_wall_s: float = math.nan
    duration_s: float = math.nan
    devices: tuple[str, ...] = ()
    device_count: float = math.nan
    device_name: str = ""
    energy_j: float = math.nan
    energy_low_j: float = math.nan
    energy_high_j: float = math.nan
    energy_provenance: str = "estimated"
    energy_basis: str = ""
    domain_j: Mapping[str, float] = field(default_factory=dict)
    flops: float = math.nan
    flops_provenance: str = "estimated"
    examples: float = math.nan
    dataset: str = ""
    dataset_size: float = math.nan
    parameters: float = math.nan
    scores: Mapping[str, float] = field(default_factory=dict)
    score_larger_is_better: Mapping[str, bool] = field(default_factory=dict)
    host: str = ""
    pid: int = 0
    git_commit: str = ""
    git_dirty: bool | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    trace: str = ""
    error: str = ""
    origin: str = "recorded"
    region: str = ""
    heartbeat_wall_s: float = math.nan

    @property
    def energy(self) -> Quantity:
        """Energy of the IT equipment, with its range and how it was got; may be unknown.

        A range that does not hold its value, as only a foreign hand can write, is widened to it,
        and ``basis`` says so.
        """
        value, low, high = self.energy_j, self.energy_low_j, self.energy_high_j
        basis = self.energy_basis
        if low > value * (1 + 1e-9) or high < value * (1 - 1e-9):
            basis = f"{basis}; {MISPLACED.format(low=low, high=high)}".lstrip("; ")
            low, high = min(low, value), max(high, value)
        provenance = self.energy_provenance
        return Quantity(
            value, (("J", 1),), low, high,
            provenance if provenance in PROVENANCES else "estimated", basis,
        )  # fmt: skip

    @property
    def device_seconds(self) -> float:
        """Wall time times devices; nan if either is unknown."""
        return self.duration_s * self.device_count

    @property
    def failed(self) -> bool:
        """Whether it ended without a result."""
        return self.status in FAILED


class Study(Sequence[Run]):
    """The runs of one study, in order of their begin, and the settings they share.

    Attributes:
        name: of the study.
        settings: those of ``pj.study``: region, pue, price, and so on.
        columns: the same runs, field by field; a run is made of them when it is asked for.
    """

    def __init__(
        self, name: str, runs: Sequence[Run] | Columns, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Hold ``runs``, as such or in columns."""
        self.name = name
        self.settings: Mapping[str, Any] = dict(settings or {})
        self.columns = runs if isinstance(runs, Columns) else Columns.of_runs(tuple(runs))

    def __len__(self) -> int:
        return self.columns.size

    def __iter__(self) -> Iterator[Run]:
        return iter(self._made())

    def __getitem__(self, index: Any) -> Any:
        if self.columns.made is not None:
            return self.columns.made[index]
        places = range(len(self))[index]
        if isinstance(places, range):
            return made_of(self.columns.where(places))
        return made_of(self.columns.where([places]))[0]

    def where(self, **fields: Any) -> Study:
        """The runs whose fields have these values: ``study.where(role="final")``."""
        chosen = np.ones(len(self), bool)
        for name, value in fields.items():
            chosen &= np.fromiter((v == value for v in self.columns.column(name)), bool, len(self))
        return self.part(chosen)

    def part(self, chosen: Mask | Sequence[int]) -> Study:
        """The study of some of its runs: of a mask, or at places."""
        return Study(self.name, self.columns.where(chosen), self.settings)

    def _made(self) -> Sequence[Run]:
        if self.columns.made is None:
            self.columns.made = made_of(self.columns)
        return self.columns.made

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {len(self)} runs)"


def columns_of(runs: Sequence[Run]) -> Columns:
    """The columns of a study, or of runs."""
    return runs.columns if isinstance(runs, Study) else Columns.of_runs(tuple(runs))


def made_of(columns: Columns) -> tuple[Run, ...]:
    """Runs of columns, one field after another: the constructor takes five times as long."""
    with collector_held():
        runs = tuple(_EMPTY(Run) for _ in range(columns.size))
        for name, put in _SET.items():
            deque(map(put, runs, columns.column(name)), maxlen=0)
    return runs


_EMPTY: Any = Run.__new__
_SET = {f.name: Run.__dict__[f.name].__set__ for f in fields(Run)}
