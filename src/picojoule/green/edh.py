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
from picojoule.green.columns import Columns, Names
from picojoule.green.costs import Costs
from picojoule.green.model import FAILED, ROLES, STATUSES, Run, Study
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
    columns = study.columns
    charged = _costs.of(study, cost)
    notes: list[str] = []
    roles, statuses = columns.names("role"), columns.names("status")
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
    per_example, examples = _per_example(columns, final_mask, charged, notes)
    flops = _costs.of(study, "flops")
    flops_each, _ = _per_example(columns, final_mask, flops, [])
    size = _common(columns, final_mask, "dataset_size")
    walls = columns.numbers("duration_s")
    return EDH(
        study=study.name,
        kind=cost,
        runs=columns.size,
        per_example=per_example,
        flops_per_example=flops_each,
        examples=examples,
        dataset_size=size,
        epochs=examples / size if size > 0 else math.nan,
        configs=_configs(columns, notes),
        h_cost=ratio,
        folds=_repeats(columns.names("fold")),
        seeds=_repeats(columns.names("seed")),
        final_runs=int(final_mask.sum()),
        total=charged.sum(),
        known=known,
        final=final,
        failed=_share(charged, statuses.being(*FAILED), known),
        by_role=_shares(charged, roles, ROLES, known),
        by_status=_shares(charged, statuses, STATUSES, known),
        device_s=_costs.of(study, "hours").sum(),
        wall_serial_s=_seconds(study, walls, walls.sum(), "one after the other"),
        wall_parallel_s=_seconds(
            study, walls, walls.max(initial=0.0), "all runs at once: the longest"
        ),
        unknown_runs=int(missing.sum()),
        notes=tuple(notes),
    )


def _final(study: Study, score: str | None, notes: list[str]) -> NDArray[np.bool_]:
    """Which runs are the final experiment."""
    columns = study.columns
    roles, configs = columns.names("role"), columns.names("config_hash")
    ended = ~columns.names("status").being(*FAILED)
    marked = roles.being("final") & ended
    if marked.any():
        return marked
    tried = roles.being(*SEARCHED)
    searched = tried & ended
    if len(configs.among(searched)) == 1:
        notes.append("no run has the role 'final'; all have one configuration and count as final")
        return searched
    try:
        name = score_name_of(study, score)
        larger = larger_is_better_of(study, name)
    except (Refusal, ValueError) as why:
        notes.append(f"which run is the final one is unknown: none has that role, and {why}")
        return np.zeros(columns.size, bool)
    means = trial_scores(study.part(tried), name)
    if not means:
        notes.append("which run is the final one is unknown: none has that role, and no "
                     "configuration has a score")  # fmt: skip
        return np.zeros(columns.size, bool)
    best = (max if larger else min)(means, key=lambda key: means[key])
    notes.append(
        f"no run has the role 'final'; the configuration with the best {name!r} stands for it"
    )
    return configs.being(best) & searched


def _final_cost(charged: Costs, mask: NDArray[np.bool_]) -> Quantity:
    if not mask.any():
        return unknown(charged.unit, "which run is the final one is unknown")
    return charged.sum(mask)


def _ratio(known: Quantity, final: Quantity) -> float:
    if not (known.known and final.known) or final.value <= 0:
        return math.nan
    return known.value / final.value


def _per_example(
    columns: Columns, mask: NDArray[np.bool_], charged: Costs, notes: list[str]
) -> tuple[Quantity, float]:
    """(cost of one example, examples of one run) of the final experiment."""
    if not mask.any():
        return unknown(charged.unit, "which run is the final one is unknown"), math.nan
    examples = columns.numbers("examples")[mask]
    if np.isnan(examples).any() or examples.sum() <= 0:
        why = "how many examples the final runs processed is unknown (say examples=)"
        notes.append(why)
        return unknown(charged.unit, why), math.nan
    cost = charged.sum(mask)
    mean = float(examples.mean())
    if not cost.known:
        return cost, mean
    return (cost / float(examples.sum())).because(f"{cost.basis}, for each example"), mean


def _common(columns: Columns, mask: NDArray[np.bool_], name: str) -> float:
    """Mean of an attribute over the chosen runs; nan unless all have it."""
    values = columns.numbers(name)[mask]
    return float(values.mean()) if len(values) else math.nan


def _repeats(names: Names) -> int:
    return max(1, sum(map(bool, names.distinct)))


def _configs(columns: Columns, notes: list[str]) -> float:
    searched = columns.names("role").being(*SEARCHED)
    configs = columns.names("config_hash")
    told = [h for h in configs.among(searched) if h]
    if not told:
        notes.append("H by count is unknown: no run told its configuration (say config=)")
        return math.nan
    without = int((searched & configs.being("")).sum())
    if without:
        many = int(searched.sum())
        notes.append(f"{without} of {many} runs told no configuration and are not in H")
    return float(len(told))


def _shares(
    charged: Costs, names: Names, order: Sequence[str], known: Quantity
) -> dict[str, Share]:
    there = [name for name in order if name in names.distinct]
    return {name: _share(charged, names.being(name), known) for name in there}


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
