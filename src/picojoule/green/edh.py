"""Cost(Result) ~ E x D x H (Schwartz et al., "Green AI", 2019), read off a study's ledger.

E is the cost of one example, D how many examples one run processed (data set times epochs), H how
many configurations were tried. Folds and seeds repeat a configuration and are factors of their
own, K and S. H is told twice: by count, and by cost (study over final experiment), since trials are
often shorter than the run that is reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from picojoule.green import costs as _costs
from picojoule.green.costs import Costs
from picojoule.green.model import ROLES, STATUSES, Run, Study
from picojoule.green.quantities import Quantity, quantity, unknown
from picojoule.green.refusal import Refusal
from picojoule.green.scores import larger_is_better_of, score_name_of
from picojoule.green.trials import SEARCHED, trial_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Share:
    """What part of a study some of its runs are.

    Attributes:
        runs: how many.
        cost: sum over those whose cost is known; unknown if that is none of them.
        share: of the known cost of the whole study, 0 to 1; nan if unknown.
        unknown_runs: how many of them have no known cost and are missing from both.
    """

    runs: int
    cost: Quantity
    share: float
    unknown_runs: int = 0


@dataclass(frozen=True, slots=True)
class EDH:
    """A study's cost and its factors.

    ``final`` is the cost of the final experiment: all its folds and seeds. The identity
    ``per_example x examples x final_runs x h_cost = known cost of the study`` holds wherever all of
    them are known. "Known" cost: runs whose cost is unknown are counted in ``unknown_runs``, and
    then ratios rest on the others and say so in ``notes``.

    Attributes:
        study: its name.
        kind: of cost: "energy", "co2e", "money", "hours" or "flops".
        runs: number of runs.
        per_example: E, cost of one example of the final runs, forward and backward.
        flops_per_example: E in FLOPs.
        examples: D, examples that one final run processed on average (data set x epochs).
        dataset_size: examples in the data set; nan.
        epochs: times that a final run went through it; nan.
        configs: H by count: distinct configurations of tuning, ablation and final runs; nan if none
            told one.
        h_cost: H by cost: study over final experiment.
        folds: K, distinct folds; 1 if none were told.
        seeds: S, distinct seeds; 1 if none were told.
        final_runs: runs of the final experiment.
        total: cost of all runs; unknown if one of them is.
        known: cost of the runs whose cost is known.
        final: cost of the final experiment.
        failed: runs that ended without a result (failed, interrupted or lost).
        by_role: role -> ``Share``; roles that occur.
        by_status: status -> ``Share``; those that occur.
        device_s: seconds of all devices.
        wall_serial_s: seconds one after the other.
        wall_parallel_s: seconds if all runs were run at once: the longest one.
        unknown_runs: runs without a known cost.
        notes: sentences on what was assumed and what is missing.
    """

    study: str
    kind: str
    runs: int
    per_example: Quantity
    flops_per_example: Quantity
    examples: float
    dataset_size: float
    epochs: float
    configs: float
    h_cost: float
    folds: int
    seeds: int
    final_runs: int
    total: Quantity
    known: Quantity
    final: Quantity
    failed: Share
    by_role: Mapping[str, Share]
    by_status: Mapping[str, Share]
    device_s: Quantity
    wall_serial_s: Quantity
    wall_parallel_s: Quantity
    unknown_runs: int
    notes: tuple[str, ...] = ()

    @property
    def study_over_final(self) -> float:
        """How many times its final experiment the result cost; the same number as ``h_cost``."""
        return self.h_cost

    def lines(self) -> list[str]:
        """The decomposition in words, a line each."""
        h = "unknown" if math.isnan(self.configs) else f"{self.configs:,.0f}"
        by_cost = "unknown" if math.isnan(self.h_cost) else f"{self.h_cost:,.4g}"
        d = "unknown" if math.isnan(self.examples) else f"{self.examples:,.4g} examples a run"
        out = [
            f"E  {self.kind} for each example: {_or_why(self.per_example)}",
            f"D  {d}",
            f"H  {h} configurations by count, {by_cost} by cost",
            f"K  {self.folds} fold{'s' * (self.folds != 1)}, S  {self.seeds} "
            f"seed{'s' * (self.seeds != 1)}",
            f"study {_or_why(self.known)}, final experiment {_or_why(self.final)}",
        ]
        return [*out, *self.notes]


def decompose(study: Study, cost: str = "energy", score: str | None = None) -> EDH:
    """Split a study's cost into its factors.

    The final experiment is that of the runs with role "final". Without any: all runs if they have
    one configuration, else those of the configuration with the best score.

    Args:
        study: the runs.
        cost: "energy", "co2e", "money", "hours" or "flops".
        score: by which the best configuration is chosen if none is marked as final.

    Raises:
        UsageError: an unknown kind of cost.
    """
    runs = list(study)
    charged = _costs.of(study, cost)
    notes: list[str] = []
    roles = np.array([r.role for r in runs], object)
    statuses = np.array([r.status for r in runs], object)
    missing = np.isnan(charged.value)
    known = charged.known_sum()
    if missing.any():
        notes.append(
            charged.why_unknown
            + ("; shares and ratios are of the other runs" if not missing.all() else "")
        )
    final_mask = _final(study, score, notes)
    final = _final_cost(charged, final_mask)
    ratio = _ratio(known, final)
    per_example, examples = _per_example(runs, final_mask, charged, notes)
    flops = _costs.of(study, "flops")
    flops_each, _ = _per_example(runs, final_mask, flops, [])
    size = _common(runs, final_mask, "dataset_size")
    walls = np.array([r.duration_s for r in runs], float)
    part = {
        status: _share(charged, statuses == status, known)
        for status in STATUSES
        if (statuses == status).any()
    }
    failed_mask = np.array([r.failed for r in runs], bool)
    return EDH(
        study=study.name,
        kind=cost,
        runs=len(runs),
        per_example=per_example,
        flops_per_example=flops_each,
        examples=examples,
        dataset_size=size,
        epochs=examples / size if size > 0 else math.nan,
        configs=_configs(runs, notes),
        h_cost=ratio,
        folds=max(1, len({r.fold for r in runs} - {""})),
        seeds=max(1, len({r.seed for r in runs} - {""})),
        final_runs=int(final_mask.sum()),
        total=charged.sum(),
        known=known,
        final=final,
        failed=_share(charged, failed_mask, known),
        by_role={
            role: _share(charged, roles == role, known) for role in ROLES if (roles == role).any()
        },
        by_status=part,
        device_s=_costs.of(study, "hours").sum(),
        wall_serial_s=_seconds(
            runs, walls, walls.sum() if len(walls) else 0.0, "one after the other"
        ),
        wall_parallel_s=_seconds(
            runs, walls, walls.max(initial=0.0), "all runs at once: the longest"
        ),
        unknown_runs=int(missing.sum()),
        notes=tuple(notes),
    )


def _final(study: Study, score: str | None, notes: list[str]) -> NDArray[np.bool_]:
    """Which runs are the final experiment."""
    runs = list(study)
    marked = np.array([r.role == "final" and not r.failed for r in runs], bool)
    if marked.any():
        return marked
    searched = np.array([r.role in SEARCHED and not r.failed for r in runs], bool)
    hashes = {r.config_hash for r, s in zip(runs, searched.tolist(), strict=True) if s}
    if len(hashes) == 1:
        notes.append("no run has the role 'final'; all have one configuration and count as final")
        return searched
    try:
        name = score_name_of(study, score)
        larger = larger_is_better_of(study, name)
    except (Refusal, ValueError) as why:
        notes.append(f"which run is the final one is unknown: none has that role, and {why}")
        return np.zeros(len(runs), bool)
    means = trial_scores([r for r in runs if r.role in SEARCHED], name)
    if not means:
        notes.append("which run is the final one is unknown: none has that role, and no "
                     "configuration has a score")  # fmt: skip
        return np.zeros(len(runs), bool)
    best = (max if larger else min)(means, key=lambda key: means[key])
    notes.append(
        f"no run has the role 'final'; the configuration with the best {name!r} stands for it"
    )
    chosen = np.array([r.config_hash == best for r in runs], bool)
    return np.asarray(chosen & searched, bool)


def _final_cost(charged: Costs, mask: NDArray[np.bool_]) -> Quantity:
    if not mask.any():
        return unknown(charged.unit, "which run is the final one is unknown")
    return charged.sum(mask)


def _ratio(known: Quantity, final: Quantity) -> float:
    if not (known.known and final.known) or final.value <= 0:
        return math.nan
    return known.value / final.value


def _per_example(
    runs: list[Run], mask: NDArray[np.bool_], charged: Costs, notes: list[str]
) -> tuple[Quantity, float]:
    """(cost of one example, examples of one run) of the final experiment."""
    if not mask.any():
        return unknown(charged.unit, "which run is the final one is unknown"), math.nan
    examples = np.array([r.examples for r in runs], float)[mask]
    if np.isnan(examples).any() or examples.sum() <= 0:
        why = "how many examples the final runs processed is unknown (say examples=)"
        notes.append(why)
        return unknown(charged.unit, why), math.nan
    cost = charged.sum(mask)
    mean = float(examples.mean())
    if not cost.known:
        return cost, mean
    return (cost / float(examples.sum())).because(f"{cost.basis}, for each example"), mean


def _common(runs: list[Run], mask: NDArray[np.bool_], name: str) -> float:
    """Mean of an attribute over the chosen runs; nan unless all have it."""
    values = np.array([getattr(r, name) for r in runs], float)[mask]
    return float(values.mean()) if len(values) else math.nan


def _configs(runs: list[Run], notes: list[str]) -> float:
    searched = [r.config_hash for r in runs if r.role in SEARCHED]
    told = {h for h in searched if h}
    without = sum(1 for h in searched if not h)
    if not told:
        notes.append("H by count is unknown: no run told its configuration (say config=)")
        return math.nan
    if without:
        notes.append(f"{without} of {len(searched)} runs told no configuration and are not in H")
    return float(len(told))


def _share(charged: Costs, mask: NDArray[np.bool_], known: Quantity) -> Share:
    missing = int(np.isnan(charged.value[mask]).sum())
    cost = charged.known_sum(mask)
    whole = known.value if known.known else math.nan
    share = cost.value / whole if cost.known and whole > 0 else math.nan
    return Share(int(mask.sum()), cost, share, missing)


def _seconds(runs: Sequence[Run], walls: NDArray[np.float64], value: float, basis: str) -> Quantity:
    missing = int(np.isnan(walls).sum())
    if missing:
        return unknown("s", f"the duration of {missing} of {len(walls)} runs is unknown")
    return quantity(float(value), "s", provenance=_costs.timed_by(runs), basis=basis)


def _or_why(q: Quantity) -> str:
    return str(q) if q.known or not q.basis else f"unknown ({q.basis})"
