"""A study's own law of score against cost, and the price of its next point."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from picojoule.green import costs as _costs
from picojoule.green import laws
from picojoule.green.costs import Costs
from picojoule.green.laws import Law, NextPoint
from picojoule.green.model import Study
from picojoule.green.quantities import Quantity, unknown
from picojoule.green.refusal import Refusal
from picojoule.green.scores import larger_is_better_of, score_name_of
from picojoule.green.trials import SEARCHED

if TYPE_CHECKING:
    from numpy.typing import NDArray


def points(
    study: Study, cost: str = "energy", score: str | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """(cost, score, config hash) of each configuration: means over its folds and seeds.

    Runs without a configuration are a point each. Costs are of one run, in base units. A
    configuration that lacks one of the two has nan there.

    Raises:
        Refusal: the study has no scores.
        UsageError: which score is meant is not clear.
    """
    return _points(study, _costs.of(study, cost), score_name_of(study, score))


def _points(
    study: Study, charged: Costs, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    columns = study.columns
    configs, values = columns.names("config_hash"), columns.scores(name)
    chosen = (
        np.isfinite(values)
        & columns.names("status").being("ok")
        & columns.names("role").being(*SEARCHED)
    )
    at = np.flatnonzero(chosen)
    alone = configs.being("")[at]
    # A run without a configuration has a class of its own, behind those of all configurations.
    classes = np.where(alone, len(configs.distinct) + at, configs.codes[at])
    found, first, place = np.unique(classes, return_index=True, return_inverse=True)
    many = np.bincount(place, minlength=len(found))
    spent = np.bincount(place, charged.value[at], len(found)) / many
    scored = np.bincount(place, values[at], len(found)) / many
    order = np.argsort(first)
    hashes = [
        configs.distinct[c] if c < len(configs.distinct) else f"run {c - len(configs.distinct)}"
        for c in found[order].tolist()
    ]
    return spent[order], scored[order], hashes


def law(study: Study, cost: str = "energy", score: str | None = None, kind: str = "log") -> Law:
    """The law of a study's configurations, cost of one run against score.

    If one hyper-parameter alone was varied, they are a controlled family and all are fitted; else
    the best at each level of cost.

    Args:
        study: the runs.
        cost: "energy", "co2e", "money", "hours" or "flops".
        score: which score; None if there is one.
        kind: "log" or "saturating".

    Raises:
        Refusal: as ``laws.fit``; where the cost is unknown, with the reason.
        UsageError: as ``points``.
    """
    name = score_name_of(study, score)
    charged = _costs.of(study, cost)
    spent, scores, hashes = _points(study, charged, name)
    if len(scores) and np.isnan(spent).all():
        raise Refusal(f"there are scores, but {charged.why_unknown}")
    varied = varied_keys(study, hashes)
    on = "family" if len(varied) == 1 else "front"
    basis = f"{cost} of a run against {name!r}, {len(scores)} configurations"
    if on == "family":
        basis += f" that differ in {varied[0]!r} alone"
    # A run that cost nothing that could be measured has no place on a logarithm.
    spent = np.where(spent > 0, spent, np.nan)
    return laws.fit(
        spent, scores, kind, larger_is_better=larger_is_better_of(study, name), on=on,
        unit=charged.unit, basis=basis,
    )  # fmt: skip


def next_point(
    study: Study,
    cost: str = "energy",
    score: str | None = None,
    kind: str = "log",
    delta: float | None = None,
    level: float = 0.95,
) -> NextPoint:
    """What the next point of score costs, in all kinds of cost that the study knows.

    It starts from the dearest configuration that was fitted. ``prices`` are of one run on top of
    it; a kind whose cost is unknown is there with its reason.

    Raises:
        Refusal: as ``law`` and ``Law.next_point``.
    """
    fitted = law(study, cost, score, kind)
    step = fitted.next_point(delta, level=level)
    present: dict[str, Quantity] = {}
    for other in _costs.KINDS:
        if other != cost:
            present[other] = _ratio(study, cost, other, step.cost)
    return step.priced(present)


def varied_keys(study: Study, hashes: Sequence[str]) -> list[str]:
    """Names of the hyper-parameters in which these configurations differ."""
    seen = configs_of(study, hashes)
    keys = dict.fromkeys(key for config in seen.values() for key in config)
    return [key for key in keys if _varies(key, seen.values())]


def configs_of(study: Study, hashes: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Config hash -> hyper-parameters, of those that have some by name."""
    names = study.columns.names("config_hash")
    codes, first = np.unique(names.codes, return_index=True)
    wanted = set(hashes)
    at = sorted(
        i
        for c, i in zip(codes.tolist(), first.tolist(), strict=True)
        if names.distinct[c] in wanted
    )
    told = zip(study.columns.at("config_hash", at), study.columns.at("config", at), strict=True)
    return {key: config for key, config in told if isinstance(config, Mapping)}


def _varies(key: str, configs: Iterable[Mapping[str, Any]]) -> bool:
    words = (json.dumps(c.get(key), sort_keys=True, default=str) for c in configs)
    first = next(words, "")
    return any(w != first for w in words)  # of many configurations the second tells, mostly


def _ratio(study: Study, cost: str, other: str, here: float) -> Quantity:
    """``here`` in another kind of cost, at the study's own mean ratio of the two."""
    ours, theirs = _costs.of(study, cost), _costs.of(study, other)
    both = ~(np.isnan(ours.value) | np.isnan(theirs.value))
    if not both.any() or ours.value[both].sum() <= 0:
        return unknown(theirs.unit, theirs.why_unknown or f"no run has both {cost} and {other}")
    rate = theirs.sum(both) / float(ours.value[both].sum())
    return rate * here
